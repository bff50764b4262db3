"""Over which images BatchNorm takes its statistics: those of a process, of a part of them, or of all processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from eval_suite.backbones.structure.hooks import evaluating, watching
from eval_suite.core.errors import InputError

_Norm = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - the base of all batch normalisations has no public name


def synchronise(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with statistics over the batch of all processes, under the same keys.

    Raises:
        InputError: on a CPU, where torch has none.
    """
    if device.type != "cuda":
        raise InputError(
            "batch_norm_groups: 1 over several processes needs GPUs, torch synchronises BatchNorm on nothing else; "
            "give a multiple of the number of processes, or leave it out"
        )
    from timm.layers import convert_sync_batchnorm

    converted: nn.Module = convert_sync_batchnorm(module)
    return converted


def require_varying_values(net: nn.Module, images: int, input_size: tuple[int, int]) -> None:
    """Check before the first step that no BatchNorm takes its statistics over a single value, which torch refuses.

    Args:
        net: takes normalised images (N, 3, H, W).
        images: that statistics are taken over.
        input_size: (H, W) of the images.

    Raises:
        InputError: if one does.
    """
    if images > 1:
        return
    lonely: list[str] = []

    def see(name: str, layer: nn.Module, inputs: tuple[object, ...], _output: object) -> None:
        if isinstance(layer, _Norm) and isinstance(inputs[0], Tensor):
            values = inputs[0].numel() // inputs[0].shape[1] // len(inputs[0])
            if values == 1:
                lonely.append(name)

    with evaluating(net), watching(net, see):
        net(torch.zeros(2, 3, *input_size, device=next(net.parameters()).device))
    if lonely:
        raise InputError(
            expected=f"two values or more for the statistics of BatchNorm '{lonely[0]}'",
            found="one, of a map of 1x1 of one image",
            remedy="raise batch_size, or lower accumulate, batch_norm_groups or the number of processes",
        )


class GroupedBatchNorm:
    """Lets every BatchNorm of a module take its statistics over equal parts of a batch, each for itself.

    This is what ``DataParallel`` does with one part per GPU. As there, the running statistics follow the first part.
    The modules keep their class and keys; in evaluation nothing changes.

    Args:
        module: holds the BatchNorms.
        parts: into how many parts each forward pass is cut.
    """

    def __init__(self, module: nn.Module, parts: int) -> None:
        self._norms = [inner for inner in module.modules() if isinstance(inner, _Norm)]
        if parts > 1:
            for norm in self._norms:
                norm.forward = _in_parts(norm, norm.forward, parts)  # type: ignore[method-assign]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Leave the running statistics as they are."""
        before = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, momentum in zip(self._norms, before, strict=True):
                norm.momentum = momentum


def _in_parts(norm: Any, forward: Any, parts: int) -> Any:
    def apply(x: Tensor) -> Tensor:
        if not norm.training:
            return forward(x)
        first, *rest = x.chunk(parts)
        momentum, out = norm.momentum, [forward(first)]
        norm.momentum = 0.0
        out += [forward(part) for part in rest]
        norm.momentum = momentum
        return torch.cat(out)

    return apply
