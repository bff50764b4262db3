"""Natural distribution shifts: other images of the evaluated classes, such as ImageNet-V2, -A, -R and -Sketch."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.inference import autocast, evaluation_batches
from eval_suite.core.cards import BackboneCard
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.class_order import ClassMatch, match_classes
from eval_suite.data.images import ImageIndex, open_images, parse_spec
from eval_suite.tasks.robustness.options import RobustnessOptions
from eval_suite.tasks.robustness.predictions import Shifted
from eval_suite.tasks.robustness.sweep import Classifier


class ShiftedSource(NamedTuple):
    """``[NAME=]KIND:PATH``, taken apart."""

    name: str
    spec: str


def parse_shifted(text: str) -> ShiftedSource:
    """Take ``[NAME=]KIND:PATH`` apart; without a name, the folder's.

    Raises:
        InputError: if it is no data.

    Example:
        >>> parse_shifted("v2=folder:data/imagenet-v2")
        ShiftedSource(name='v2', spec='folder:data/imagenet-v2')
    """
    name, equals, spec = text.partition("=")
    if not equals or ":" in name:
        name, spec = "", text
    path: Path = parse_spec(spec).path
    return ShiftedSource(name or path.resolve().name, spec)


def open_shifted(source: ShiftedSource, classes: list[str]) -> tuple[ImageIndex, ClassMatch]:
    """The images of a set, labelled in the evaluated data's classes, and which of these it has.

    Raises:
        InputError: if the set cannot be read, or has a class that the data have not.
    """
    whole = open_images(source.spec)
    match = match_classes(whole.classes, source.spec, outputs=len(classes), names=classes)
    return match.relabel(whole), match


def sweep_shifted(
    classify: Classifier,
    evaluated: ImageIndex,
    options: RobustnessOptions,
    card: BackboneCard,
    runtime: RuntimeOptions,
    device: torch.device,
) -> list[Shifted]:
    """Answers on each set, among the classes that it has; where those are some, also on the evaluated images of these.

    So both errors are of the same choice: ImageNet-A and -R hold 200 of ImageNet's classes, and their authors let a network
    choose among these.

    Args:
        classify: answers in the classes of the evaluated data.
        evaluated: the images that the rest of the task is measured on.
        options: sets and limit.
        card: how images are brought to the network.
        runtime: batches and workers.
        device: where the network is.

    Raises:
        InputError: if a set cannot be read or has other classes.
        EvalSuiteError: if an image cannot be read.

    Reference: Taori et al., NeurIPS 2020, sec. 2 and appendix (sub-sampled classes).
    """
    found = []
    for text in options.shifted:
        source = parse_shifted(text)
        index, match = open_shifted(source, evaluated.classes)
        index = index.subset(options.limit)
        some = match.subset
        among = np.arange(len(evaluated.classes)) if some is None else np.sort(some)
        pairs = [(index, source.name)]
        if some is not None:
            held = np.flatnonzero(np.isin(evaluated.labels, among))
            pairs.append((evaluated.select(held), f"{source.name}, evaluated images"))
        answers = []
        for images, title in pairs:
            batches = evaluation_batches(images, card, runtime=runtime, device=device, strict=True)
            shown = progress(batches, len(batches), f"robustness {card.name}, {title}")
            parts = [_answers(classify, batch.images, batch.labels, among) for batch in shown]
            answers.append(torch.cat(parts).cpu().numpy() if parts else np.zeros(0, np.int64))
        reference = (None, None) if some is None else (answers[1], pairs[1][0].labels)
        found.append(Shifted(source.name, len(among), answers[0], index.labels, *reference))
    return found


@torch.inference_mode()
def _answers(classify: Classifier, images: Tensor, labels: Tensor, among: NDArray[np.int64]) -> Tensor:
    """The class (B,) with the highest logit among some, which hold every label; ties go against the label."""
    with autocast(images.device, classify.precision):
        logits = classify.model(images).float()
    chosen = torch.from_numpy(among).to(logits.device)
    own = torch.searchsorted(chosen, labels)
    return chosen[classify.choose(logits[:, chosen], own[:, None])]
