"""Resizing of what a crop keeps, against Pillow."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from eval_suite.data.decoding import jpeg_pixels
from eval_suite.data.resampling import FILTERS, like_pillow
from eval_suite.data.sizing import INTERPOLATIONS, EvaluationTransform


def drawn(seed: int, height: int, width: int) -> Image.Image:
    """Edges, a ramp and noise: a smooth picture would hide what rounding and the order of the passes change."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (height, width, 3))
    pixels[:, width // 3 :] += 90
    pixels[height // 2 :, :, 1] += np.linspace(0, 105, width).astype(int)
    pixels[::7, ::5] = 255
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **how)
    return stream.getvalue()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.integers(1, 70), st.data(), st.sampled_from(sorted(FILTERS))
)  # fmt: skip
def test_any_part_of_any_resizing_is_pillows(
    height: int, width: int, tall: int, wide: int, data: st.DataObject, name: str
) -> None:
    top, left = data.draw(st.integers(0, tall - 1)), data.draw(st.integers(0, wide - 1))
    size = data.draw(st.integers(1, tall - top)), data.draw(st.integers(1, wide - left))
    box = (left, top, left + size[1], top + size[0])
    plain = Image.new("RGB", (width, height), (9, 200, 90))  # tells nothing of the order
    for image in (plain, *(drawn(seed, height, width) for seed in range(3))):
        whole = image.resize((wide, tall), INTERPOLATIONS[name])
        expected = np.asarray(whole.crop(box)).transpose(2, 0, 1)
        found = like_pillow(
            lambda made=expected: made, np.asarray(image), (tall, wide), (top, left), size, name
        )
        assert np.array_equal(found, expected)


def test_what_was_seen_to_take_rows_first_is_not_asked_again() -> None:
    def refused() -> NDArray[np.uint8]:
        raise AssertionError

    image = drawn(1, 75, 100)
    whole = image.resize((50, 38), INTERPOLATIONS["bilinear"])
    expected = np.asarray(whole.crop((9, 3, 41, 35))).transpose(2, 0, 1)
    geometry = ((38, 50), (3, 9), (32, 32), "bilinear")
    like_pillow(lambda: expected, np.asarray(image), *geometry)
    assert np.array_equal(like_pillow(refused, np.asarray(image), *geometry), expected)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_crops_of_all_sizes_are_pillows_and_it_is_seldom_asked(name: str) -> None:
    random, asked, size = np.random.default_rng(3), 0, (25, 31)
    image = drawn(2, 90, 90)
    whole = np.asarray(image)
    for _ in range(400):
        height, width = (int(side) for side in random.integers(1, 91, 2))
        part = image.crop((0, 0, width, height)).resize(size[::-1], INTERPOLATIONS[name])
        expected = np.asarray(part).transpose(2, 0, 1)

        def pillow(made: NDArray[np.uint8] = expected) -> NDArray[np.uint8]:
            nonlocal asked
            asked += 1
            return made

        found = like_pillow(pillow, whole[:height, :width], size, (0, 0), size, name)
        assert np.array_equal(found, expected), (height, width)
    assert asked < 100


TRANSFORMS = [
    EvaluationTransform((224, 224)),
    EvaluationTransform((64, 64), 1.0, "bicubic"),
    EvaluationTransform((33, 60), 0.8, "bicubic"),
    EvaluationTransform((48, 48), 0.875, stretch=True),
    EvaluationTransform((75, 50), 0.95),
    EvaluationTransform((40, 40), 0.875, "lanczos"),
    EvaluationTransform((40, 40), 0.875, "nearest"),
]
KINDS: dict[str, dict[str, object]] = {
    "4:4:4": {"subsampling": 0, "quality": 95},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2, "quality": 60},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
}


@pytest.mark.parametrize("kind", [*KINDS, "grey"])
def test_both_readers_give_the_same_pixels(kind: str) -> None:
    for seed, (height, width) in enumerate(
        [(75, 50), (333, 500), (1, 1), (8, 300), (255, 17), (301, 299), (97, 64)]
    ):
        image = drawn(seed, height, width)
        encoded = jpeg(image.convert("L")) if kind == "grey" else jpeg(image, **KINDS[kind])
        assert jpeg_pixels(Image.open(io.BytesIO(encoded))) is not None
        for transform in TRANSFORMS:
            fast, pillow = (
                transform.pixels(Image.open(io.BytesIO(encoded)), reader)
                for reader in ("torchvision", "pillow")
            )
            assert np.array_equal(fast, pillow), (height, width, transform)
            assert fast.shape == (3, *transform.size)


def test_what_is_no_plain_jpeg_is_left_to_pillow() -> None:
    image = drawn(3, 60, 80)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned, which is kept as it is stored
    profile = b"\0" * 128
    others = {
        "CMYK": jpeg(image.convert("CMYK")),
        **{name: _saved(image, name) for name in ("PNG", "WEBP", "BMP", "TIFF")},
        "16 bit": _saved(Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13), "PNG"),
        "palette": _saved(image.convert("P"), "PNG"),
        "turned": jpeg(image, exif=exif),
        "profile": jpeg(image, icc_profile=profile),
    }
    for name, encoded in others.items():
        if name not in ("turned", "profile"):
            assert jpeg_pixels(Image.open(io.BytesIO(encoded))) is None
        for transform in TRANSFORMS[:2]:
            fast, pillow = (
                transform.pixels(Image.open(io.BytesIO(encoded)), reader)
                for reader in ("torchvision", "pillow")
            )
            assert np.array_equal(fast, pillow), name


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_cut_off_jpeg_is_refused_by_both_readers(share: float) -> None:
    encoded = jpeg(drawn(1, 90, 70))
    cut = encoded[: int(len(encoded) * share)]
    for reader in ("torchvision", "pillow"):
        with pytest.raises(OSError, match="truncated"):
            EvaluationTransform((32, 32)).pixels(Image.open(io.BytesIO(cut)), reader)


def _saved(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()
