"""PuzzleMix: cuts against every labelling, transports against the algorithm in loops, and the whole on a small network."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.training.network import Network
from eval_suite.training.regularizers._graph_cut import cut_grids
from eval_suite.training.regularizers._transport import pooled, transported
from eval_suite.training.regularizers.base import Context
from eval_suite.training.regularizers.puzzle import PuzzleMix

SIZE = 32


def cost(
    labels: NDArray[np.int64], unary: NDArray[np.int64], down: NDArray[np.int64], across: NDArray[np.int64]
) -> float:
    """Of one grid (b, b)."""
    steps = unary.shape[2] - 1
    total = float(np.take_along_axis(unary, labels[..., None], 2).sum())
    total += float((down * (labels[:-1] - labels[1:]) ** 2).sum()) / steps**2
    return total + float((across * (labels[:, :-1] - labels[:, 1:]) ** 2).sum()) / steps**2


@pytest.mark.parametrize("labels", [2, 3, 4])
def test_the_cut_costs_no_more_than_any_other_labelling(labels: int) -> None:
    random = np.random.default_rng(labels)
    unary = random.integers(0, 100, (6, 2, 2, labels))
    down, across = random.integers(0, 120, (6, 1, 2)), random.integers(0, 120, (6, 2, 1))
    found = cut_grids(unary, down, across)
    for i in range(6):
        least = min(
            cost(np.array(choice).reshape(2, 2), unary[i], down[i], across[i])
            for choice in itertools.product(range(labels), repeat=4)
        )
        assert cost(found[i], unary[i], down[i], across[i]) == pytest.approx(least)


def test_without_neighbours_each_cell_takes_its_cheapest_label() -> None:
    unary = np.random.default_rng(0).permutation(8 * 16 * 3).reshape(2, 8, 8, 3)
    none = np.zeros((2, 7, 8), int), np.zeros((2, 8, 7), int)
    assert np.array_equal(cut_grids(unary, *none), unary.argmin(3))


def test_endless_smoothness_gives_one_label() -> None:
    unary = np.random.default_rng(1).integers(0, 50, (3, 4, 4, 3))
    smooth = np.full((3, 3, 4), 10_000), np.full((3, 4, 3), 10_000)
    found = cut_grids(unary, *smooth).reshape(3, -1)
    assert (found == found[:, :1]).all()
    assert np.array_equal(found[:, 0], unary.sum((1, 2)).argmin(1))


def transported_in_loops(
    image: Tensor, shown: Tensor, saliency: Tensor, weight: float, fill: float
) -> Tensor:
    """The paper's algorithm 1 for one image (3, S, S), place by place."""
    p = shown.shape[-1]
    size = image.shape[-1] // p
    cells = list(itertools.product(range(p), repeat=2))
    costs = [
        [
            weight * ((i - k) ** 2 + (j - m) ** 2) / (p - 1) ** 2
            - float(saliency[i, j]) * float(shown[0, k, m] > 0)
            for k, m in cells
        ]
        for i, j in cells
    ]
    winners: dict[int, int] = {}
    for _ in range(p):
        wishes = [min(range(p * p), key=lambda place, row=row: row[place]) for row in costs]  # type: ignore[misc]
        winners = {}
        for patch, place in enumerate(wishes):
            if place not in winners or costs[patch][place] < costs[winners[place]][place]:
                winners[place] = patch
        for patch, place in enumerate(wishes):
            if winners[place] != patch:
                costs[patch][place] += 1
    result = torch.full_like(image, fill)
    for place, patch in winners.items():
        (i, j), (k, m) = cells[patch], cells[place]
        result[:, k * size : (k + 1) * size, m * size : (m + 1) * size] = image[
            :, i * size : (i + 1) * size, j * size : (j + 1) * size
        ]
    return result


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.8])
def test_patches_move_as_the_algorithm_says(weight: float) -> None:
    generator = Generator().manual_seed(0)
    images = torch.rand(5, 3, 16, 16, generator=generator)
    shown = (torch.rand(5, 1, 4, 4, generator=generator) > 0.5).float()
    saliency = pooled(torch.rand(5, 16, 16, generator=generator) ** 4, 4)
    moved = transported(images, shown, saliency, weight, torch.full((3,), 0.25))
    for i in range(5):
        expected = transported_in_loops(images[i], shown[i], saliency[i], weight, 0.25)
        assert torch.equal(moved[i], expected)


