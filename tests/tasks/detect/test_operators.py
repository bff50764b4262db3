"""The operators that stand in for mmcv's compiled ones, against plain loops in float64 and end to end."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from eval_suite.core.errors import EvalSuiteError
from eval_suite.tasks.detect.openmmlab import load_openmmlab


def overlap(a: Tensor, b: Tensor) -> float:
    width = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0])))
    height = max(0.0, float(min(a[3], b[3]) - max(a[1], b[1])))
    areas = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / (areas - width * height)


def plain_nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for place in sorted(range(len(boxes)), key=lambda i: (-float(scores[i]), i)):
        if all(overlap(boxes[place], boxes[other]) <= threshold for other in kept):
            kept.append(place)
    return kept


def plain_roi_align(features: Tensor, region: Tensor, side: int, scale: float, ratio: int) -> Tensor:
    """Mask R-CNN's RoIAlign with half-pixel offset: the mean of bilinear samples on a grid in each bin."""
    image, x0, y0, x1, y1 = (float(value) for value in region)
    maps = features[int(image)]
    x0, y0, x1, y1 = (value * scale - 0.5 for value in (x0, y0, x1, y1))
    high, wide = (y1 - y0) / side, (x1 - x0) / side
    rows = ratio or max(1, math.ceil(high))
    columns = ratio or max(1, math.ceil(wide))
    out = features.new_zeros(len(maps), side, side)
    for i in range(side):
        for j in range(side):
            for row in range(rows):
                for column in range(columns):
                    y = y0 + (i + (row + 0.5) / rows) * high
                    x = x0 + (j + (column + 0.5) / columns) * wide
                    out[:, i, j] += bilinear(maps, y, x) / (rows * columns)
    return out


def bilinear(maps: Tensor, y: float, x: float) -> Tensor:
    height, width = maps.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return maps.new_zeros(len(maps))
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = maps[:, top, left] * (1 - (x - left)) + maps[:, top, right] * (x - left)
    lower = maps[:, bottom, left] * (1 - (x - left)) + maps[:, bottom, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def some_boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 20
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * 15], 1)


@pytest.fixture(scope="module")
def ops() -> Any:
    load_openmmlab()
    import mmcv.ops

    return mmcv.ops


class TestNms:
    @pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
    def test_keeps_what_a_plain_loop_keeps(self, ops: Any, threshold: float) -> None:
        boxes, scores = some_boxes(60, 1), torch.rand(60, generator=torch.Generator().manual_seed(2))
        _, kept = ops.nms(boxes, scores, threshold)
        assert kept.tolist() == plain_nms(boxes.double(), scores, threshold)

    def test_ties_come_in_the_order_of_torchs_sort_as_mmcvs_do(self, ops: Any) -> None:
        boxes = some_boxes(300, 11)
        scores = (torch.rand(300, generator=torch.Generator().manual_seed(12)) * 4).round() / 4
        order = scores.sort(dim=0, descending=True).indices
        _, kept = ops.nms(boxes, scores, 0.5)
        by_rank = plain_nms(boxes[order].double(), torch.linspace(1, 0, 300), 0.5)
        assert kept.tolist() == order[by_rank].tolist()

    def test_overlap_equal_to_the_threshold_is_kept_in_single_precision(self, ops: Any) -> None:
        # A tenth is larger in single precision than in double, where this overlap would be above the threshold.
        boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, 1, 1]])
        _, kept = ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.1)
        assert kept.tolist() == [0, 1]

    def test_empty(self, ops: Any) -> None:
        detections, kept = ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
        assert (detections.shape, kept.shape) == ((0, 5), (0,))

    def test_bfloat16_is_computed_in_single_precision(self, ops: Any) -> None:
        boxes, scores = some_boxes(40, 3).bfloat16(), torch.linspace(1, 0, 40).bfloat16()
        _, kept = ops.nms(boxes, scores, 0.5)
        _, wanted = ops.nms(boxes.float(), scores.float(), 0.5)
        assert torch.equal(kept, wanted)

    def test_inclusive_corners_are_refused(self, ops: Any) -> None:
        with pytest.raises(EvalSuiteError, match="offset"):
            ops.nms(some_boxes(2, 4), torch.rand(2), 0.5, offset=1)


