"""PxAP against scikit-learn and by hand; masks read safely."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import MaskFiles
from eval_suite.tasks.wsol.box_accuracy import threshold_grid
from eval_suite.tasks.wsol.geometry import PAPER, Transform
from eval_suite.tasks.wsol.pixel_metrics import pixel_metrics
from eval_suite.tasks.wsol.pixels import (
    histogram_edges,
    pixel_average_precision,
    pixel_histograms,
    precision_recall,
    read_mask,
)

WHOLE = Transform((20, 30))


def histograms(score: np.ndarray, mask: np.ndarray, interval: float = 0.001) -> np.ndarray:
    return pixel_histograms(score, mask.astype(np.uint8), histogram_edges(threshold_grid(interval)))


def test_by_hand() -> None:
    score, mask = np.array([[1.0, 0.9, 0.2, 0.2]]), np.array([[1, 0, 1, 0]])
    # At 1: precision 1, recall 1/2; at 0.9: no gain; at 0.2: precision 2/4, recall 1.
    assert pixel_average_precision(histograms(score, mask, 0.1)) == pytest.approx(0.5 + 0.5 * 0.5)
    found = precision_recall(histograms(score, mask, 0.1))
    assert found.recall[[1, 2, -1]].tolist() == [0.5, 0.5, 1]
    assert found.precision[[1, 2, -1]].tolist() == [1, 0.5, 0.5]


def test_it_is_the_average_precision_of_binned_scores() -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (60, 50))
    score = (rng.random((60, 50)) * 0.7 + 0.3 * mask).clip(0, 1)
    score[0, 0] = 1
    binned = np.searchsorted(threshold_grid(0.001), score, side="right")
    expected = average_precision_score(mask.ravel(), np.where(score == 1, 2000, binned).ravel())
    assert pixel_average_precision(histograms(score, mask)) == pytest.approx(expected)


def test_histograms_are_numpys() -> None:
    rng = np.random.default_rng(0)
    thresholds = threshold_grid(0.01)
    score = np.concatenate([rng.random((10, 100)), np.tile(thresholds, (2, 1)), np.ones((1, 100))])
    mask = rng.choice([0, 1, 255], score.shape).astype(np.uint8)
    found = pixel_histograms(score, mask, histogram_edges(thresholds))
    for value in (0, 1):
        expected, _ = np.histogram(score[mask == value], bins=np.append(thresholds, [1.0, 2.0, 3.0]))
        assert np.array_equal(found[value], expected)
    assert found.sum() == (mask != 255).sum()


@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_a_constant_map_has_the_share_of_the_object(value: float) -> None:
    mask = np.zeros((10, 10))
    mask[:3] = 1
    assert pixel_average_precision(histograms(np.full((10, 10), value), mask)) == pytest.approx(0.3)


def test_a_perfect_map_has_one_and_its_opposite_little() -> None:
    mask = np.zeros((10, 10))
    mask[2:5, 3:7] = 1
    assert pixel_average_precision(histograms(mask, mask)) == 1
    assert pixel_average_precision(histograms(1 - mask, mask)) == pytest.approx(0.12)


def test_ignored_pixels_do_not_count() -> None:
    rng = np.random.default_rng(0)
    score, mask = rng.random((20, 20)), rng.integers(0, 2, (20, 20))
    ignoring = mask.copy()
    ignoring[:, 10:] = 255
    assert np.array_equal(histograms(score, ignoring), histograms(score[:, :10], mask[:, :10]))


def test_the_metric_has_an_interval_around_it_and_a_curve() -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (30, 12, 12))
    each = np.stack([histograms(0.8 * rng.random((12, 12)) + 0.2 * mask, mask, 0.01) for mask in masks])
    scored = pixel_metrics(each, 30)
    metric, curve = scored.metrics[0], scored.curves[0]
    assert (metric.name, metric.n) == ("PxAP", 30)
    assert metric.value == pixel_average_precision(each.sum(axis=0))
    assert metric.interval is not None
    assert metric.interval[0] < metric.value < metric.interval[1]
    assert curve.x[-1] == 1
    order = rng.permutation(30)
    assert pixel_metrics(each[order], 30).metrics[0].value == metric.value


def test_without_masks_or_without_objects_there_is_a_reason() -> None:
    assert pixel_metrics(None, 3, "why").metrics[0].reason == "why"
    empty = np.zeros((2, 2, 5), np.int32)
    empty[:, 0] = 1
    assert pixel_metrics(empty, 2).metrics[0].reason == "no pixel of the masks belongs to an object"


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels.astype(np.uint8))
    (image if mode is None else image.convert(mode)).save(path)
    return path


def test_instances_are_joined_and_an_object_is_never_ignored(tmp_path: Path) -> None:
    one, other, ignore = (np.zeros((20, 30), np.uint8) for _ in range(3))
    one[2:6, 3:9] = 255
    other[4:12, 10:20] = 255
    ignore[:, :15] = 255
    files = MaskFiles(
        [save(tmp_path / "1.png", one, "1"), save(tmp_path / "2.png", other)],
        save(tmp_path / "i.png", ignore),
    )
    found = read_mask(files, WHOLE)
    expected = np.where((one | other) > 0, 1, np.where(ignore > 0, 255, 0))
    assert np.array_equal(found, expected)
    assert set(np.unique(read_mask(files._replace(ignore=None), WHOLE))) == {0, 1}


def test_masks_of_another_size_are_brought_to_the_input(tmp_path: Path) -> None:
    mask = (np.random.default_rng(0).random((37, 53)) > 0.5).astype(np.uint8) * 255
    found = read_mask(MaskFiles([save(tmp_path / "m.png", mask)], None), PAPER)
    whole = cv2.resize(mask, (256, 256), interpolation=cv2.INTER_NEAREST) > 0
    assert np.array_equal(found, whole[16:240, 16:240])


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"", "not an image"), (b"\x89PNG\r\n\x1a\nxx", "")]
)
def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"expected a mask at .*m\.png, found: {message}"):
        read_mask(MaskFiles([tmp_path / "m.png"], None), WHOLE)


def test_a_mask_of_an_absurd_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (8000, 7000)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="8000 x 7000 pixels"):
        read_mask(MaskFiles([tmp_path / "m.png"], None), WHOLE)
