"""Outlier sets: the grammar, every published layout, the small images made of large ones, and noise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from eval_suite.core.errors import InputError
from eval_suite.data.loading import ImageBatches
from eval_suite.data.noise import NoiseBatches, noise_image
from eval_suite.data.outliers import (
    SmallImage,
    open_outliers,
    parse_all_outliers,
    parse_outliers,
    require_outliers,
)
from eval_suite.data.sizing import EvaluationTransform

CPU = torch.device("cpu")


def picture(path: Path, size: tuple[int, int] = (64, 64), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def ids(text: str) -> list[str]:
    return open_outliers(parse_outliers(text)).images.ids


# The grammar.


def test_parse_outliers() -> None:
    assert parse_outliers("folder:data/my set") == ("my-set", "folder", Path("data/my set"), None)
    assert parse_outliers("textures:data/dtd") == ("textures", "textures", Path("data/dtd"), None)
    assert parse_outliers("uniform") == ("uniform", "uniform", None, None)
    assert parse_outliers("noise=gaussian") == ("noise", "gaussian", None, None)
    assert parse_outliers("tin=tinyimagenet-crop:/a=b:c") == (
        "tin",
        "tinyimagenet-crop",
        Path("/a=b:c"),
        None,
    )
    assert parse_outliers("near/tin=svhn:a/b") == ("tin", "svhn", Path("a/b"), "near")
    assert parse_outliers("far/svhn:a/b")[0::3] == ("svhn", "far")
    assert parse_outliers("noise/uniform") == ("uniform", "uniform", None, "noise")
    assert parse_outliers("folder:~/x").path == Path.home() / "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("texture:x", "unknown kind of outliers 'texture'. Did you mean 'textures'?"),
        ("npy:x.npy", "folder:PATH takes"),
        ("unifrom", "Did you mean 'uniform'?"),
        ("folder", r"expected outliers as \[GROUP/\]\[NAME=\]KIND:PATH.*found 'folder'"),
        ("folder:", "expected outliers as"),
        ("uniform:x", "expected outliers as"),
        ("a/b/c=folder:x", "expected a name of letters.*found 'b/c'"),
        ("Near/c=folder:x", "expected a group of small letters.*found 'Near'"),
        ("/c=folder:x", "expected a group of small letters.*found ''"),
        ("=folder:x", "expected a name of letters"),
        ("", "unknown kind of outliers ''"),
    ],
)
def test_wrong_sources_are_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_outliers(text)


def test_two_sets_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="found 'x' twice; write NAME=KIND:PATH"):
        parse_all_outliers(["folder:a/x", "uniform", "folder:b/x"])
    assert [source.name for source in parse_all_outliers(["folder:a/x", "y=folder:b/x"])] == ["x", "y"]


# The layouts.


def test_any_tree_of_images_is_a_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a/1.jpg", "a/deep/2.JPEG", ".hidden/3.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = open_outliers(parse_outliers(f"folder:{tmp_path}"))
    assert found.images.ids == ["a/1.jpg", "a/deep/2.JPEG", "b.png"]
    assert found.images.paths == [tmp_path / item for item in found.images.ids]
    assert found.prepare is None
    assert found.images.labels.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "files", "expected"),
    [
        # The distribution of TinyImageNet: training images are left alone, test goes before val.
        (
            "tinyimagenet-crop",
            ["train/n1/images/a.JPEG", "val/images/v.JPEG", "test/images/t.JPEG"],
            ["test/images/t.JPEG"],
        ),
        ("tinyimagenet-resize", ["train/n1/images/a.JPEG", "val/images/v.JPEG"], ["val/images/v.JPEG"]),
        # ODIN's archives.
        ("tinyimagenet-crop", ["test/1.jpeg", "test/2.jpeg"], ["test/1.jpeg", "test/2.jpeg"]),
        ("tinyimagenet-resize", ["Imagenet_resize/1.jpeg"], ["Imagenet_resize/1.jpeg"]),
        ("lsun-crop", ["test/1.jpg"], ["test/1.jpg"]),
        ("lsun-resize", ["LSUN_resize/1.jpg"], ["LSUN_resize/1.jpg"]),
        ("isun", ["iSUN_patches/1.jpeg"], ["iSUN_patches/1.jpeg"]),
        ("svhn", ["train/1/x.png", "test/1/y.png"], ["test/1/y.png"]),
        ("textures", ["images/banded/x.jpg"], ["images/banded/x.jpg"]),
        ("textures", ["dtd/images/banded/x.jpg"], ["dtd/images/banded/x.jpg"]),
    ],
)
def test_published_layouts(kind: str, files: list[str], expected: list[str], tmp_path: Path) -> None:
    for name in files:
        picture(tmp_path / name, (32, 32))
    assert ids(f"{kind}:{tmp_path}") == expected


def test_svhn_as_published(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": pixels, "y": np.arange(5)[:, None]})
    found = open_outliers(parse_outliers(f"svhn:{tmp_path}")).images
    assert found.ids[3] == "test_32x32.mat/00003"
    assert found.pixels is not None
    np.testing.assert_array_equal(found.pixels[3], pixels[:, :, :, 3])


@pytest.mark.parametrize("content", ["broken", "other"])
def test_a_broken_svhn_file_is_told(content: str, tmp_path: Path) -> None:
    if content == "broken":
        (tmp_path / "test_32x32.mat").write_bytes(
            b"not a mat file, though it is as long as one has to be" * 9
        )
    else:
        savemat(tmp_path / "test_32x32.mat", {"X": np.zeros((4, 4)), "y": np.zeros(4)})
    with pytest.raises(InputError, match="as in SVHN's X"):
        ids(f"svhn:{tmp_path}")


def test_folders_that_are_missing_or_empty_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected a folder with outliers at .*absent, found no such folder"
    ):
        require_outliers(f"folder:{tmp_path / 'absent'}")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="found a file"):
        require_outliers(f"textures:{tmp_path / 'file'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected images \(.*\.png.*found an empty folder"):
        require_outliers(f"folder:{tmp_path / 'empty'}")
    (tmp_path / "lsun" / "test_lmdb").mkdir(parents=True)
    (tmp_path / "lsun" / "test_lmdb" / "data.mdb").touch()
    with pytest.raises(InputError, match=r"found its database .*data\.mdb; export the images"):
        require_outliers(f"lsun-crop:{tmp_path / 'lsun'}")
    require_outliers("uniform")


# Small images of large ones.


def test_a_crop_is_a_part_of_the_image_that_hangs_on_its_id_and_the_seed() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    found = np.asarray(SmallImage("crop", 0)(image, "a"))
    assert found.shape == (32, 32, 3)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (32, 32, 3))[:, :, 0]
    assert (windows == found).all(axis=(2, 3, 4)).sum() == 1
    np.testing.assert_array_equal(found, SmallImage("crop", 0)(image, "a"))
    others = [SmallImage("crop", seed)(image, item) for seed, item in ((0, "b"), (0, "c"), (1, "a"))]
    assert all((np.asarray(other) != found).any() for other in others)


def test_crops_reach_every_place() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(64)[:, None], np.arange(64)
    corners = [SmallImage("crop", 0)(Image.fromarray(pixels), str(i)).getpixel((0, 0)) for i in range(600)]
    tops, lefts = {corner[0] for corner in corners}, {corner[1] for corner in corners}
    assert tops == lefts == set(range(33))


def test_a_resized_image_is_the_whole_one() -> None:
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 200
    found = np.asarray(SmallImage("resize", 0)(Image.fromarray(halves), "a"))
    assert found.shape == (32, 32, 3)
    assert (found[:, :15] == 0).all()
    assert (found[:, 17:] == 200).all()


@pytest.mark.parametrize("how", ["crop", "resize"])
def test_images_of_the_size_are_left_alone(how: str, tmp_path: Path) -> None:
    picture(tmp_path / "x.png", (32, 32))
    with Image.open(tmp_path / "x.png") as image:
        found = SmallImage(how, 0)(image, "x")  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, image)


def test_ready_made_crops_with_a_border_give_their_centre_and_tiny_images_are_enlarged() -> None:
    pixels = np.zeros((36, 36, 3), np.uint8)
    pixels[2:-2, 2:-2] = np.random.default_rng(0).integers(1, 256, (32, 32, 3))
    found = SmallImage("crop", 0)(Image.fromarray(pixels), "a")
    np.testing.assert_array_equal(found, pixels[2:-2, 2:-2])
    assert SmallImage("crop", 0)(Image.new("L", (20, 50)), "a").size == (32, 32)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_the_prepared_images_though_the_files_have_the_inputs_size(
    workers: int, tmp_path: Path
) -> None:
    for i in range(5):
        picture(tmp_path / f"{i}.png", (64, 64), seed=i)
    (tmp_path / "9.png").write_bytes(b"broken")
    images, prepare = open_outliers(parse_outliers(f"tinyimagenet-crop:{tmp_path}"), seed=3)
    transform = EvaluationTransform((64, 64), crop_fraction=1.0, interpolation="nearest")
    batches = ImageBatches(images, transform, batch_size=2, device=CPU, workers=workers, prepare=prepare)
    found = torch.cat([batch.images for batch in batches])
    assert (len(found), batches.failed, batches.in_memory) == (5, ["9.png"], False)
    crop = np.asarray(SmallImage("crop", 3)(Image.open(tmp_path / "2.png"), "2.png"))
    twice = crop.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(found[2].mul(255).round().byte().permute(1, 2, 0), twice)


# Noise.


def noise(kind: str, items: int, batch_size: int, start: int = 0) -> torch.Tensor:
    batches = NoiseBatches(
        kind,  # type: ignore[arg-type]
        (8, 6),
        start=start,
        items=items,
        seed=4,
        batch_size=batch_size,
        device=CPU,
    )
    found = list(batches)
    assert len(found) == len(batches)
    assert torch.cat([batch.index for batch in found]).tolist() == list(range(items))
    return torch.cat([batch.images for batch in found])


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
def test_noise_hangs_on_seed_and_number_alone(kind: str) -> None:
    whole = noise(kind, 7, 7)
    assert torch.equal(whole, noise(kind, 7, 2))
    assert torch.equal(whole[3:], noise(kind, 4, 3, start=3))
    assert len(whole.flatten(1).unique(dim=0)) == 7
    assert torch.equal(whole[2], noise_image(kind, 4, 2, (8, 6)))  # type: ignore[arg-type]
    assert not torch.equal(whole[2], noise_image(kind, 5, 2, (8, 6)))  # type: ignore[arg-type]


def test_noise_is_as_odin_draws_it() -> None:
    uniform = torch.stack([noise_image("uniform", 0, i, (32, 32)) for i in range(40)])
    assert 0 <= uniform.min() < 1e-4
    assert 1 - 1e-4 < uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.005)
    assert uniform.std().item() == pytest.approx(12**-0.5, abs=0.005)
    gaussian = torch.stack([noise_image("gaussian", 0, i, (32, 32)) for i in range(40)])
    # Of N(0.5, 1), Phi(-0.5) = 0.3085 lie below 0, and as many above 1.
    assert (gaussian == 0).float().mean().item() == pytest.approx(0.3085, abs=0.005)
    assert (gaussian == 1).float().mean().item() == pytest.approx(0.3085, abs=0.005)
    assert gaussian.mean().item() == pytest.approx(0.5, abs=0.005)


def test_a_folder_without_its_kind_is_answered_with_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        parse_outliers(str(tmp_path))
    assert refused.value.found == f"'{tmp_path}'"
    assert refused.value.remedy.endswith(f" folder:{tmp_path}")
