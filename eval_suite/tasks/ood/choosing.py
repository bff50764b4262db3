"""Hyper-parameters of scores, chosen on validation sets and never on the reported ones."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from torch import Tensor

from eval_suite.core.errors import InputError
from eval_suite.tasks.ood.confidences import FitOptions, OodScore, TrainingFeatures
from eval_suite.tasks.ood.features import Outputs
from eval_suite.tasks.ood.rates import detection


class Validation(NamedTuple):
    """What a pass over the validation images left: in-distribution ones, and each outlier set by name."""

    inside: Outputs
    outside: Mapping[str, Outputs]
    split: str

    def named(self) -> str:
        """The sets in words."""
        return f"{', '.join(self.outside)} against '{self.split}'"


class Chosen(NamedTuple):
    """A fitted score, and in words what was chosen for it; empty where it has nothing to choose."""

    score: OodScore
    how: str


def confidences(score: OodScore, outputs: Outputs) -> Tensor:
    """What a fitted score says of every image of a pass: (n,) float64.

    Raises:
        InputError: if it gives anything but a number for each image.
    """
    found: object = score(outputs.logits, outputs.statistics.get(score.name, outputs.features))
    wanted = (len(outputs.positions),)
    if not isinstance(found, Tensor) or found.shape != wanted:
        shape = f" {tuple(found.shape)}" if isinstance(found, Tensor) else ""
        raise InputError(
            expected=f"a tensor {wanted} from the score '{score.name}', a confidence for each image",
            found=f"{type(found).__name__}{shape}",
            remedy="torch.from_numpy makes one of a NumPy array",
        )
    return found


def fitted(
    score: OodScore, training: TrainingFeatures, options: FitOptions, validation: Validation | None
) -> Chosen:
    """Fit a score, with the hyper-parameters as given, or those with the highest AUROC on the validation sets.

    Of equal candidates the first counts; one for which there are too few training images is passed over.

    Args:
        score: prepared, where it needs maps.
        training: what it learns from.
        options: the hyper-parameters, of which its candidates take the place of some.
        validation: images to choose on, if any.

    Raises:
        InputError: if there are fewer training images than it needs with the hyper-parameters as given.
    """
    if validation is None or not score.candidates:
        score.fit(training, options)
        return Chosen(score, "")
    best: tuple[float, FitOptions, dict[str, object]] | None = None
    for values in product(*score.candidates.values()):
        settings = dict(zip(score.candidates, values, strict=True))
        candidate = options._replace(**settings)
        try:
            score.fit(training, candidate)
        except InputError:
            continue
        reached = _mean_auroc(score, validation)
        if best is None or reached > best[0]:
            best = reached, candidate, settings
    if best is None:
        score.fit(training, options)  # raises what is wrong
        return Chosen(score, "")
    score.fit(training, best[1])
    shown = ", ".join(f"{name} {_text(value)}" for name, value in best[2].items())
    return Chosen(score, f"{shown}, chosen by AUROC ({best[0]:.4f}) on {validation.named()}")


def _mean_auroc(score: OodScore, validation: Validation) -> float:
    inside = confidences(score, validation.inside).numpy()
    reached = [
        float(detection(inside, confidences(score, each).numpy()).auroc)
        for each in validation.outside.values()
    ]
    return sum(reached) / len(reached)


def _text(value: object) -> str:
    return " ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else f"{value:g}"
