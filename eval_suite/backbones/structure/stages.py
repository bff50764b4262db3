"""Where a network can be cut: its parts in the order they run, with the stride of what each puts out."""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from eval_suite.backbones.structure.hooks import evaluating, watching
from eval_suite.backbones.structure.sizes import find_sizing
from eval_suite.core.errors import InputError

_PROBE_SIDE = 256


class Part(NamedTuple):
    """A module that takes and gives one feature map: its dotted name, output stride and channels.

    ``joined`` tells that its input is the very tensor the part before it gave: nothing happens in between.
    """

    name: str
    stride: int
    channels: int
    joined: bool


class _Call(NamedTuple):
    name: str
    leaf: bool
    given: Tensor
    output: Tensor


def residual_stages(net: nn.Module) -> list[str]:
    """Names of the stages ``layer1``, ``layer2``, ... of a residual network, in order; empty for any other."""
    return [
        name
        for name, child in net.named_children()
        if re.fullmatch(r"layer\d+", name) and any(True for _ in child.children())
    ]


def parts_of(net: nn.Module, last: str) -> list[Part]:
    """The parts of a network from the image to its last feature map.

    A module that shrinks its input by more than two is opened and its children are looked at instead, so that every
    stage, block or layer stands for itself and a residual block is never cut in two.

    Args:
        net: network taking (1, 3, H, W).
        last: dotted name of the layer that gives the last feature map.

    Raises:
        InputError: if the network gives no maps of height and width.
    """
    calls: list[_Call] = []
    device = next((parameter.device for parameter in net.parameters()), None)

    def see(name: str, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor) and inputs and isinstance(inputs[0], Tensor):
            calls.append(_Call(name, not any(True for _ in module.children()), inputs[0], output))

    try:
        with evaluating(net), watching(net, see):
            net(torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE, device=device))
    except Exception as error:
        raise InputError(
            f"the network takes no {_PROBE_SIDE}x{_PROBE_SIDE} image ({error}); detectors need one that takes any size"
        ) from error
    called = {call.name: call for call in calls}
    chosen = [call for call in calls if _is_part(call, called)]
    ends = [i for i, call in enumerate(chosen) if _within(last, call.name) or _within(call.name, last)]
    chosen = [call for call in chosen[: max(ends, default=-1) + 1] if not _pools_to_a_size(net, call.name)]
    if not chosen:
        raise InputError("the network gives no feature maps of height and width that a detector could use")
    found, before = [], None
    for call in chosen:
        # To the nearest power of two: convolutions without padding give slightly smaller maps.
        stride = 2 ** round(math.log2(_PROBE_SIDE / call.output.shape[-1]))
        found.append(
            Part(call.name, stride, call.output.shape[1], before is not None and call.given is before)
        )
        before = call.output
    return found


def ends_of_stages(parts: list[Part]) -> list[Part]:
    """The last part at each stride, finest first."""
    ends: dict[int, Part] = {}
    for part in parts:
        ends[part.stride] = part
    return [ends[stride] for stride in sorted(ends)]


