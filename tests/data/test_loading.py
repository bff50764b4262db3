"""Batches for evaluation and training, from memory and through workers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from eval_suite.core.errors import InputError
from eval_suite.data.augment import AUGMENTATIONS
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.loading import Batch, ImageBatches, TrainingBatches
from eval_suite.data.sizing import EvaluationTransform

CPU = torch.device("cpu")


def noise(seed: int, height: int, width: int) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def smooth(seed: int, height: int, width: int) -> Image.Image:
    return noise(seed, 3, 4).resize((width, height), Image.Resampling.BICUBIC)


def folder(root: Path, sizes: list[tuple[int, int]], suffix: str = ".png", classes: int = 3) -> ImageIndex:
    """An image of each (height, width), dealt to the classes in turn."""
    for split in ("train", "val"):
        for number, size in enumerate(sizes):
            path = root / split / f"c{number % classes}" / f"{number:03d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            (noise if suffix == ".png" else smooth)(number, *size).save(path)
    return open_images(f"folder:{root}")


def training(index: ImageIndex, preset: str = "cifar", **options: Any) -> TrainingBatches:
    defaults: dict[str, Any] = {"size": (8, 8), "batch_size": 4, "seed": 5, "device": CPU, "workers": 0}
    return TrainingBatches(index, AUGMENTATIONS[preset], **(defaults | options))


def evaluation(index: ImageIndex, size: tuple[int, int] = (8, 8), **options: Any) -> ImageBatches:
    defaults: dict[str, Any] = {"batch_size": 4, "device": CPU, "workers": 0}
    return ImageBatches(index, EvaluationTransform(size), **(defaults | options))


def joined(batches: list[Batch]) -> Batch:
    return Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def stored(index: ImageIndex, position: int) -> Tensor:
    assert index.paths is not None
    with Image.open(index.paths[position]) as image:
        return pil_to_tensor(image.convert("RGB")).float() / 255


# Evaluation


def test_small_images_stay_in_memory_untouched_in_order(tmp_path: Path) -> None:
    index = folder(tmp_path, [(8, 8)] * 10)
    batches = evaluation(index)
    assert batches.in_memory
    assert len(batches) == 3
    for _ in range(2):
        result = joined(list(batches))
        assert result.index.tolist() == list(range(10))
        assert result.labels.tolist() == index.labels.tolist()
        assert all(torch.equal(image, stored(index, i)) for i, image in enumerate(result.images))
    assert batches.failed == []


def test_pixels_are_served_like_files(tmp_path: Path) -> None:
    files = folder(tmp_path, [(8, 8)] * 10)
    pixels = np.stack([(stored(files, i) * 255).byte().permute(1, 2, 0).numpy() for i in range(10)])
    held = ImageIndex(
        "x", "cifar10:x", "test", files.classes, files.ids, files.labels, tmp_path, None, pixels
    )
    assert equal(joined(list(evaluation(held))), joined(list(evaluation(files))))
    for size in ((6, 6), (12, 12)):
        assert equal(joined(list(evaluation(held, size))), joined(list(evaluation(files, size))))
    assert equal(joined(list(training(held).epoch(1))), joined(list(training(files).epoch(1))))


@pytest.mark.parametrize("reason", ["another wanted size", "sizes differ", "too large", "too many"])
def test_other_sets_are_streamed(tmp_path: Path, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"sizes differ": [(8, 8)] * 5 + [(9, 8)], "too large": [(97, 97)] * 6}.get(reason, [(8, 8)] * 6)
    wanted = {"another wanted size": (6, 6), "too large": (97, 97)}.get(reason, (8, 8))
    if reason == "too many":
        monkeypatch.setattr("eval_suite.data.decoding.IN_MEMORY_BYTES", 6 * 3 * 64 - 1)
    batches = evaluation(folder(tmp_path, sizes), wanted)
    assert not batches.in_memory
    assert joined(list(batches)).images.shape == (6, 3, *wanted)


@pytest.mark.parametrize(
    "transform", [((6, 6),), ((6, 9), 0.875, "bicubic"), ((6, 6), 0.875, "bilinear", True)]
)
def test_a_set_that_is_read_repeatedly_is_resized_once(tmp_path: Path, transform: tuple[Any, ...]) -> None:
    index = folder(tmp_path, [(20, 30), (8, 8), (30, 20), (6, 6)])
    assert index.paths is not None
    index.paths[1].write_bytes(b"")
    streamed, kept = (
        ImageBatches(
            index, EvaluationTransform(*transform), batch_size=3, device=CPU, workers=0, repeatedly=repeatedly
        )
        for repeatedly in (False, True)
    )
    assert (streamed.in_memory, kept.in_memory) == (False, True)
    for _ in range(2):
        assert equal(joined(list(kept)), joined(list(streamed)))
    assert kept.failed == streamed.failed != []


def test_small_images_that_are_to_be_stretched_and_cropped_are_not_served_as_they_are(tmp_path: Path) -> None:
    index = folder(tmp_path, [(14, 14)] * 3)
    transform = EvaluationTransform((14, 14), 0.875, stretch=True)
    batches = ImageBatches(index, transform, batch_size=3, device=CPU, workers=0)
    assert not batches.in_memory
    expected = [pil_to_tensor(transform.apply(noise(i, 14, 14))).float() / 255 for i in range(3)]
    assert torch.equal(joined(list(batches)).images, torch.stack(expected))
    assert not torch.equal(expected[0], stored(index, 0))


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    index = folder(tmp_path, [(8, 8)] * 3)
    with pytest.raises(InputError, match=r"unknown interpolation 'bilinaer'. Did you mean 'bilinear'"):
        ImageBatches(index, EvaluationTransform((8, 8), 1.0, "bilinaer"), batch_size=1, device=CPU)
    with pytest.raises(ValueError, match="crop_fraction"):
        ImageBatches(index, EvaluationTransform((8, 8), 1.5), batch_size=1, device=CPU)


def test_workers_do_not_change_what_is_evaluated(tmp_path: Path) -> None:
    index = folder(tmp_path, [(20 + i, 31 - i) for i in range(10)], ".jpg")
    state = torch.random.get_rng_state()
    alone, helped = evaluation(index), evaluation(index, workers=2)
    assert equal(joined(list(alone)), joined(list(helped)))
    assert torch.equal(torch.random.get_rng_state(), state)


# Unreadable images


def spoil(index: ImageIndex, position: int, content: bytes | None = None) -> str:
    assert index.paths is not None
    path = index.paths[position]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3] if content is None else content)
    return index.ids[position]


@pytest.mark.parametrize(("size", "workers"), [((8, 8), 0), ((6, 6), 0), ((6, 6), 2)])
def test_unreadable_images_are_left_out_counted_and_named_once(
    tmp_path: Path, size: tuple[int, int], workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    index = folder(tmp_path, [(8, 8)] * 10)
    names = [spoil(index, 0, b""), spoil(index, 4), spoil(index, 5, b"GIF, no: text")]
    batches = evaluation(index, size, workers=workers)
    for _ in range(2):
        found = list(batches)
        assert [len(batch.images) for batch in found] == [3, 2, 2]
        result = joined(found)
        assert result.index.tolist() == [1, 2, 3, 6, 7, 8, 9]
        assert result.labels.tolist() == index.labels[result.index].tolist()
        assert batches.failed == names
    warning = capsys.readouterr().err
    assert warning == f"warning: 3 of 10 images cannot be read, first: {names[0]} (empty file)\n"


def test_images_before_and_after_an_unreadable_one_keep_their_pixels(tmp_path: Path) -> None:
    index = folder(tmp_path, [(8, 8)] * 10)
    spoil(index, 5)
    for batch in evaluation(index):
        for image, position in zip(batch.images, batch.index.tolist(), strict=True):
            assert torch.equal(image, stored(index, position))


@pytest.mark.parametrize("size", [(8, 8), (6, 6)])
def test_strict_stops_at_an_unreadable_image(tmp_path: Path, size: tuple[int, int]) -> None:
    index = folder(tmp_path, [(8, 8)] * 6)
    name = spoil(index, 3)
    with pytest.raises(InputError, match=f"cannot read {name} of folder:.*; replace it or drop --strict"):
        list(evaluation(index, size, strict=True))


@pytest.mark.parametrize("size", [(8, 8), (6, 6)])
def test_nothing_readable_is_an_error(tmp_path: Path, size: tuple[int, int]) -> None:
    index = folder(tmp_path, [(8, 8)] * 3)
    for position in range(3):
        spoil(index, position, b"")
    with pytest.raises(InputError, match=r"no image in split 'val' of .* can be read"):
        list(evaluation(index, size))
    with pytest.raises(InputError, match="can be read"):
        list(training(index, "flip", size=size).epoch(0))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_image_is_never_half_accepted(tmp_path: Path, suffix: str) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    index = folder(tmp_path, [(40, 40)] * 3, suffix)
    name = spoil(index, 1)
    batches = evaluation(index, (40, 40))
    assert joined(list(batches)).index.tolist() == [0, 2]
    assert batches.failed == [name]


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
def test_training_leaves_unreadable_images_out(tmp_path: Path, preset: str) -> None:
    index = folder(tmp_path, [(8, 8)] * 12)
    whole = [list(training(index, preset).epoch(epoch)) for epoch in range(2)]
    name = spoil(index, 7)
    batches = training(index, preset)
    for epoch in range(2):
        found = list(batches.epoch(epoch))
        assert sorted(len(batch.images) for batch in found) == [3, 4, 4]
        for before, after in zip(whole[epoch], found, strict=True):
            kept = before.index != 7
            assert equal(after, Batch(before.images[kept], before.labels[kept], before.index[kept]))
    assert batches.failed == [name]


# Training


@pytest.mark.parametrize(
    ("preset", "size", "workers"),
    [("cifar", (8, 8), 0), ("none", (8, 8), 0), ("flip", (6, 6), 0), ("imagenet-jitter", (8, 8), 0), ("imagenet-jitter", (8, 8), 2)],
)  # fmt: skip
def test_any_step_is_the_same_wherever_the_epoch_starts(
    tmp_path: Path, preset: str, size: tuple[int, int], workers: int
) -> None:
    index = folder(tmp_path, [(8, 8)] * 14)
    batches = training(index, preset, size=size, workers=workers)
    assert batches.in_memory == (preset != "imagenet-jitter")
    assert batches.steps_per_epoch == 3
    full = list(batches.epoch(2))
    assert len(full) == 3
    for start in range(4):
        tail = list(training(index, preset, size=size).epoch(2, start))
        assert len(tail) == 3 - start
        assert all(equal(a, b) for a, b in zip(full[start:], tail, strict=True))


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
def test_seed_and_epoch_change_order_and_pixels(tmp_path: Path, preset: str) -> None:
    index = folder(tmp_path, [(8, 8)] * 12)
    one = joined(list(training(index, preset).epoch(0)))
    for other in (training(index, preset).epoch(1), training(index, preset, seed=6).epoch(0)):
        result = joined(list(other))
        assert result.index.tolist() != one.index.tolist()
        assert sorted(result.index.tolist()) == list(range(12))
        assert not torch.equal(result.images[result.index.argsort()], one.images[one.index.argsort()])


@pytest.mark.parametrize("preset", ["cifar", "none", "imagenet"])
def test_labels_follow_images(tmp_path: Path, preset: str) -> None:
    index = folder(tmp_path, [(8, 8)] * 12)
    result = joined(list(training(index, preset).epoch(0)))
    assert result.labels.tolist() == index.labels[result.index].tolist()
    if preset == "none":
        assert all(
            torch.equal(x, stored(index, i))
            for x, i in zip(result.images, result.index.tolist(), strict=True)
        )


@pytest.mark.parametrize(("preset", "world"), [("cifar", 2), ("cifar", 3), ("imagenet-jitter", 2)])
def test_the_parts_of_the_ranks_make_the_global_batch(tmp_path: Path, preset: str, world: int) -> None:
    index = folder(tmp_path, [(8, 8)] * 12)
    alone = list(training(index, preset, batch_size=5).epoch(0))
    ranks = [training(index, preset, batch_size=5, rank=rank, world=world).epoch(0) for rank in range(world)]
    for whole, parts in zip(alone, zip(*ranks, strict=True), strict=True):
        together = joined(list(parts))
        assert torch.equal(together.index, whole.index)
        assert torch.equal(together.labels, whole.labels)
        torch.testing.assert_close(together.images, whole.images, atol=1e-6, rtol=0)


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
def test_repeated_images_follow_one_another_each_augmented_by_itself(tmp_path: Path, preset: str) -> None:
    index = folder(tmp_path, [(8, 8)] * 12)
    batches = training(index, preset, batch_size=6, repeats=3)
    plain = joined(list(training(index, preset, batch_size=6).epoch(0))).index
    whole = list(batches.epoch(0))
    result = joined(whole)
    assert result.index.tolist() == plain[:4].repeat_interleave(3).tolist()
    assert result.labels.tolist() == index.labels[result.index].tolist()
    copies = result.images.view(4, 3, -1)
    assert sum(torch.equal(copies[i, 0], copies[i, 1]) for i in range(4)) < 2
    assert equal(next(batches.epoch(0, 1)), whole[1])
    ranks = [
        training(index, preset, batch_size=6, repeats=3, rank=rank, world=2, workers=rank).epoch(0)
        for rank in range(2)
    ]
    assert equal(joined([next(rank) for rank in ranks]), whole[0])


def test_an_unreadable_image_takes_all_its_copies(tmp_path: Path) -> None:
    index = folder(tmp_path, [(8, 8)] * 4)
    name = spoil(index, 1)
    for size in ((8, 8), (6, 6)):
        batches = training(index, "flip", size=size, repeats=2)
        found = [joined(list(batches.epoch(epoch))).index.tolist() for epoch in range(6)]
        assert all(1 not in epoch and len(epoch) in (2, 4) for epoch in found)
        assert batches.failed == [name]


@pytest.mark.parametrize("preset", ["cifar", "imagenet"])
def test_a_policy_augments_each_image_by_its_place(tmp_path: Path, preset: str) -> None:
    index = folder(tmp_path, [(8, 8)] * 12)
    plain, batches = (training(index, preset, policy=policy) for policy in (None, "trivial-augment"))
    one, other = joined(list(plain.epoch(0))), joined(list(batches.epoch(0)))
    assert torch.equal(one.index, other.index)
    changed = [not torch.equal(a, b) for a, b in zip(one.images, other.images, strict=True)]
    assert sum(changed) > 4
    state = torch.get_rng_state()
    assert equal(joined(list(training(index, preset, policy="trivial-augment", workers=2).epoch(0))), other)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(joined(list(batches.epoch(1))).images, other.images)


def test_images_are_resized_for_training_as_is_said(tmp_path: Path) -> None:
    index = folder(tmp_path, [(20, 20)] * 4)
    for preset in ("none", "imagenet", "resize-crop"):
        sizes = {
            name: joined(list(training(index, preset, interpolation=name).epoch(0))).images
            for name in ("bilinear", "bicubic")
        }
        assert not torch.equal(sizes["bilinear"], sizes["bicubic"])


def test_a_set_smaller_than_a_batch_is_one_batch(tmp_path: Path) -> None:
    batches = training(folder(tmp_path, [(8, 8)] * 5), batch_size=64)
    assert batches.steps_per_epoch == 1
    assert [len(batch.images) for batch in batches.epoch(0)] == [5]
    with pytest.raises(ValueError, match="an image for each rank"):
        training(folder(tmp_path, [(8, 8)] * 5), rank=7, world=8, batch_size=64)


@pytest.mark.parametrize("sizes", [[(9, 9)] * 6, [(8, 8)] * 5 + [(9, 8)]])
def test_the_cifar_preset_wants_images_of_the_size(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    index = folder(tmp_path, sizes)
    with pytest.raises(InputError, match=r"expects images of 8 x 8 pixels, found (9 x 9|8 x 9) in"):
        list(training(index, "cifar", batch_size=6).epoch(0))


def test_large_images_of_one_size_are_cropped_without_memory(tmp_path: Path) -> None:
    index = folder(tmp_path, [(100, 100)] * 4)
    batches = training(index, "cifar", size=(100, 100))
    assert not batches.in_memory
    assert next(batches.epoch(0)).images.shape == (4, 3, 100, 100)


def test_every_item_gets_its_own_resized_crop(tmp_path: Path) -> None:
    index = folder(tmp_path, [(20, 30)] * 8)
    assert index.paths is not None
    for path in index.paths[1:]:
        path.write_bytes(index.paths[0].read_bytes())
    batch = next(training(index, "imagenet", batch_size=8).epoch(0))
    assert len(batch.images.flatten(1).unique(dim=0)) == 8


def test_a_resized_crop_of_a_large_jpeg_shows_the_same_part(tmp_path: Path) -> None:
    """Decoding at a fraction of the size must not move the crop."""
    jpeg = folder(tmp_path / "jpeg", [(640, 800)] * 6, ".jpg")
    for split in ("train", "val"):
        for path in sorted((tmp_path / "jpeg" / split).rglob("*.jpg")):
            to = tmp_path / "png" / split / path.parent.name / f"{path.stem}.png"
            to.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.save(to)
    png = open_images(f"folder:{tmp_path / 'png'}")
    one = joined(list(training(jpeg, "imagenet", size=(16, 16)).epoch(0)))
    other = joined(list(training(png, "imagenet", size=(16, 16)).epoch(0)))
    assert torch.equal(one.index, other.index)
    assert (one.images - other.images).abs().mean() < 0.01


@pytest.mark.parametrize("preset", ["imagenet", "flip", "resize-crop"])
def test_a_random_interpolation_is_drawn_for_each_image(tmp_path: Path, preset: str) -> None:
    index = folder(tmp_path, [(40, 61)] * 12, ".jpg")
    ways = ("bilinear", "bicubic", "random")
    linear, cubic, drawn = (
        next(training(index, preset, batch_size=12, interpolation=way).epoch(0)).images for way in ways
    )
    by_linear, by_cubic = ((drawn == one).flatten(1).all(1) for one in (linear, cubic))
    assert (by_linear ^ by_cubic).all()
    assert 0 < by_linear.sum() < 12


def test_given_positions_are_read_in_any_order_and_repeatedly(demo_world: Path) -> None:
    index = open_images(f"folder:{demo_world / 'images'}", "val")
    for size in ((64, 64), (48, 48)):  # in memory, and decoded
        batches = ImageBatches(
            index, EvaluationTransform(size), batch_size=8, device=torch.device("cpu"), workers=0
        )
        whole = torch.cat([batch.images for batch in batches])
        positions = [torch.tensor([5, 2, 5]), torch.tensor([29])]
        found = list(batches.at(positions))
        assert [batch.index.tolist() for batch in found] == [[5, 2, 5], [29]]
        assert torch.equal(found[0].images, whole[[5, 2, 5]])
        assert found[1].labels.tolist() == [index.labels[29]]
