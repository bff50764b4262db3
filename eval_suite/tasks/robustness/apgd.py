"""Auto-PGD: projected gradient descent with momentum that chooses its own step size, on losses of one's choice."""

from collections.abc import Callable

import torch
from torch import Tensor

from eval_suite.tasks.robustness.attacks import Model, loss_gradient

PerImageLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Logits (B, classes), labels (B,) and target classes (B,) to (B,)."""

_MOMENTUM = 0.75
_RISES = 0.75
_FIRST, _SHORTER, _SHORTEST = 0.22, 0.03, 0.06
_TINY = 1e-12


def apgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    loss: PerImageLoss,
    *,
    epsilon: float,
    steps: int,
    start: Tensor,
    targets: Tensor | None = None,
    precision: str = "fp32",
) -> Tensor:
    """Auto-PGD in the L∞ ball: the step begins at 2 ε and is halved, image by image, where it does not pay.

    At each checkpoint an image halves its step and goes back to its best point if its loss rose in at most three
    quarters of the steps since the one before, or if neither its step nor its best loss has changed there. No image
    depends on the others of its batch. Those that are fooled are done: only they are left out of further steps.

    Args:
        model: images (B, 3, H, W) in [0, 1] → logits (B, classes), in evaluation mode.
        images: (B, 3, H, W) in [0, 1].
        labels: (B,) true classes.
        loss: what is raised.
        epsilon: radius of the ball in pixel units, from 0 to 1.
        steps: number of steps.
        start: (B, 3, H, W) in [-1, 1], the place in the ball to start from in units of ε.
        targets: (B,) classes for a targeted loss; the labels for None.
        precision: 'fp32', or 'bf16' for autocast.

    Returns:
        (B, 3, H, W) in [0, 1], nowhere farther than ε from the images: the first point that fools the network, else the
        one of the highest loss.

    Raises:
        InputError: if the network passes no gradient.

    Reference: Croce and Hein, ICML 2020, sec. 3 and algorithm 1; lengths between checkpoints, and "at most" in the first
    condition, as in their code.
    """
    result = torch.add(images, start, alpha=epsilon).clamp_(0, 1)
    if not len(images):
        return result
    now = {"image": images, "label": labels, "target": labels if targets is None else targets}

    def gradient(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def losses(logits: Tensor) -> Tensor:
            return loss(logits, now["label"], now["target"])

        found = loss_gradient(model, at, losses, precision=precision)
        return found.of_images, found.losses, is_fooled(found.logits, now["label"])

    now |= {"row": torch.arange(len(images), device=images.device), "x": result, "before": result}
    now["gradient"], now["loss"], fooled = gradient(result)
    ones = torch.ones_like(now["loss"])
    now |= {"best_x": result, "best_gradient": now["gradient"], "best": now["loss"]}
    now |= {"step": 2 * epsilon * ones[:, None, None, None], "rises": 0 * ones, "reduced": ones == 1}
    now["best_at_checkpoint"] = now["best"]
    length = max(int(_FIRST * steps), 1)
    until_checkpoint = length
    for number in range(steps):
        now = {name: values[~fooled] for name, values in now.items()}
        if not len(now["row"]):
            break
        x, image = now["x"], now["image"]
        stepped = _projected(x + now["step"] * now["gradient"].sign(), image, epsilon)
        if number:
            stepped = torch.lerp(x, stepped, _MOMENTUM).add_(x - now["before"], alpha=1 - _MOMENTUM)
            stepped = _projected(stepped, image, epsilon)
        now["before"], now["x"] = x, stepped
        now["gradient"], losses, fooled = gradient(stepped)
        now["rises"] = now["rises"] + (losses > now["loss"])
        now["loss"] = losses
        better = losses > now["best"]
        for best, current in (("best_x", "x"), ("best_gradient", "gradient"), ("best", "loss")):
            now[best] = torch.where(_like(better, now[best]), now[current], now[best])
        result[now["row"]] = torch.where(_like(fooled, stepped), stepped, now["best_x"])
        until_checkpoint -= 1
        if not until_checkpoint:
            idle = ~now["reduced"] & (now["best"] <= now["best_at_checkpoint"])
            now["reduced"] = (now["rises"] <= _RISES * length) | idle
            now["best_at_checkpoint"] = now["best"]
            now["step"] = torch.where(_like(now["reduced"], now["step"]), now["step"] / 2, now["step"])
            for current in ("x", "gradient"):
                there = _like(now["reduced"], now[current])
                now[current] = torch.where(there, now[f"best_{current}"], now[current])
            now["rises"] = torch.zeros_like(now["rises"])
            length = max(length - max(int(_SHORTER * steps), 1), int(_SHORTEST * steps), 1)
            until_checkpoint = length
    return result


def dlr(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    """The difference of logits ratio, -(z_y - max_{i≠y} z_i) / (z_1st - z_3rd), of three classes or more.

    Shift and scale of the logits leave it as it is, so that no network can flatten it by being very sure.

    Args:
        logits: (B, classes).
        labels: (B,) true classes.

    Returns:
        (B,), above 0 where another class than the label is first.

    Reference: Croce and Hein, ICML 2020, eq. 6.
    """
    highest = logits.topk(3, dim=1).values
    return _lead(logits, labels) / (highest[:, 0] - highest[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2), of four classes or more.

    Args:
        logits: (B, classes).
        labels: (B,) true classes.
        targets: (B,) classes to reach.

    Reference: Croce and Hein, ICML 2020, eq. 7.
    """
    highest = logits.topk(4, dim=1).values
    ahead = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    return ahead / (highest[:, 0] - highest[:, 2:].mean(1) + _TINY)


def is_fooled(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether another class than the label is first, or level with it: (B,) for logits (B, classes) and labels (B,)."""
    return _lead(logits, labels) >= 0


def _lead(logits: Tensor, labels: Tensor) -> Tensor:
    own = labels[:, None]
    return logits.scatter(1, own, -torch.inf).amax(1) - logits.gather(1, own)[:, 0]


def _projected(x: Tensor, images: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(x, images - epsilon, images + epsilon).clamp_(0, 1)


def _like(mask: Tensor, values: Tensor) -> Tensor:
    """A mask (B,) that spreads over (B, ...)."""
    return mask.view(-1, *[1] * (values.dim() - 1))
