"""One forward pass over a set: logits, the features they are a linear function of or that stand for them, and what scores add."""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, nullcontext
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast
from eval_suite.backbones.structure.classifier import ClassifierLayer, classifier_layer
from eval_suite.core.errors import InputError
from eval_suite.data.loading import Batch
from eval_suite.tasks.ood.confidences import OodScore
from eval_suite.tasks.ood.odin import OdinSettings, odin_confidence, perturbed
from eval_suite.tasks.ood.scores import scores_with_features


class Outputs(NamedTuple):
    """What one pass leaves of n readable images, tensors on the CPU.

    ``logits`` (n, classes), with no classes of a network that returns features, and ``features`` (n, D) float32, empty where no
    score asks for them; ``odin`` (n,)
    confidences or None; ``statistics`` (n, S) by score; ``labels`` (n,), ``positions`` (n,) in the index; ``digests`` tell
    equal images.
    """

    logits: Tensor
    features: Tensor
    odin: Tensor | None
    statistics: dict[str, Tensor]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    digests: list[bytes]


def last_layer(backbone: Backbone) -> ClassifierLayer:
    """The layer whose outputs are the logits.

    Raises:
        InputError: if the network ends in another way.
    """
    layer = classifier_layer(backbone.net, backbone.normalise(backbone.noise(2)))
    if layer is None:
        raise InputError(
            expected=f"backbone '{backbone.card.name}' ({backbone.card.arch}) to end in a linear layer",
            found="none whose outputs are the logits",
            remedy=f"leave out the scores that need its features: {', '.join(scores_with_features())}",
        )
    return layer


def run_over(
    backbone: Backbone,
    batches: Iterable[Batch],
    *,
    layer: ClassifierLayer | None = None,
    odin: OdinSettings | None = None,
    of_maps: Mapping[str, OodScore] = MappingProxyType({}),
    precision: str = "fp32",
) -> Outputs:
    """Run a backbone over a set once; for ODIN each batch goes backwards and through the network once more.

    Args:
        backbone: in evaluation mode, on the device of the batches.
        batches: the set.
        layer: the last layer, whose inputs are kept as features.
        odin: ODIN's settings where its confidence is wanted.
        of_maps: prepared scores whose statistics are wanted.
        precision: 'fp32', or 'bf16' for autocast.
    """
    logits, features, confidences = [], [], []
    labels, positions, digests = [], [], []
    statistics: dict[str, list[Tensor]] = {name: [] for name in of_maps}
    inputs: list[Tensor] = []
    handle = None
    if layer is not None:
        handle = layer.module.register_forward_pre_hook(lambda _layer, given: inputs.append(given[0]))
    try:
        for batch in batches:
            images = batch.images
            with nullcontext() if odin else torch.inference_mode(), autocast(images.device, precision):
                if odin:
                    images = images.detach().clone().requires_grad_()
                with ExitStack() as looking:
                    for score in of_maps.values():
                        looking.enter_context(score.looking())
                    found = backbone(images)
                if backbone.card.headless:
                    features.append(found.detach().float().cpu())
                    found = found[:, :0]
                if layer is not None:
                    features.append(layer.vectors(inputs.pop().detach())[: len(images)].float().cpu())
                if odin:
                    moved = perturbed(images, found, odin)
                    with torch.no_grad():
                        confidences.append(odin_confidence(backbone(moved), odin.temperature).cpu())
                with torch.no_grad():
                    for name, score in of_maps.items():
                        statistics[name].append(score.statistics(images.detach()).cpu())
                inputs.clear()
            logits.append(found.detach().float().cpu())
            labels.append(batch.labels.cpu())
            positions.append(batch.index)
            digests += _digests(batch.images)
    finally:
        if handle is not None:
            handle.remove()
    return Outputs(
        logits=_joined(logits),
        features=_joined(features),
        odin=_joined(confidences) if odin else None,
        statistics={name: _joined(parts) for name, parts in statistics.items()},
        labels=_joined(labels).numpy(),
        positions=_joined(positions).numpy(),
        digests=digests,
    )


def _digests(images: Tensor) -> list[bytes]:
    pixels = images.detach().mul(255).round_().to(torch.uint8).cpu().contiguous().numpy()
    return [hashlib.blake2b(image, digest_size=16).digest() for image in pixels]


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.zeros(0)