class Cut(nn.Module):
    """What a part of a network taken into a detector shares: it may be kept from learning.

    Args:
        frozen_norm: batch normalisation keeps its statistics, and its weights do not learn.
    """

    def __init__(self, *, frozen_norm: bool) -> None:
        super().__init__()
        self.frozen_norm = frozen_norm

    def freeze_norm(self) -> None:
        """Keep the weights of batch normalisation from learning, where they are to be kept."""
        if self.frozen_norm:
            for layer in _norms(self):
                layer.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen batch normalisation stays in evaluation mode."""
        super().train(mode)
        if self.frozen_norm:
            for layer in _norms(self):
                layer.eval()
        return self


class Trunk(Cut):
    """The first parts of a network, giving the feature maps of some of them.

    Where the network takes only images whose sides are multiples of a number, images are padded to these and the maps
    cropped; ``sizing`` is None where it takes no others than its own.

    Args:
        net: the network; what does not run before the last tap is taken out of it.
        parts: its parts.
        taps: names of the parts whose output to give, in the order they run.
        frozen_norm: batch normalisation keeps its statistics, and its weights do not learn.
        frozen_stride: parts up to this output stride do not learn; 0 for none.
    """

    def __init__(
        self, net: nn.Module, parts: list[Part], taps: list[str], *, frozen_norm: bool, frozen_stride: int = 0
    ) -> None:
        super().__init__(frozen_norm=frozen_norm)
        self.net = net
        self._taps = taps
        self._strides = [next(part.stride for part in parts if part.name == name) for name in taps]
        self._maps: dict[str, Tensor] = {}
        for name in taps:
            net.get_submodule(name).register_forward_hook(self._keep(name))
        self._drop_unused()
        self.sizing = find_sizing(self._run, (_PROBE_SIDE, _PROBE_SIDE))
        self.freeze_norm()
        for part in parts[: [part.name for part in parts].index(taps[-1]) + 1]:
            if part.stride <= frozen_stride:
                net.get_submodule(part.name).requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps (N, C, h, w), one for each tap, of normalised images (N, 3, H, W)."""
        if self.sizing is None or self.sizing.unit == (1, 1):
            return self._run(images)
        height, width = images.shape[-2:]
        return tuple(
            map_[..., : -(-height // stride), : -(-width // stride)]
            for map_, stride in zip(self._run(self.sizing.pad(images)), self._strides, strict=True)
        )

    def _run(self, images: Tensor) -> tuple[Tensor, ...]:
        self._maps.clear()
        with suppress(_ReachedError):
            self.net(images)
        maps = tuple(self._maps[name] for name in self._taps)
        self._maps.clear()
        return maps

    def _keep(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._maps[name] = output
            # Not the coarsest alone: a network may fuse a finer map from it afterwards.
            if len(self._maps) == len(self._taps):
                raise _ReachedError

        return hook

    @torch.no_grad()
    def _drop_unused(self) -> None:
        """Put nothing in the place of layers that no image passes on its way to the last tap."""
        used: set[nn.Module] = set()
        handles = [
            module.register_forward_pre_hook(lambda own, _inputs: used.add(own))
            for module in self.net.modules()
        ]
        self.eval()._run(torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE))  # noqa: SLF001 - of its own class
        for handle in handles:
            handle.remove()
        idle = [
            name for name, module in self.net.named_modules() if name and used.isdisjoint(module.modules())
        ]
        for name in idle:
            if name.rpartition(".")[0] not in idle:
                self.net.set_submodule(name, nn.Identity())


class _ReachedError(Exception):
    """Ends a forward pass where all wanted maps are there; any network can be cut so, whatever its code."""


class Tail(Cut):
    """What a network does to the output of one part, up to its last feature map.

    Args:
        net: the network.
        parts: its parts.
        after: name of the part whose output this takes.
        frozen_norm: batch normalisation keeps its statistics, and its weights do not learn.

    Raises:
        InputError: if something other than modules one after the other happens in between.
    """

    def __init__(self, net: nn.Module, parts: list[Part], after: str, *, frozen_norm: bool) -> None:
        super().__init__(frozen_norm=frozen_norm)
        rest = parts[[part.name for part in parts].index(after) + 1 :]
        loose = next((f"before '{part.name}'" for part in rest if not part.joined), None)
        if loose is not None or not rest:
            raise InputError(
                "the network's code does more than pass a feature map from part to part "
                f"({loose or f'none runs after {after}'}), so its last "
                "stage cannot run on regions by itself; choose the detector faster-rcnn-fpn"
            )
        self.names = {part.name.replace(".", "_"): part.name for part in rest}
        named = ((part.name.replace(".", "_"), net.get_submodule(part.name)) for part in rest)
        self.parts = nn.Sequential(OrderedDict(named))
        self.freeze_norm()

    def forward(self, maps: Tensor) -> Tensor:
        """The last feature map (R, C, h', w') of maps (R, C, h, w), such as those cut out for regions."""
        out: Tensor = self.parts(maps)
        return out


def _is_part(call: _Call, called: dict[str, _Call]) -> bool:
    """Whether a module stands for itself: a map to a map, not inside such a module, and not too much at once."""
    if not _fits(call):
        return False
    above = call.name.split(".")[:-1]
    return not any(
        ".".join(above[:depth]) in called and _fits(called[".".join(above[:depth])])
        for depth in range(1, len(above) + 1)
    )


def _fits(call: _Call) -> bool:
    given, output = call.given.shape, call.output.shape
    if len(given) != 4 or len(output) != 4 or output[2] != output[3] or output[2] < 2:
        return False
    # A single layer may shrink more, as the stem of a ConvNeXt does; it has no part to be opened.
    return call.leaf or given[2] <= 2 * output[2] + 3  # without padding a little more than half is lost


def _pools_to_a_size(net: nn.Module, name: str) -> bool:
    """Whether a layer's output has one size whatever its input's, as the pooling before a classifier's layers."""
    return isinstance(net.get_submodule(name), nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)


def _norms(module: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm))  # noqa: SLF001 - of its own class


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")
