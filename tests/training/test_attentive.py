"""Attentive CutMix: the brightest cells of the partner, as a network whose map is the mean colour sees them."""

from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.training.network import Network
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers.attentive import AttentiveCutMix
from eval_suite.training.regularizers.base import Context
from eval_suite.training.regularizers.draws import permutation, uniform

FACTORY = """
from torch import nn

def make():
    return nn.Sequential(nn.AvgPool2d({cell}), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
"""


def installed(mixer: AttentiveCutMix, size: tuple[int, int] = (16, 16)) -> Network:
    net = nn.Sequential(
        nn.AvgPool2d(4), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    backbone = Backbone.wrap(net, input_size=size, mean=(0.5,) * 3, std=(0.5,) * 3).train()
    network = Network(net, "small", size, backbone)
    mixer.install(network)
    return network


def by_hand(before: Tensor, order: Tensor, top_k: int, cell: int) -> tuple[Tensor, float]:
    """The mixture, and the weight of the own label."""
    expected, side = before.clone(), before.shape[-1] // cell
    for i, partner in enumerate(order.tolist()):
        means = before[partner].mean(0).unflatten(0, (side, cell)).unflatten(2, (side, cell)).mean((1, 3))
        for at in means.flatten().topk(top_k).indices.tolist():
            rows = slice(at // side * cell, at // side * cell + cell)
            columns = slice(at % side * cell, at % side * cell + cell)
            expected[i, :, rows, columns] = before[partner, :, rows, columns]
    return expected, 1 - top_k / side**2


@pytest.mark.parametrize("from_file", [False, True])
def test_the_cells_with_the_largest_mean_are_pasted_and_weighed_by_area(
    from_file: bool, tmp_path: Path
) -> None:
    before = torch.rand(5, 3, 16, 16, generator=Generator().manual_seed(0))
    path = tmp_path / "mine.py"
    path.write_text(FACTORY.format(cell=4))
    mixer = AttentiveCutMix(top_k=3, extractor=f"{path}:make" if from_file else None, layer="0")
    network = installed(mixer)
    running = network.net[1].running_mean.clone()  # type: ignore[index]
    for seed in range(4):
        images, targets = mixer.apply(
            before.clone(),
            torch.eye(5),
            Context(Generator().manual_seed(seed), torch.zeros(3), network=network),
        )
        generator = Generator().manual_seed(seed)
        uniform(generator)
        order = permutation(5, generator)
        expected, weight = by_hand(before, order, 3, 4)
        torch.testing.assert_close(images, expected)
        torch.testing.assert_close(targets, torch.eye(5) * weight + torch.eye(5)[order] * (1 - weight))
    # The pass is one of evaluation: the network in training stays as it was.
    assert torch.equal(network.net[1].running_mean, running)  # type: ignore[index, arg-type]
    assert network.backbone is not None
    assert network.backbone.training


def test_a_map_of_too_few_cells_is_refused() -> None:
    with pytest.raises(InputError, match="top_k"):
        installed(AttentiveCutMix(top_k=16, extractor=None, layer="0"))
    with pytest.raises(InputError):
        installed(AttentiveCutMix(extractor=None, layer="nowhere"))


def test_the_extractors_file_counts_in_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FACTORY.format(cell=4))
    options = {"extractor": f"{path}:make"}
    recipe = Recipe.model_validate(
        {"arch": "a", "data": "d", "regularizers": [{"attentive-cutmix": options}]}
    )
    before = recipe.digest()
    path.write_text(FACTORY.format(cell=8))
    assert recipe.digest() != before


def test_it_needs_the_network() -> None:
    with pytest.raises(InputError):
        AttentiveCutMix()(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), num_classes=2, generator=Generator())
