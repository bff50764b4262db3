"""Where an image draws the eye, or a network: differences between pixels and their surroundings, or the loss's gradient."""

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from eval_suite.training.regularizers.base import Context

# Half sides of the surroundings in pixels.
_SURROUNDINGS = (12, 24, 48, 28, 56, 112)


def fine_grained_saliency(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Saliency (H, W), 0 to 510, of an image (H, W, 3) in RGB.

    Each scale gives by how much a pixel is lighter, and by how much darker, than the mean of its surroundings;
    lighter and darker are each summed over the scales and brought to 0...255, then added.

    Reference: Montabone and Soto, "Human detection using a mobile platform and novel features derived from a visual
    saliency mechanism", Image and Vision Computing 2010, in the whole numbers of OpenCV's contributed module, which no
    wheel of plain OpenCV holds. Its last step, back to 0...255 in a byte that may overflow, is left out.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for _ in range(2):
        grey = cv2.GaussianBlur(grey, (3, 3), 0)
    height, width = grey.shape
    sums = cv2.integral(grey).astype(np.float64)
    centre = grey.astype(np.float64)
    lighter = np.zeros((height, width), np.int64)
    darker = np.zeros((height, width), np.int64)
    for half in _SURROUNDINGS:
        top, bottom = _ends(height, half)
        left, right = _ends(width, half)
        total = sums[bottom][:, right] + sums[top][:, left] - sums[bottom][:, left] - sums[top][:, right]
        count = (bottom - top)[:, None] * (right - left)[None, :] - 1
        mean = (total - centre) / np.maximum(count, 1)
        lighter += np.clip(centre - mean, 0, 255).astype(np.int64)
        darker += np.clip(mean - centre, 0, 255).astype(np.int64)
    return _to_byte(lighter) + _to_byte(darker)


def _ends(length: int, half: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    at = np.arange(length)
    return np.clip(at - half + 1, 0, length), np.clip(at + half + 1, 0, length)


def _to_byte(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return 255 * values // max(int(values.max()), 1)


def gradient_saliency(images: "Tensor", targets: "Tensor", context: "Context") -> "Tensor":
    """(N, H, W): root mean square over the channels of the loss's gradient by the normalised image."""
    import torch
    import torch.nn.functional as F

    from eval_suite.training.distributed import share_buffers

    backbone = context.looking().backbone
    assert backbone is not None
    share_buffers(backbone)
    training = backbone.training
    backbone.eval()
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(backbone(leaf).float(), targets), leaf)
    backbone.train(training)
    return (gradient.float() * backbone.std).square().mean(1).sqrt()
