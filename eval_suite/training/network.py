"""The network in training as regularizers see it: its layers, its residual blocks, and hooks that change their outputs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.hooks import evaluating, watching
from eval_suite.backbones.structure.stages import residual_stages
from eval_suite.core.errors import InputError, first_line

INPUT = "input"
Change = Callable[[Tensor, Any], Tensor]
"""A layer's output (N, ...) and the step's context, which passes through here unread, to the output in its place."""


class Block(NamedTuple):
    """A residual block: its name, and the BatchNorm that ends its branch."""

    name: str
    end: str


class Network:
    """A network whose layers' outputs regularizers may change while it trains.

    Changes are forward hooks: the modules, and so the keys of the state dict, stay those of the plain architecture.

    Args:
        net: the network.
        arch: its name, for messages.
        input_size: (H, W) of its input.
        backbone: what the network is part of, by which regularizers look at images; None where shapes alone are known.

    Attributes:
        kept: what a regularizer keeps between its calls, by its name: another network, an attention map for its loss.

    Raises:
        InputError: if the network takes no input of that size.
    """

    def __init__(
        self,
        net: nn.Module,
        arch: str,
        input_size: tuple[int, int],
        backbone: Backbone | None = None,
    ) -> None:
        self.net, self.arch, self.backbone = net, arch, backbone
        self.kept: dict[str, Any] = {}
        try:
            self.sizes = {INPUT: torch.Size((3, *input_size)), **_map_sizes(net, input_size)}
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(
                expected=f"a size of input that {arch} takes",
                found=f"{input_size[0]} x {input_size[1]} ({first_line(error)})",
                remedy="choose another input_size or train_size",
            ) from error
        self._context: Any = None
        self._passing: list[torch.utils.hooks.RemovableHandle] = []
        self._staying: list[torch.utils.hooks.RemovableHandle] = []
        self._factors: dict[str, float] = {}

    def begin_step(self, context: Any) -> None:
        """What hooks of the next forward passes shall know; changes of the step before are taken back."""
        self._context = context
        while self._passing:
            self._passing.pop().remove()

    def after(self, layer: str, change: Change) -> None:
        """Change a layer's output in every training pass."""
        self._staying.append(self._hook(layer, change))

    def once(self, layer: str, change: Change) -> None:
        """Change a layer's output in the passes of this step."""
        self._passing.append(self._hook(layer, change))

    def scale_in_evaluation(self, norm: str, factor: float) -> None:
        """Multiply a BatchNorm's output by a factor when the network does not train; see `plain_state`."""
        self._factors[norm] = self._factors.get(norm, 1.0) * factor

        def hook(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            return output if module.training else output * factor

        self._staying.append(self.net.get_submodule(norm).register_forward_hook(hook))

    def release(self) -> None:
        """Take all changes back after the training: the network is the plain one again, for weights of `plain_state`."""
        for handle in (*self._passing, *self._staying):
            handle.remove()

    def plain_state(self, state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
        """A state dict with which the plain architecture computes what this network does in evaluation.

        The factors of `scale_in_evaluation` go into the weights and biases of their BatchNorms.
        """
        plain = dict(state)
        for norm, factor in self._factors.items():
            for key in (f"{prefix}{norm}.weight", f"{prefix}{norm}.bias"):
                plain[key] = plain[key] * factor
        return plain

    def require_layers(self, layers: tuple[str, ...], regularizer: str) -> None:
        """Check that layers exist and give maps (N, C, h, w).

        Raises:
            InputError: naming the layers there are.
        """
        for layer in layers:
            if layer not in self.sizes:
                listed = ", ".join(name for name in self.sizes if "." not in name)
                raise InputError(
                    f"{regularizer}: {self.arch} has no layer '{layer}' with a feature map; "
                    f"it has {listed}, and layers inside these"
                )

    def stages(self, regularizer: str) -> list[str]:
        """Names of the residual stages, ``layer1`` and so on, in order.

        Raises:
            InputError: if the network has none.
        """
        stages = residual_stages(self.net)
        if not stages:
            raise InputError(
                f"{regularizer} needs a residual network; {self.arch} has no stages layer1, layer2, ..."
            )
        return stages

    def blocks(self, regularizer: str) -> list[Block]:
        """All residual blocks in order.

        Raises:
            InputError: if the network has none, or has some whose branch does not end with a BatchNorm.
        """
        found = []
        for name, block in self._blocks(self.stages(regularizer)):
            norms = [child for child, module in block.named_children() if _is_norm(module)]
            if not norms or getattr(block, "se", None) is not None:
                raise InputError(
                    f"{regularizer} needs residual blocks whose branch ends with a BatchNorm; those of "
                    f"{self.arch} do not ({name})"
                )
            found.append(Block(name, f"{name}.{norms[-1]}"))
        return found

    def shortcuts(self, stage: str) -> list[str]:
        """Names of the shortcuts of a stage's blocks that end with no BatchNorm, in blocks that let them be changed.

        An identity shortcut of timm's and torchvision's blocks is the attribute ``downsample`` with nothing in it; a
        module without parameters takes its place.
        """
        found = []
        for name, block in self._blocks([stage]):
            if getattr(block, "downsample", block) is None:
                block.downsample = nn.Identity()
            shortcut = getattr(block, "downsample", None)
            if isinstance(shortcut, nn.Module) and not any(map(_is_norm, shortcut.modules())):
                found.append(f"{name}.downsample")
                self.sizes[found[-1]] = self.sizes[name]
        return found

    def norms_after_convolutions(self, stage: str) -> list[str]:
        """Names of the BatchNorms of a stage that stand right behind a convolution."""
        found = []
        for name, module in self.net.get_submodule(stage).named_modules():
            before: nn.Module | None = None
            for child, inner in module.named_children():
                if _is_norm(inner) and isinstance(before, nn.Conv2d):
                    found.append(".".join(filter(None, (stage, name, child))))
                before = inner
        return found

    def _blocks(self, stages: list[str]) -> Iterator[tuple[str, nn.Module]]:
        for stage in stages:
            for child, block in self.net.get_submodule(stage).named_children():
                yield f"{stage}.{child}", block

    def _hook(self, layer: str, change: Change) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            if not module.training:
                return output
            assert self._context is not None
            return change(output, self._context)

        return self.net.get_submodule(layer).register_forward_hook(hook)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)


def _map_sizes(net: nn.Module, input_size: tuple[int, int]) -> dict[str, torch.Size]:
    """(C, h, w) of every layer that gives one map (N, C, h, w), by name, in the order in which they finish."""
    sizes: dict[str, torch.Size] = {}

    def see(name: str, _layer: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            sizes[name] = output.shape[1:]

    with evaluating(net), watching(net, see):
        net(torch.zeros(1, 3, *input_size, device=next(net.parameters()).device))
    return sizes
