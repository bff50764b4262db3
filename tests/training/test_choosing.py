"""`either`: each batch goes to one mixer, with the probabilities that are given."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Generator

from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers.base import Context
from eval_suite.training.regularizers.choosing import Either
from eval_suite.training.regularizers.mixing import CutMix, Mixup
from tests.training.mixtures import constant_images, context


def recipe(*regularizers: Any) -> Recipe:
    return Recipe.model_validate({"arch": "resnet20_cifar", "data": "d", "regularizers": regularizers})


def test_batches_go_to_the_mixers_with_their_probabilities() -> None:
    either = Either(of=[{"mixup": {"alpha": 1e4}}, {"cutmix": {"size": 4}}], probs=(0.3, 0.6 + 0.1))  # type: ignore[arg-type]
    generator, counts, n = Generator().manual_seed(0), {"mixup": 0, "cutmix": 0}, 1000
    for _ in range(n):
        images, _ = either.apply(constant_images(4, 8, 8), torch.eye(4), Context(generator, torch.zeros(3)))
        # A blend of two has a value of no image; a pasted box has none but theirs.
        blended = (images != images.round()).any()
        counts["mixup" if blended else "cutmix"] += 1
    # The identity, one of 24 permutations, looks like no blend.
    expected = 0.3 * 23 / 24
    assert counts["mixup"] / n == pytest.approx(expected, abs=5 * math.sqrt(0.3 * 0.7 / n))


@pytest.mark.parametrize(("probs", "mixer"), [((1.0, 0.0), Mixup(alpha=0.8)), ((0.0, 1.0), CutMix())])
def test_a_certain_choice_is_that_mixer(probs: tuple[float, float], mixer: Mixup | CutMix) -> None:
    before = torch.rand(6, 3, 8, 8, generator=Generator().manual_seed(1))
    for seed in range(5):
        mixed = Either(of=(Mixup(alpha=0.8), CutMix()), probs=probs).apply(  # type: ignore[arg-type]
            before.clone(), torch.eye(6), context(seed)
        )
        alone = context(seed)
        torch.rand(2, generator=alone.generator, dtype=torch.float64)  # whether to mix, and by which
        expected = mixer.apply(before.clone(), torch.eye(6), alone)
        assert torch.equal(mixed.images, expected.images)
        assert torch.equal(mixed.targets, expected.targets)


def test_the_overall_probability() -> None:
    images = constant_images(4, 8, 8)
    mixed = Either(prob=0.0).apply(images.clone(), torch.eye(4), context())
    assert torch.equal(mixed.images, images)


def test_a_recipe_holds_all_options_of_the_mixers_and_reads_them_again() -> None:
    short = recipe({"either": {"of": ["mixup", {"cutmix": {"alpha": 1}}]}})
    full = recipe({"either": {"of": [{"mixup": {"alpha": 1.0, "prob": 1.0}}, {"cutmix": {}}]}})
    assert short.digest() == full.digest()
    assert Recipe.model_validate(short.model_dump(mode="json")).digest() == short.digest()
    assert recipe({"either": {"of": [{"mixup": {"alpha": 0.5}}, "cutmix"]}}).digest() != short.digest()
    with pytest.raises(ValidationError):
        recipe("either", "cutmix")


def test_a_mixer_in_a_file_is_a_choice_and_its_content_counts(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    text = """
from dataclasses import dataclass
import eval_suite as es

@dataclass(frozen=True)
class Mine(es.Regularizer):
    name = "mine"
    stage = "mix"
    paper = es.Paper("Mine", "none", 2026, "https://example.org")

    def apply(self, images, targets, context):
        return es.Mixed(images * 0, targets)
"""
    path.write_text(text)
    chosen = recipe({"either": {"of": [f"{path}:Mine", "cutmix"], "probs": [1, 0]}})
    mixed = chosen.ordered_regularizers()[0].apply(torch.ones(2, 3, 4, 4), torch.eye(2), context())
    assert not mixed.images.any()
    before = chosen.digest()
    path.write_text(text + "# changed\n")
    assert chosen.digest() != before


@pytest.mark.parametrize(
    "options",
    [
        {"of": []},
        {"of": "mixup"},
        {"of": ["mixp"]},
        {"of": [{"mixup": {"alpha": -1}}]},
        {"of": [{"mixup": {}, "cutmix": {}}]},
        {"of": ["cutout"]},
        {"of": ["regmixup"]},
        {"of": [{"either": {}}]},
        {"of": ["mixup", "cutmix"], "probs": [1.0]},
        {"of": ["mixup", "cutmix"], "probs": [0.5, 0.4]},
    ],
)
def test_wrong_choices_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Either(**options)
