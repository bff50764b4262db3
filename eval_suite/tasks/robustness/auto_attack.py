"""AutoAttack and its parts by name: each a sequence of tries on the images that still stand."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from eval_suite.backbones.inference import autocast
from eval_suite.tasks.robustness.apgd import PerImageLoss, apgd, dlr, targeted_dlr
from eval_suite.tasks.robustness.attacks import Model, item_seeds, losses_of, random_starts
from eval_suite.tasks.robustness.fab import fab
from eval_suite.tasks.robustness.options import AUTOATTACK, AttackName, RobustnessOptions
from eval_suite.tasks.robustness.square import square

_PURPOSES = {"apgd-ce": 0xA9CE01, "apgd-dlr": 0xA9D102, "apgd-t": 0xA97003, "square": 0x50AE04}


class Answers(Protocol):
    """What an attack needs of a network: itself, how precisely it computes, and the class (B,) that it answers with."""

    model: Model
    precision: str

    def __call__(self, images: Tensor, accepted: Tensor) -> Tensor:
        """The predicted class (B,) of images (B, 3, H, W), where ties go against the accepted classes (B, k)."""


class Try(Protocol):
    """One run of an attack: images (n, 3, H, W), labels (n,) and the n items' names to attacked images."""

    def __call__(self, images: Tensor, labels: Tensor, names: Sequence[str], /, *, epsilon: float) -> Tensor:
        """Attacked images (n, 3, H, W), no farther than ε from the images."""


def attacked_answers(
    classify: Answers,
    name: AttackName,
    images: Tensor,
    labels: Tensor,
    clean: Tensor,
    names: Sequence[str],
    *,
    epsilon: float,
    options: RobustnessOptions,
) -> Tensor:
    """The answers (B,) under an attack: another class than the label as soon as one try has found one.

    Args:
        classify: the network.
        name: of the attack, or ``autoattack`` for the standard ensemble, whose parts follow each other.
        images: (B, 3, H, W) in [0, 1].
        labels: (B,) true classes.
        clean: (B,) answers to the images as they are; those that are wrong stay.
        names: of the B items, which decide their random numbers.
        epsilon: radius of the L∞ ball in pixel units.
        options: steps, restarts, target classes, queries and seed.

    Raises:
        InputError: if the network passes no gradient and the attack needs one.

    Reference: Croce and Hein, ICML 2020, sec. 5: APGD-CE, APGD-T, FAB-T and Square, each on what stands after the others.
    """
    answers = clean
    parts = AUTOATTACK if name == "autoattack" else (name,)
    for part in parts:
        for attempt in _tries(part, classify, options, classes_of(classify, images)):
            (standing,) = (answers == labels).nonzero(as_tuple=True)
            if not len(standing):
                return answers
            own = labels[standing]
            items = [names[row] for row in standing.tolist()]
            attacked = attempt(images[standing], own, items, epsilon=epsilon)
            answers = answers.index_copy(0, standing, classify(attacked, own[:, None]))
    return answers


def classes_of(classify: Answers, images: Tensor) -> int:
    """How many classes the network answers in."""
    return _logits(classify, images[:1]).shape[1]


def _tries(name: str, classify: Answers, options: RobustnessOptions, classes: int) -> Iterator[Try]:
    """The tries of one attack, in order."""
    restarts = range(options.attack_restarts)
    ranks = range(min(options.attack_targets, classes - 1))
    match name:
        case "apgd-ce":
            of_label = losses_of(options.attack_loss)

            def loss(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
                return of_label(logits, labels)

            for restart in restarts:
                yield partial(_apgd, classify, options, loss, _PURPOSES[name], restart)
        case "apgd-dlr":
            for restart in restarts:
                yield partial(_apgd, classify, options, dlr, _PURPOSES[name], restart)
        case "apgd-t":
            for rank in ranks:
                for restart in restarts:
                    number = rank * options.attack_restarts + restart
                    yield partial(
                        _apgd, classify, options, targeted_dlr, _PURPOSES[name], number, target_rank=rank
                    )
        case "fab-t":
            for rank in ranks:
                yield partial(_fab, classify, options, rank)
        case "square":
            yield partial(_square, classify, options)


def _apgd(
    classify: Answers,
    options: RobustnessOptions,
    loss: PerImageLoss,
    purpose: int,
    number: int,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    /,
    *,
    epsilon: float,
    target_rank: int | None = None,
) -> Tensor:
    starts = random_starts(images.shape[1:], item_seeds(names, number, options.attack_seed, purpose))
    return apgd(
        classify.model,
        images,
        labels,
        loss,
        epsilon=epsilon,
        steps=options.attack_steps,
        start=starts.to(images.device),
        targets=None if target_rank is None else _targets(classify, images, labels, target_rank),
        precision=classify.precision,
    )


def _fab(
    classify: Answers,
    options: RobustnessOptions,
    target_rank: int,
    images: Tensor,
    labels: Tensor,
    _names: Sequence[str],
    /,
    *,
    epsilon: float,
) -> Tensor:
    return fab(
        classify.model,
        images,
        labels,
        targets=_targets(classify, images, labels, target_rank),
        epsilon=epsilon,
        steps=options.attack_steps,
        precision=classify.precision,
    )


def _square(
    classify: Answers,
    options: RobustnessOptions,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    /,
    *,
    epsilon: float,
) -> Tensor:
    return square(
        partial(_logits, classify),
        images,
        labels,
        epsilon=epsilon,
        queries=options.square_queries,
        seeds=item_seeds(names, 0, options.attack_seed, _PURPOSES["square"]),
    )


def _targets(classify: Answers, images: Tensor, labels: Tensor, rank: int) -> Tensor:
    """The class (B,) that is ``rank`` places behind the first among those that are not the label."""
    others = _logits(classify, images).scatter(1, labels[:, None], -torch.inf)
    return others.topk(rank + 1, dim=1).indices[:, rank]


@torch.no_grad()
def _logits(classify: Answers, images: Tensor) -> Tensor:
    with autocast(images.device, classify.precision):
        return classify.model(images).float()
