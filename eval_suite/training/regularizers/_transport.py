"""Patches of images that are moved to where they are shown."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pooled(saliency: "Tensor", cells: int) -> "Tensor":
    """Saliency (N, cells, cells) of cells, summing to 1."""
    import torch.nn.functional as F

    sums = F.avg_pool2d(saliency.unsqueeze(1), saliency.shape[-1] // cells)[:, 0]
    return sums / sums.sum((1, 2), keepdim=True).clamp(min=1e-16)


def transported(
    images: "Tensor", shown: "Tensor", saliency: "Tensor", cost: float, fill: "Tensor"
) -> "Tensor":
    """Images (N, 3, S, S) with their patches moved to where they are shown.

    Args:
        images: to move patches of.
        shown: (N, 1, p, p) share of each place that shows the image.
        saliency: (N, p, p) of the patches.
        cost: of moving by a whole side.
        fill: colour (3,) of places that no patch goes to.

    Reference: Kim et al., ICML 2020, algorithm 1: every patch goes to its cheapest place; of several at one place the cheapest stays, and the
    place becomes dearer by 1 for the others in the next round.
    """
    import torch

    n, p = len(images), shown.shape[-1]
    size = images.shape[-1] // p
    # In double precision, so that ties stay ties: the first place, and the first patch, win them.
    at = torch.arange(p, device=images.device, dtype=torch.float64)
    place = torch.cartesian_prod(at, at)
    distance = ((place[:, None] - place[None, :]) ** 2).sum(2) / (p - 1) ** 2
    costs = cost * distance - saliency.double().reshape(n, -1, 1) * (shown.reshape(n, 1, -1) > 0)
    for _ in range(p):
        chosen = torch.zeros_like(costs).scatter_(2, costs.argmin(2, keepdim=True), 1.0)
        winner = (chosen * costs).where(chosen > 0, torch.inf).min(1)
        taken = winner.values.isfinite()
        stays = torch.zeros_like(costs).scatter_(1, winner.indices.unsqueeze(1), 1.0) * chosen
        costs = costs + chosen - stays
    patches = (
        images.reshape(n, 3, p, size, p, size).permute(0, 2, 4, 1, 3, 5).reshape(n, p * p, 3, size, size)
    )
    moved = patches[torch.arange(n, device=images.device)[:, None], winner.indices]
    moved = moved.where(taken[:, :, None, None, None], fill.to(images).view(1, 1, 3, 1, 1))
    return moved.reshape(n, p, p, 3, size, size).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)
