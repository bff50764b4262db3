"""Statistics over parts of a batch, and steps of several passes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training.batch_norm import GroupedBatchNorm, require_varying_values, synchronise
from eval_suite.training.loop import train
from eval_suite.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
CPU = RuntimeOptions(device="cpu", workers=0, threads=1)


def losses(recipe: Recipe, folder: Path) -> list[float]:
    card = train(recipe, name="net", seed=0, folder=folder, runtime=CPU).card
    assert card.training is not None
    return [row["train_loss"] for row in card.training["history"]]


def test_each_part_is_normalised_for_itself_and_the_first_one_is_followed() -> None:
    torch.manual_seed(0)
    x, net = torch.randn(8, 3, 4, 4) * torch.arange(1.0, 9).view(8, 1, 1, 1), nn.Sequential(nn.BatchNorm2d(3))
    plain = nn.BatchNorm2d(3)
    by_hand = torch.cat([nn.BatchNorm2d(3)(part) for part in x.chunk(4)])
    GroupedBatchNorm(net, 4)
    torch.testing.assert_close(net(x), by_hand)
    plain(x[:2])
    assert isinstance(net[0].running_mean, torch.Tensor)
    torch.testing.assert_close(net[0].running_mean, plain.running_mean)
    torch.testing.assert_close(net[0].running_var, plain.running_var)
    assert net[0].momentum == 0.1
    assert list(net.state_dict()) == [f"0.{key}" for key in plain.state_dict()]
    torch.testing.assert_close(net.eval()(x), plain.eval()(x))


def test_frozen_statistics_stay() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3))
    norms = GroupedBatchNorm(net, 1)
    with norms.frozen():
        net(torch.randn(4, 3, 2, 2))
    assert not net[0].running_mean.any()  # type: ignore[union-attr,operator]
    assert net[0].momentum == 0.1


@pytest.mark.parametrize(
    "regularizers", [["cutout", "cutmix"], [{"stochastic-depth": {"rate": 0.5, "decay": "uniform"}}]], ids=str
)
def test_passes_of_a_step_are_the_step_in_groups(
    tiny_recipe: MakeRecipe, tmp_path: Path, regularizers: list[object]
) -> None:
    chosen = {"batch_norm_groups": 4, "epochs": 2, "regularizers": regularizers}
    whole = losses(tiny_recipe(**chosen), tmp_path / "whole")
    for passes in (2, 4):
        assert losses(tiny_recipe(**chosen, accumulate=passes), tmp_path / str(passes)) == pytest.approx(
            whole, rel=1e-5
        )
    plain = losses(tiny_recipe(**{**chosen, "batch_norm_groups": None}), tmp_path / "plain")
    assert plain != pytest.approx(whole, rel=1e-4)
    assert (
        losses(tiny_recipe(**{**chosen, "batch_norm_groups": None}, accumulate=2), tmp_path / "loose")
        != whole
    )


def test_synchronised_statistics_need_gpus() -> None:
    with pytest.raises(InputError, match="batch_norm_groups: 1 over several processes needs GPUs"):
        synchronise(nn.BatchNorm2d(3), torch.device("cpu"))
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    keys = list(net.state_dict())
    synchronise(net, torch.device("cuda"))
    assert isinstance(net[1], nn.SyncBatchNorm)
    assert list(net.state_dict()) == keys


def test_a_norm_with_a_single_value_is_named_before_the_first_step() -> None:
    ends_in_one_place = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    require_varying_values(ends_in_one_place, 2, (16, 16))
    require_varying_values(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 1, (16, 16))
    with pytest.raises(InputError) as caught:
        require_varying_values(ends_in_one_place, 1, (16, 16))
    assert caught.value.expected.endswith("BatchNorm '2'")
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ends_in_one_place.train()(torch.zeros(1, 3, 16, 16))
