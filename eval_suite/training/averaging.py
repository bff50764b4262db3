"""The exponential moving average of the weights while they train."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """An average of a module's parameters and buffers: a <- decay a + (1 - decay) w after every step.

    What is not floating point, such as counts, is copied. The average starts at the module's values and, with a decay near
    1, keeps decay^steps of them. As timm's ModelEmaV3 without warm-up; a dictionary rather than a copied module, since
    hooks and replaced methods of a network do not survive copying.

    Args:
        module: whose values are averaged, where it computes.
        decay: in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self._average_in_place = get_ema_multi_avg_fn(decay)
        self.values: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in module.state_dict().items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present values in."""
        now = self._module.state_dict()
        floating = [name for name, value in now.items() if value.is_floating_point()]
        self._average_in_place([self.values[name] for name in floating], [now[name] for name in floating], 0)
        for name, value in now.items():
            if not value.is_floating_point():
                self.values[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the averages, and its own values back afterwards."""
        own = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self.values)
        try:
            yield
        finally:
            self._module.load_state_dict(own)

    def load(self, values: dict[str, Tensor]) -> None:
        """Continue from saved ``values``, on any device."""
        for name, value in values.items():
            self.values[name].copy_(value)
