"""The moving average of the weights."""

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn

from eval_suite.training.averaging import WeightAverage


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def moved(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
        module.train()(torch.randn(8, 3))


def test_an_average_by_hand() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    average = WeightAverage(module, 0.75)
    for value in (5.0, 2.0):
        nn.init.constant_(module.weight, value)
        average.update()
    # 0.75 (0.75 * 1 + 0.25 * 5) + 0.25 * 2
    assert average.values["weight"].item() == pytest.approx(2.0)


def test_an_average_is_timms() -> None:
    module = net()
    average, reference = WeightAverage(module, 0.9), ModelEmaV3(module, decay=0.9)
    for _ in range(5):
        moved(module)
        average.update()
        reference.update(module)
    for name, value in reference.module.state_dict().items():
        torch.testing.assert_close(average.values[name].to(value.dtype), value, msg=name)


def test_the_own_values_come_back() -> None:
    module = net()
    average = WeightAverage(module, 0.9)
    moved(module)
    average.update()
    own = {name: value.clone() for name, value in module.state_dict().items()}
    with average.applied():
        assert torch.equal(module.state_dict()["0.weight"], average.values["0.weight"])
    assert all(torch.equal(value, own[name]) for name, value in module.state_dict().items())
    assert not torch.equal(average.values["0.weight"], own["0.weight"])
