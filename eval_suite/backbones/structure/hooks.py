"""Looking at a network while it runs: what its layers give, in the order in which they finish."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from eval_suite.backbones.structure.layout import map_of

See = Callable[[str, nn.Module, tuple[object, ...], object], None]
"""Receives a layer's dotted name, the layer, its inputs and its output."""


@contextmanager
def watching(net: nn.Module, see: See, names: Iterable[str] | None = None) -> Iterator[None]:
    """Have every layer of a network, or those named, seen each time it finishes inside.

    Args:
        net: the network.
        see: called for each layer.
        names: dotted names of layers; by default all but the network itself.
    """

    def hook(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        return lambda module, inputs, output: see(name, module, inputs, output)

    chosen = (name for name, _ in net.named_modules() if name) if names is None else dict.fromkeys(names)
    handles = [net.get_submodule(name).register_forward_hook(hook(name)) for name in chosen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def outputs_of(net: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect what layers give while the network runs inside, by their names; maps are (N, C, h, w) also where a layer
    gives its channels last, or tokens of patches. Empty before.
    """
    kept: dict[str, Tensor] = {}
    image_size = (0, 0)

    def look(_net: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal image_size
        image_size = (inputs[0].shape[2], inputs[0].shape[3])

    def keep(name: str, _layer: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        assert isinstance(output, Tensor)
        as_map = map_of(output, image_size, net)
        kept[name] = output if as_map is None else as_map

    handle = net.register_forward_pre_hook(look)
    try:
        with watching(net, keep, names):
            yield kept
    finally:
        handle.remove()


@contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """A network in evaluation mode and without gradients inside, as it was afterwards."""
    training = net.training
    try:
        with torch.no_grad():
            yield net.eval()
    finally:
        net.train(training)
