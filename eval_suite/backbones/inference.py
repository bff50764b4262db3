"""Running a backbone over a data set."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.probe import unchanged
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.images import ImageIndex
from eval_suite.data.loading import Batch, ImageBatches, Share
from eval_suite.data.sizing import EvaluationTransform, Prepare


class Logits(NamedTuple):
    """Logits (n, classes) float32, labels (n,) and positions (n,) in the image index, in the order of the data."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]


def predict_logits(
    model: Callable[[Tensor], Tensor], batches: Iterable[Batch], *, precision: str = "fp32"
) -> Logits:
    """Forward every batch and gather what comes out; results stay on the device until the end.

    Args:
        model: images (B, 3, H, W) in [0, 1] → logits (B, classes).
        batches: what to run it on.
        precision: 'fp32', or 'bf16' for autocast.
    """
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    index: list[Tensor] = []
    with torch.inference_mode():
        for batch in batches:
            with autocast(batch.images.device, precision):
                logits.append(model(batch.images).float())
            labels.append(batch.labels)
            index.append(batch.index)
    if not logits:
        return Logits(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Logits(
        torch.cat(logits).cpu().numpy(), torch.cat(labels).cpu().numpy(), torch.cat(index).cpu().numpy()
    )


def transform_of(card: BackboneCard) -> EvaluationTransform:
    """How a backbone's card says that images are brought to its input."""
    squash = card.resize == "squash"
    return EvaluationTransform(card.input_size, card.crop_fraction, card.interpolation, stretch=squash)


def evaluation_batches(
    index: ImageIndex,
    card: BackboneCard,
    *,
    runtime: RuntimeOptions,
    device: torch.device,
    strict: bool = False,
    transform: EvaluationTransform | None = None,
    prepare: Prepare | None = None,
    share: Share = Share(0, 1),  # noqa: B008 - a tuple
    repeatedly: bool = False,
) -> ImageBatches:
    """Every image of a set as a backbone's card says, or by the transform of a protocol; prepared first where it is to be.

    With the `own_share` of this process only its part, to be put together by `gathered`; a set that is read ``repeatedly`` is
    kept in memory where it is small.
    """
    return ImageBatches(
        index,
        transform or transform_of(card),
        batch_size=runtime.sized().batch_size,
        device=device,
        workers=runtime.workers,
        strict=strict,
        prepare=prepare,
        reader=runtime.reader,
        cache=runtime.cache,
        share=share,
        repeatedly=repeatedly,
    )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a forward pass runs at a precision, whatever the caller's own autocast says."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def compiled(backbone: Backbone) -> Backbone:
    """The backbone with its network compiled by torch; hooks on its layers are not called any more."""
    made = Backbone(torch.compile(backbone.net), backbone.card)  # type: ignore[arg-type]  # a module for a module
    made.contiguous = backbone.contiguous
    return made.to(backbone.mean.device).eval()


def gradient_to(images: Tensor, loss: Tensor, *, keep_graph: bool = False) -> Tensor:
    """The gradient of a loss, summed over a batch, with respect to its images.

    Args:
        images: (B, 3, H, W) that require gradients.
        loss: computed from them.
        keep_graph: another gradient will be asked for.

    Raises:
        InputError: if the network passes none: it works under ``no_grad``, detaches, or rounds what it is given.
    """
    gradient = None
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, images, retain_graph=keep_graph, allow_unused=True)
    if gradient is None:
        raise InputError(
            expected="a network that passes gradients to its images",
            found="one that passes none (no_grad, detach or rounding inside)",
            remedy="leave out what needs them: FGSM and PGD (--fgsm-epsilons and --pgd-epsilons without values), all of --attacks but square, the score odin",
        )
    return gradient


def to_device(backbone: Backbone, device: torch.device) -> Backbone:
    """The backbone on a device, in evaluation mode, in the memory layout convolutions are fastest in where it runs in it.

    A network that views its maps as (N, -1) does not: the plain layout, in which it was loaded, is kept for it.
    """
    torch.backends.cudnn.benchmark = device.type == "cuda"
    backbone = backbone.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    if not backbone.contiguous and not _runs(backbone, device):
        backbone.contiguous = True
    if backbone.contiguous:
        backbone = backbone.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return backbone


def _runs(backbone: Backbone, device: torch.device) -> bool:
    """Whether two blank images pass through."""
    images = torch.zeros(2, 3, *backbone.card.input_size, device=device)
    with unchanged(backbone.net), torch.inference_mode():
        try:
            backbone(images.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            if "view" in str(error):
                return False
            raise
    return True


def require_finite(finite: bool, card: BackboneCard, where: str, what: str = "logits") -> None:
    """Refuse a network whose numbers are unusable.

    Args:
        finite: whether all of them are.
        card: of the backbone.
        where: the data it was run on, for the message; empty for a probe.
        what: which numbers.

    Raises:
        EvalSuiteError: if not.
    """
    if not finite:
        on = f" on {where}" if where else ""
        raise EvalSuiteError(
            f"backbone '{card.name}' gives NaN or infinite {what}{on}; its weights are unusable"
        )


def require_some_read(read: int, items: int, where: str) -> None:
    """Refuse a set of which no image could be read.

    Raises:
        EvalSuiteError: if ``read`` is 0 of ``items`` images.
    """
    if not read:
        raise EvalSuiteError(f"none of the {items} images of {where} could be read")
