"""Networks whose parameters hold no numbers are refused, not filled with chance."""

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
