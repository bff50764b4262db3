"""Hide-and-Seek against a loop over patches, and its share of hidden pixels."""

import pytest
import torch
from torch import Generator, Tensor

from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Context, HideAndSeek

FILL = (0.25, 0.5, 0.75)


def context(seed: int) -> Context:
    return Context(Generator().manual_seed(seed), torch.tensor(FILL))


def hidden(regularizer: HideAndSeek, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """(N, H, W) whether a pixel of all-white images was hidden."""
    n, height, width = shape
    found = regularizer.apply(torch.ones(n, 3, height, width), torch.eye(n), context(seed))
    assert torch.equal(found.targets, torch.eye(n))
    mask = found.images[:, 0] != 1
    expected = torch.where(mask[:, None], torch.tensor(FILL).view(1, 3, 1, 1), torch.ones(()))
    assert torch.equal(found.images, expected)
    return mask


def test_each_tile_is_hidden_or_shown_as_a_whole_also_at_the_border() -> None:
    mask = hidden(HideAndSeek(sizes=(4,)), (40, 10, 7))
    tiles = [[mask[:, y : y + 4, x : x + 4].flatten(1) for x in (0, 4)] for y in (0, 4, 8)]
    states = torch.stack([torch.stack([tile.float().mean(1) for tile in row]) for row in tiles])
    assert set(states.unique().tolist()) == {0.0, 1.0}
    assert 0.35 < states.mean() < 0.65
    flat = states.flatten(0, 1)
    assert not any(torch.equal(flat[i], flat[j]) for i in range(6) for j in range(i))


def test_sizes_are_drawn_per_image_and_zero_hides_nothing() -> None:
    mask = hidden(HideAndSeek(sizes=(0, 8), prob=1.0), (200, 16, 16))
    whole = mask.flatten(1).float().mean(1)
    assert set(whole.tolist()) == {0.0, 1.0}
    assert 70 < whole.sum() < 130


@pytest.mark.parametrize(("prob", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_certain_probabilities(prob: float, share: float) -> None:
    assert hidden(HideAndSeek(sizes=(5,), prob=prob), (3, 12, 12)).float().mean() == share


def test_the_hidden_share_is_the_probability() -> None:
    mask = hidden(HideAndSeek(sizes=(4,), prob=0.3), (200, 32, 32))
    assert abs(mask.float().mean().item() - 0.3) < 4 * (0.3 * 0.7 / (200 * 64)) ** 0.5


def test_a_recipe_can_name_it() -> None:
    recipe = Recipe.model_validate(
        {"arch": "a", "data": "d", "regularizers": [{"has": {"sizes": [8]}}, "cutmix"]}
    )
    assert [regularizer.name for regularizer in recipe.ordered_regularizers()] == ["has", "cutmix"]
    again = Recipe.model_validate(recipe.model_dump(mode="json"))
    assert again.digest() == recipe.digest()
