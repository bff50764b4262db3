"""Networks whose tensors hold no numbers, or impossible ones, are refused, not filled with chance."""

import math

import pytest
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError


@pytest.mark.parametrize("last", [nn.LazyLinear(10), nn.Linear(4, 10, device="meta")])
def test_parameters_without_values_are_refused(last: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    with pytest.raises(InputError) as refused:
        Backbone.wrap(net, input_size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    assert "'3.weight'" in refused.value.found


@pytest.mark.parametrize("value", [math.inf, -1.0, math.nan])
def test_variances_that_are_none_are_refused(value: float) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    net[1].running_var[2] = value
    with pytest.raises(InputError) as refused:
        Backbone.wrap(net, input_size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    assert "'1.running_var'" in refused.value.found


def test_statistics_without_values_are_refused() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.LazyBatchNorm2d(affine=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )
    with pytest.raises(InputError) as refused:
        Backbone.wrap(net, input_size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    assert "'1.running_mean'" in refused.value.found