def test_patches_stay_where_moving_costs_more_than_it_gains() -> None:
    images, saliency = torch.rand(2, 3, 8, 8), torch.full((2, 2, 2), 0.25)
    shown = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]).expand(2, 1, 2, 2)
    assert torch.equal(transported(images, shown, saliency, 1.0, torch.zeros(3)), images)


def installed() -> Network:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    backbone = Backbone.wrap(net, input_size=(SIZE, SIZE), mean=(0.5,) * 3, std=(0.2, 0.3, 0.4)).train()
    network = Network(net, "small", (SIZE, SIZE), backbone)
    PuzzleMix().install(network)
    return network


def mix(mixer: PuzzleMix, network: Network, before: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    context = Context(Generator().manual_seed(seed), torch.full((3,), 0.5), network=network)
    return mixer.apply(before.clone(), torch.eye(4), context)


def test_without_priors_and_smoothness_each_cell_shows_the_more_salient_image() -> None:
    network = installed()
    before = torch.rand(4, 3, SIZE, SIZE, generator=Generator().manual_seed(0))
    mixer = PuzzleMix(beta=0, gamma=0, eta=0, labels=2, transport=False)
    leaf = ((before - 0.5) / torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)).requires_grad_()
    network.net.eval()
    F.cross_entropy(network.net(leaf), torch.arange(4)).backward()
    network.net.train()
    network.net.zero_grad()
    assert leaf.grad is not None
    saliency = leaf.grad.square().mean(1).sqrt()
    for seed in range(6):
        images, targets = mix(mixer, network, before, seed)
        partner = (targets - torch.eye(4) * targets.diagonal()[:, None]).argmax(1)
        for i in range(4):
            if targets[i, i] == 1:
                continue
            own = (images[i] == before[i]).all(0)
            cells = next(b for b in (2, 4, 8, 16) if _is_grid(own, b))
            ours, theirs = pooled(saliency[[i]], cells), pooled(saliency[[int(partner[i])]], cells)
            # Costs are cut off after the third digit of a cell's mean share.
            clear = (ours - theirs).abs()[0] > 2e-3 / cells**2
            grid = own[:: SIZE // cells, :: SIZE // cells]
            assert torch.equal(grid[clear], (ours > theirs)[0][clear])
            assert targets[i, i].item() == pytest.approx(own.double().mean().item(), abs=1e-6)


def _is_grid(mask: Tensor, cells: int) -> bool:
    coarse = mask[:: SIZE // cells, :: SIZE // cells]
    size = SIZE // cells
    return torch.equal(coarse.repeat_interleave(size, 0).repeat_interleave(size, 1), mask)


def test_targets_sum_to_one_and_the_network_stays_as_it_was() -> None:
    network = installed()
    before = torch.rand(4, 3, SIZE, SIZE)
    running = network.net[1].running_mean.clone()  # type: ignore[index]
    own = []
    for seed in range(30):
        images, targets = mix(PuzzleMix(), network, before, seed)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        assert images.min() >= 0
        assert images.max() <= 1
        own += targets.diagonal().tolist()
    assert 0.5 < np.mean(own) < 0.75  # the identity of four images is drawn in a quarter of the pairs
    assert torch.equal(network.net[1].running_mean, running)  # type: ignore[index, arg-type]
    assert all(parameter.grad is None for parameter in network.net.parameters())
    assert network.backbone is not None
    assert network.backbone.training


def test_the_prior_follows_lambda() -> None:
    network = installed()
    before = torch.rand(4, 3, SIZE, SIZE)
    shares = {}
    for lam in (0.02, 0.98):
        keep = PuzzleMix(eta=50.0)._shares(before, before.flip(0), (torch.ones(4, SIZE, SIZE),) * 2, 4, lam)
        shares[lam] = keep.mean().item()
    assert network.kept == {}
    assert shares[0.02] == pytest.approx(0.0, abs=1e-6)
    assert shares[0.98] == pytest.approx(1.0, abs=1e-6)


def test_images_that_the_grids_do_not_divide_are_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(InputError, match="square images"):
        PuzzleMix().install(Network(net, "small", (32, 48)))
    with pytest.raises(InputError, match="square images"):
        PuzzleMix().install(Network(net, "small", (40, 40)))
    with pytest.raises(InputError, match="transport_size"):
        PuzzleMix(transport_size=5).install(Network(net, "small", (32, 32)))
