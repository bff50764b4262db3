"""Learning rates over a training, against timm's schedules."""

from typing import Any

import pytest
import torch
from timm.scheduler import CosineLRScheduler

from eval_suite.training.recipe import Recipe


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(
        {"arch": "resnet20_cifar", "data": "cifar10:x", "schedule": "cosine", **changes}
    )


def of_timm(chosen: Recipe, place: float) -> float:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=chosen.lr)
    warm = chosen.warmup_epochs
    scheduler = CosineLRScheduler(
        optimizer,
        t_initial=int(chosen.epochs - (warm if chosen.warmup_prefix else 0)),
        lr_min=chosen.min_lr,
        warmup_t=int(warm),
        warmup_lr_init=chosen.warmup_lr,
        warmup_prefix=chosen.warmup_prefix,
    )
    scheduler.step(place)  # type: ignore[arg-type]
    rate: float = optimizer.param_groups[0]["lr"]
    return rate


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("by", ["epoch", "step"])
def test_a_cosine_is_timms(prefix: bool, by: str) -> None:
    chosen = recipe(
        epochs=12,
        lr=0.4,
        min_lr=0.01,
        warmup_epochs=3,
        warmup_lr=0.02,
        warmup_prefix=prefix,
        schedule_by=by,
    )
    for place in (0, 0.5, 1, 2.25, 3, 3.75, 6, 11, 11.9):
        at = place if by == "step" else int(place)
        assert chosen.learning_rate(place) == pytest.approx(of_timm(chosen, at), rel=1e-12)


def test_a_cosine_by_hand() -> None:
    chosen = recipe(epochs=4, lr=1.0, min_lr=0.2, schedule_by="step")
    assert [chosen.learning_rate(place) for place in (0, 2, 4)] == pytest.approx([1.0, 0.6, 0.2])


def test_a_warm_up_comes_before_milestones_too() -> None:
    chosen = recipe(schedule="milestones", epochs=8, lr=1.0, warmup_epochs=2, warmup_lr=0.5)
    rates = [chosen.learning_rate(epoch) for epoch in range(8)]
    assert rates == pytest.approx([0.5, 0.75, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_rate_by_epoch_stays_within_it() -> None:
    chosen = recipe(epochs=4, lr=1.0)
    assert chosen.learning_rate(1.99) == chosen.learning_rate(1) != chosen.learning_rate(2)
