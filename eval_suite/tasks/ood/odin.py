"""ODIN: temperature, and a step of the input towards its predicted class.

pytorch-ood's version runs the network once more for the gradient and takes the softmax in single precision, where a
temperature of 1000 leaves few different confidences; here the forward pass is shared and the softmax is double.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast, gradient_to
from eval_suite.data.loading import Batch
from eval_suite.tasks.ood.confidences.odin import Odin
from eval_suite.tasks.ood.rates import detection

TEMPERATURES, EPSILONS = Odin.candidates["odin_temperature"], Odin.candidates["odin_epsilon"]
"""Where tuning looks: temperatures and steps within the ranges of the paper's appendix."""


class OdinSettings(NamedTuple):
    """Temperature, and length of the step in units of pixels in [0, 1]."""

    temperature: float
    epsilon: float


def perturbed(images: Tensor, logits: Tensor, settings: OdinSettings) -> Tensor:
    """Images moved by epsilon, in every pixel, towards a higher softmax probability of the predicted class.

    Args:
        images: (B, 3, H, W) in [0, 1], requiring gradients.
        logits: (B, classes) that were computed from them.
        settings: temperature and epsilon.

    Returns:
        (B, 3, H, W), detached; as in the paper not cut to [0, 1].

    Reference: Liang et al., ICLR 2018, eq. 2; dividing by the standard deviations there makes epsilon one of pixels.
    """
    return images.detach() - settings.epsilon * _descent(images, logits, settings.temperature)


def odin_confidence(logits: Tensor, temperature: float) -> Tensor:
    """Largest softmax probability at a temperature: (B, classes) → (B,) float64."""
    return (logits.double() / temperature).softmax(dim=1).amax(dim=1)


def tuned(
    backbone: Backbone,
    known: Iterable[Batch],
    outliers: Mapping[str, Iterable[Batch]],
    *,
    temperatures: Iterable[float] = TEMPERATURES,
    epsilons: Iterable[float] = EPSILONS,
    measure: Literal["tnr", "auroc"] = "tnr",
    precision: str = "fp32",
) -> OdinSettings:
    """The settings with the highest TNR at 95 % TPR, or AUROC, on held-out images, as a mean over the outlier sets.

    One pair is chosen for all sets. Of equal pairs the first counts.

    Args:
        backbone: in evaluation mode.
        known: held-out in-distribution images.
        outliers: held-out outliers by set.
        temperatures: to choose from.
        epsilons: to choose from.
        measure: the TNR, as ODIN's authors chose, or the AUROC.
        precision: 'fp32', or 'bf16' for autocast.
    """
    pairs = [OdinSettings(*pair) for pair in product(temperatures, epsilons)]
    inside = _confidences(backbone, known, pairs, precision)
    outside = [_confidences(backbone, batches, pairs, precision) for batches in outliers.values()]

    def reached(pair: OdinSettings) -> float:
        found = (detection(inside[pair].numpy(), each[pair].numpy()) for each in outside)
        return sum(float(getattr(each, measure)) for each in found)

    return max(pairs, key=reached)


def _confidences(
    backbone: Backbone, batches: Iterable[Batch], pairs: list[OdinSettings], precision: str
) -> dict[OdinSettings, Tensor]:
    found: dict[OdinSettings, list[Tensor]] = {pair: [] for pair in pairs}
    for batch in batches:
        images = batch.images.detach().clone().requires_grad_()
        with autocast(images.device, precision):
            logits = backbone(images)
            descents = {
                t: _descent(images, logits, t) for t in dict.fromkeys(pair.temperature for pair in pairs)
            }
            with torch.no_grad():
                for pair in pairs:
                    moved = batch.images - pair.epsilon * descents[pair.temperature]
                    found[pair].append(odin_confidence(backbone(moved), pair.temperature).cpu())
    return {pair: torch.cat(parts) for pair, parts in found.items()}


def _descent(images: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Sign of the gradient of the predicted class's cross entropy."""
    loss = F.cross_entropy(logits.float() / temperature, logits.argmax(dim=1), reduction="sum")
    return gradient_to(images, loss, keep_graph=True).sign()
