"""The operators of ``mmcv._ext`` that our detectors call, by torchvision's, for every device that torchvision supports.

mmcv compiles some seventy operators when it is installed, for the GPU toolkit that it finds there: that takes a quarter
of an hour, and operators compiled where no toolkit was found do not run on a GPU. SSD and Faster R-CNN call three of
them, and torchvision ships the same three, compiled for both CPU and CUDA.

On the CPU, results are equal to those of mmcv's compiled operators to the bit, ties included.
"""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor

from eval_suite.core.errors import EvalSuiteError

_NAME = "mmcv._ext"


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices (k,) of the boxes (n, 4) that remain, by falling score; ties in the order of `torch.sort`.

    Raises:
        EvalSuiteError: if ``offset`` is not 0, i.e. where corners are meant inclusive.
    """
    if offset != 0:
        raise EvalSuiteError(
            f"NMS: expected offset 0, found {offset}; torchvision's operator knows exclusive corners only"
        )
    # In mmcv's order, an unstable sort: which of two boxes with one score comes first decides what a detector learns.
    # torchvision sorts once more, but stably, and so leaves it.
    ranked, order = scores.float().sort(dim=0, descending=True)
    # mmcv compares in single precision, torchvision in double: 0.7 would be another threshold.
    kept = torch.ops.torchvision.nms(boxes.float()[order], ranked, float(np.float32(iou_threshold)))
    return order[kept]


def roi_align_forward(
    features: Tensor,
    regions: Tensor,
    output: Tensor,
    _argmax_y: Tensor,
    _argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output`` (k, C, h, w) with features (N, C, H, W) averaged in the regions (k, 5): image, x0, y0, x1, y1.

    Raises:
        EvalSuiteError: for ``pool_mode`` 0, the maximum, which torchvision's operator does not have.
    """
    _require_average(pool_mode)
    pooled = torch.ops.torchvision.roi_align(
        features.float(),
        regions.float(),
        spatial_scale,
        aligned_height,
        aligned_width,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    gradient: Tensor,
    regions: Tensor,
    _argmax_y: Tensor,
    _argmax_x: Tensor,
    output: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output`` (N, C, H, W) with the gradient (k, C, h, w) of `roi_align_forward`, by its features.

    Raises:
        EvalSuiteError: for ``pool_mode`` 0.
    """
    _require_average(pool_mode)
    # The operator fails for bfloat16, which it is given under autocast.
    by_features = torch.ops.torchvision._roi_align_backward(  # noqa: SLF001 - torchvision has no public backward of RoIAlign
        gradient.float(),
        regions.float(),
        spatial_scale,
        aligned_height,
        aligned_width,
        *output.shape,
        sampling_ratio,
        aligned,
    )
    output.copy_(by_features)


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise EvalSuiteError("RoIAlign: expected the average over a bin (pool_mode 1), found the maximum")


class _Operators(ModuleType):
    """Stands where mmcv looks for its compiled module; an operator that is not here is missed when it is called.

    mmcv asserts at import that fifty-odd operators exist, so each name has to be there.
    """

    nms = staticmethod(nms)
    roi_align_forward = staticmethod(roi_align_forward)
    roi_align_backward = staticmethod(roi_align_backward)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_arguments: Any, **_keywords: Any) -> Any:
            raise EvalSuiteError(
                f"mmcv's operator '{name}' was called, which eval_suite does not have: "
                "it brings nms, roi_align_forward and roi_align_backward, for SSD and Faster R-CNN"
            )

        return missing


def register_operators() -> None:
    """Have mmcv use these operators, whether or not it has compiled ones of its own."""
    operators = _Operators(_NAME, __doc__)
    operators.__spec__ = ModuleSpec(_NAME, loader=None)
    sys.modules[_NAME] = operators
    # Imported before, these two hold on to the compiled module.
    for user in ("mmcv.ops.nms", "mmcv.ops.roi_align"):
        if user in sys.modules:
            sys.modules[user].ext_module = operators  # type: ignore[attr-defined]