class TestRoiAlign:
    @pytest.mark.parametrize(("ratio", "scale"), [(0, 0.5), (2, 0.25), (1, 1.0)])
    def test_equals_plain_sampling(self, ops: Any, ratio: int, scale: float) -> None:
        features = torch.randn(2, 3, 16, 12, generator=torch.Generator().manual_seed(5))
        boxes = some_boxes(6, 6)
        boxes[0] += torch.tensor([-6.0, -6.0, 40.0, 40.0])  # beyond the edges
        regions = torch.cat([torch.tensor([0.0, 1, 0, 1, 1, 0])[:, None], boxes], 1)
        pooled = ops.roi_align(features, regions, (4, 4), scale, ratio, "avg", True)
        for found, region in zip(pooled, regions, strict=True):
            wanted = plain_roi_align(features.double(), region.double(), 4, scale, ratio)
            torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)

    def test_gradient_is_that_of_plain_sampling(self, ops: Any) -> None:
        features = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(7), requires_grad=True)
        region = torch.tensor([[0.0, 1.3, 2.1, 11.7, 9.4]])
        weights = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(8))
        pooled = ops.roi_align(features, region, (3, 3), 0.5, 0, "avg", True)
        (found,) = torch.autograd.grad((pooled[0] * weights).sum(), features)
        exact = features.detach().double().requires_grad_()
        (wanted,) = torch.autograd.grad(
            (plain_roi_align(exact, region[0].double(), 3, 0.5, 0) * weights).sum(), exact
        )
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)

    def test_bfloat16_goes_forward_and_back(self, ops: Any) -> None:
        features = torch.randn(1, 2, 8, 8).bfloat16().requires_grad_()
        pooled = ops.roi_align(
            features, torch.tensor([[0.0, 1, 1, 6, 6]]).bfloat16(), (2, 2), 1.0, 0, "avg", True
        )
        pooled.sum().backward()
        assert pooled.dtype == features.grad.dtype == torch.bfloat16  # type: ignore[union-attr]
        # Each of four bins averages with weights that sum to one, and there are two channels.
        assert float(features.grad.float().sum()) == pytest.approx(8, rel=0.02)  # type: ignore[union-attr]

    def test_no_regions(self, ops: Any) -> None:
        features = torch.randn(1, 2, 8, 8, requires_grad=True)
        pooled = ops.roi_align(features, torch.zeros(0, 5), (2, 2), 1.0, 0, "avg", True)
        pooled.sum().backward()
        assert pooled.shape == (0, 2, 2, 2)
        assert not features.grad.any()  # type: ignore[union-attr]

    def test_the_maximum_is_refused(self, ops: Any) -> None:
        with pytest.raises(EvalSuiteError, match="maximum"):
            ops.roi_align(torch.randn(1, 2, 8, 8), torch.zeros(1, 5), (2, 2), 1.0, 0, "max", True)


def test_another_operator_is_missed_when_it_is_called(ops: Any) -> None:
    with pytest.raises(EvalSuiteError, match="softnms"):
        ops.soft_nms(some_boxes(2, 9), torch.rand(2))


def test_a_compiled_module_that_mmcv_already_holds_is_replaced(ops: Any, monkeypatch: Any) -> None:
    import sys

    from eval_suite.tasks.detect.operators import register_operators

    compiled = object()
    monkeypatch.setitem(sys.modules, "mmcv._ext", compiled)
    monkeypatch.setattr(sys.modules["mmcv.ops.nms"], "ext_module", compiled)
    register_operators()
    assert sys.modules["mmcv.ops.nms"].ext_module is sys.modules["mmcv._ext"] is not compiled
    assert ops.nms(some_boxes(1, 0), torch.ones(1), 0.5)[1].tolist() == [0]
