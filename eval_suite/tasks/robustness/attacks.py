"""Gradient attacks in pixel space: FGSM and PGD, white box, with the true label."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eval_suite.backbones.inference import autocast, gradient_to
from eval_suite.core.runtime import derive_seed
from eval_suite.tasks.robustness.options import Loss

Model = Callable[[Tensor], Tensor]


class Gradient(NamedTuple):
    """``logits`` (B, classes) float and ``of_images`` (B, 3, H, W), the gradient of each image's own loss."""

    logits: Tensor
    of_images: Tensor


class LossGradient(NamedTuple):
    """``logits`` (B, classes) float, ``losses`` (B,) and ``of_images`` (B, 3, H, W), the gradient of each image's loss."""

    logits: Tensor
    losses: Tensor
    of_images: Tensor


def input_gradient(
    model: Model, images: Tensor, labels: Tensor, *, loss: Loss = "log-odds", precision: str = "fp32"
) -> Gradient:
    """Gradient of the loss with respect to the images.

    In float32 the cross entropy of a sure prediction is flat: once the label's probability p rounds to 1 (some 17 nats
    above the rest) its share of the gradient is exactly 0, and what is left points elsewhere. The log-odds
    log((1 - p) / p) = log Σ_{j≠y} exp z_j - z_y have the same gradient divided by 1 - p > 0, so the same sign, and no
    such rounding. The losses are summed, so no image's gradient depends on how many others share its batch.

    Args:
        model: images (B, 3, H, W) in [0, 1] → logits (B, classes), at least two classes, in evaluation mode.
        images: (B, 3, H, W) in [0, 1].
        labels: (B,) true classes.
        loss: 'log-odds', or 'cross-entropy' in float32 as other tools have it.
        precision: 'fp32', or 'bf16' for autocast.
    """
    found = loss_gradient(model, images, lambda logits: losses_of(loss)(logits, labels), precision=precision)
    return Gradient(found.logits, found.of_images)


def loss_gradient(
    model: Model, images: Tensor, losses: Callable[[Tensor], Tensor], *, precision: str = "fp32"
) -> LossGradient:
    """The gradient of each image's own loss.

    Args:
        model: as in `input_gradient`.
        images: (B, 3, H, W) in [0, 1].
        losses: logits (B, classes) float to (B,).
        precision: 'fp32', or 'bf16' for autocast.

    Raises:
        InputError: if the network passes no gradient.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        with autocast(images.device, precision):
            logits = model(leaf)
        values = losses(logits.float())
        gradient = gradient_to(leaf, values.sum())
    return LossGradient(logits.detach().float(), values.detach(), gradient)


def saturated(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether float32 rounds the label's probability to 1: (B,) for logits (B, classes) and labels (B,)."""
    return logits.softmax(1).gather(1, labels[:, None])[:, 0] == 1


def fgsm(images: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """Fast gradient sign method: clamp(x + ε sign(∇ₓ L(θ, x, y)), 0, 1).

    Args:
        images: (B, 3, H, W) in [0, 1].
        gradient: what `input_gradient` found for them.
        epsilon: in pixel units, from 0 to 1.

    Returns:
        (B, 3, H, W) in [0, 1]; a pixel without gradient is left as it is.

    Reference: Goodfellow, Shlens and Szegedy, ICLR 2015, sec. 4.
    """
    return torch.add(images, gradient.sign(), alpha=epsilon).clamp_(0, 1)


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    start: Tensor | None = None,
    loss: Loss = "log-odds",
    precision: str = "fp32",
) -> Tensor:
    """Projected gradient descent in the L∞ ball: ``steps`` times FGSM with ``step_size``, projected back each time.

    Args:
        model: as in `input_gradient`.
        images: (B, 3, H, W) in [0, 1].
        labels: (B,) true classes.
        epsilon: radius of the ball in pixel units, from 0 to 1.
        step_size: length of one step in pixel units.
        steps: number of steps.
        start: (B, 3, H, W) in [-1, 1], the place in the ball to start from in units of ε; the image itself for None.
        loss: as in `input_gradient`.
        precision: 'fp32', or 'bf16' for autocast.

    Returns:
        (B, 3, H, W) in [0, 1], nowhere farther than ε from the images.

    Reference: Madry et al., ICLR 2018, eq. 1 and sec. 2.1.
    """
    attacked = images if start is None else torch.add(images, start, alpha=epsilon).clamp_(0, 1)
    for _ in range(steps):
        gradient = input_gradient(model, attacked, labels, loss=loss, precision=precision).of_images
        moved = torch.add(attacked, gradient.sign(), alpha=step_size)
        attacked = moved.sub_(images).clamp_(-epsilon, epsilon).add_(images).clamp_(0, 1)
    return attacked


def item_seeds(names: Sequence[str], *keys: int) -> list[int]:
    """Each item's own seed, from its name and some numbers, so that it does not depend on the batch it comes in."""
    return [derive_seed(zlib.crc32(name.encode("utf-8", "surrogateescape")), *keys) for name in names]


def random_starts(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """Uniform numbers in [-1, 1), one (C, H, W) block of ``shape`` for each seed, on the CPU.

    An item's own seed makes its start independent of the batch it comes in.
    """
    generator = torch.Generator()
    starts = torch.empty(len(seeds), *shape)
    for row, seed in zip(starts, seeds, strict=True):
        row.uniform_(-1, 1, generator=generator.manual_seed(seed))
    return starts


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Parameters collect no gradients inside; afterwards they are as before."""
    collecting = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in collecting:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in collecting:
            parameter.requires_grad_(True)


def losses_of(name: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss by name: logits (B, classes) and labels (B,) to (B,)."""
    return _LOSSES[name]


def _log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    own = labels[:, None]
    return logits.scatter(1, own, -torch.inf).logsumexp(1) - logits.gather(1, own)[:, 0]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


_LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "log-odds": _log_odds,
    "cross-entropy": _cross_entropy,
}
