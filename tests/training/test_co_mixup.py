"""Co-Mixup: swaps against every reassignment, the choice by hand, and labels that are what the cells show."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from eval_suite.core.errors import InputError
from eval_suite.training.objective import softmax_bce
from eval_suite.training.regularizers import Context, Shard
from eval_suite.training.regularizers._joint_mix import choose_together
from eval_suite.training.regularizers._label_swap import swap_labels
from eval_suite.training.regularizers.co_mixup import CoMixup
from tests.training.every import SIDE, installed

Whole = NDArray[np.int64]


def energy(labels: Whole, unary: Whole, differ: Whole) -> int:
    """Of labels (b, b)."""
    total = np.take_along_axis(unary, labels[..., None], 2).sum()
    return int(total + differ[labels[:-1], labels[1:]].sum() + differ[labels[:, :-1], labels[:, 1:]].sum())


def grid(seed: int, labels: int) -> tuple[Whole, Whole]:
    random = np.random.default_rng(seed)
    differ = np.triu(random.integers(0, 25, (labels, labels)), 1)
    return random.integers(0, 100, (3, 3, labels)), differ + differ.T


@pytest.mark.parametrize("seed", range(6))
def test_two_labels_are_the_cheapest_of_all(seed: int) -> None:
    unary, differ = grid(seed, 2)
    least = min(
        energy(np.array(choice).reshape(3, 3), unary, differ)
        for choice in itertools.product((0, 1), repeat=9)
    )
    assert energy(swap_labels(unary, differ), unary, differ) == least


@pytest.mark.parametrize("seed", range(6))
def test_no_swap_of_two_labels_is_cheaper(seed: int) -> None:
    unary, differ = grid(seed, 4)
    found = swap_labels(unary, differ)
    assert len(np.unique(found)) > 1
    least = energy(found, unary, differ)
    for pair in itertools.combinations(range(4), 2):
        there = np.isin(found, pair)
        for choice in itertools.product(pair, repeat=int(there.sum())):
            other = found.copy()
            other[there] = choice
            assert energy(other, unary, differ) >= least


def test_a_tie_goes_to_the_lower_label() -> None:
    assert not swap_labels(np.zeros((2, 2, 3), np.int64), np.zeros((3, 3), np.int64)).any()


SETTINGS = {"beta": 0.0, "gamma": 0.0, "threshold": 0.0, "rounds": 1}


def test_without_neighbours_and_others_each_cell_shows_its_most_salient_image() -> None:
    cost = -np.random.default_rng(0).random((5, 4, 4))
    start = np.random.default_rng(1).integers(0, 5, (3, 4, 4))
    shares = choose_together(cost, np.eye(5), start, **SETTINGS)  # type: ignore[arg-type]
    assert shares.shape == (3, 5, 4, 4)
    assert np.array_equal(shares, np.broadcast_to(np.eye(5)[cost.argmin(0)].transpose(2, 0, 1), shares.shape))


def test_what_other_mixtures_show_is_left_to_them() -> None:
    # Image 0 is a little more salient everywhere: alone, both mixtures would show nothing else.
    cost = -np.stack([np.full((2, 2), 0.26), np.full((2, 2), 0.25)])
    start = np.zeros((2, 2, 2), np.int64)
    alone = choose_together(cost, np.eye(2), start, **SETTINGS)  # type: ignore[arg-type]
    assert (alone[:, 0] == 1).all()
    apart = choose_together(cost, np.eye(2), start, **{**SETTINGS, "gamma": 0.25})  # type: ignore[arg-type]
    # The first leaves image 0 to the second, which then keeps it.
    assert (apart[0, 1] == 1).all()
    assert (apart[1, 0] == 1).all()
    late = choose_together(cost, np.eye(2), start, **{**SETTINGS, "gamma": 0.25, "threshold": 4.0})  # type: ignore[arg-type]
    assert (late[:, 0] == 1).all()


def test_halves_of_two_images_and_mixtures_of_the_same_ones_pushed_apart() -> None:
    # Two images that cost the same: from the second round on their half is cheaper by a hair.
    cost, start = -np.full((2, 2, 2), 0.25), np.ones((1, 2, 2), np.int64)
    cost[0, 0, 0] -= 0.1
    cost[1, 1, 1] -= 0.1
    first = choose_together(cost, np.eye(2), start, **SETTINGS)  # type: ignore[arg-type]
    assert set(np.unique(first)) == {0.0, 1.0}
    second = choose_together(cost, np.eye(2), start, **{**SETTINGS, "rounds": 2})  # type: ignore[arg-type]
    assert second[0, :, 0, 0].tolist() == [1, 0]
    assert second[0, :, 0, 1].tolist() == [0.5, 0.5]
    assert second[0, :, 1, 1].tolist() == [0, 1]


def of_fixed_saliency(monkeypatch: pytest.MonkeyPatch, n: int) -> Tensor:
    saliency = torch.rand(n, SIDE, SIDE, generator=Generator().manual_seed(3)) ** 4
    monkeypatch.setattr(
        "eval_suite.training.regularizers._saliency.gradient_saliency", lambda *_: saliency.clone()
    )
    return saliency


@pytest.mark.parametrize("part", [3, 4, 20])
def test_labels_are_what_the_cells_show(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 7
    of_fixed_saliency(monkeypatch, n)
    mixer = CoMixup(part=part, beta=0.1)
    seen = []
    for white in range(n):
        images = torch.zeros(n, 3, SIDE, SIDE)
        images[white] = 1
        views, targets = mixer.apply(
            images, torch.eye(n), Context(Generator().manual_seed(1), torch.zeros(3))
        )
        assert torch.equal(views[::2], images)
        assert torch.equal(targets[::2], torch.eye(n))
        seen.append(views[1::2].mean((1, 2, 3)))
    shown = torch.stack(seen, 1)
    torch.testing.assert_close(shown, targets[1::2])
    assert ((shown > 0).sum(1) > 1).sum() >= 3
    # Images are mixed within their part alone.
    parts = torch.arange(n) // part
    assert not shown[parts[:, None] != parts[None, :]].any()


def test_the_shares_are_those_of_the_parts_saliency(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 4
    saliency = of_fixed_saliency(monkeypatch, n)
    mixer = CoMixup(beta=0.0, gamma=0.0, eta=0.0, rounds=1)
    _, targets = mixer.apply(torch.rand(n, 3, SIDE, SIDE), torch.eye(n), Context(Generator(), torch.zeros(3)))
    cells = F.avg_pool2d(saliency[:, None], SIDE // 4)[:, 0]
    best = (cells / cells.sum((1, 2), keepdim=True)).argmax(0)
    expected = F.one_hot(best, n).float().mean((0, 1))
    torch.testing.assert_close(targets[1::2], expected.expand(n, n))


def test_a_process_makes_its_part_of_what_one_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 8
    saliency = of_fixed_saliency(monkeypatch, n)
    images = torch.rand(n, 3, SIDE, SIDE)
    mixer = CoMixup(part=3)
    whole = mixer.apply(images, torch.eye(n), Context(Generator().manual_seed(2), torch.zeros(3)))
    monkeypatch.setattr(
        Shard,
        "everywhere",
        lambda _, rows: {3: saliency, 4: images, 2: torch.eye(n)}[rows.ndim],
    )
    halves = []
    for rank in (0, 1):
        mine = slice(4 * rank, 4 * rank + 4)
        step = Context(Generator().manual_seed(2), torch.zeros(3), share=Shard(rank, 2))
        halves.append(mixer.apply(images[mine], torch.eye(n)[mine], step))
    assert torch.equal(torch.cat([half.images for half in halves]), whole.images)
    assert torch.equal(torch.cat([half.targets for half in halves]), whole.targets)


def test_the_loss_is_that_of_mixtures_and_images() -> None:
    logits = torch.randn(8, 5, generator=Generator().manual_seed(0))
    targets = torch.rand(8, 5, generator=Generator().manual_seed(1)).softmax(1)
    clean, mixed = F.cross_entropy(logits[::2], targets[::2]), F.cross_entropy(logits[1::2], targets[1::2])
    torch.testing.assert_close(CoMixup(clean=0.5).criterion(None)(logits, targets), mixed + 0.5 * clean)
    authors = F.binary_cross_entropy(logits[1::2].softmax(1), targets[1::2]) + 2 * clean / 5
    torch.testing.assert_close(CoMixup(loss="bce").criterion(None)(logits, targets), authors)
    torch.testing.assert_close(softmax_bce(logits[1::2], targets[1::2]) + 2 * clean / 5, authors)


def test_images_that_a_grid_does_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of 5"):
        installed(CoMixup(grid=5), 3)
