"""Regularizers that drop branches of residual blocks: Stochastic Depth and ShakeDrop.

In evaluation a branch is multiplied by the mean of what it was multiplied by in training. The factor goes into the
weights of the BatchNorm that ends the branch when the backbone is saved, so that the plain architecture loads it.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Context, Probability, Regularizer, Stage
from eval_suite.training.regularizers.draws import uniform

if TYPE_CHECKING:
    from torch import Tensor

    from eval_suite.training.network import Change, Network


@dataclass(frozen=True, config=STRICT)
class StochasticDepth(Regularizer):
    """Leave out the branch of a residual block with a probability that grows with the block's depth.

    One gate per block and batch. A branch that is kept is not rescaled in training, and multiplied by its probability
    of being kept in evaluation, as in the authors' code; torchvision's ``stochastic_depth`` and timm's ``DropPath``
    divide by it in training instead, and timm draws a gate per image. Gradients and weight decay then act on branches
    of another scale.

    Attributes:
        rate: probability that the last block's branch is left out.
        decay: 'linear', l / L of it for block l of L (the authors' default), or 'uniform', the same for all. The
            CutMix paper names its rate of 0.25 only.
    """

    rate: Probability = 0.25
    decay: Literal["linear", "uniform"] = "linear"

    name: ClassVar[str] = "stochastic-depth"
    stage: ClassVar[Stage] = "network"
    paper: ClassVar[Paper] = Paper(
        title="Deep Networks with Stochastic Depth",
        venue="ECCV",
        year=2016,
        url="https://arxiv.org/abs/1603.09382",
        code="https://github.com/yueatsprograms/Stochastic_Depth",
    )

    def install(self, network: "Network") -> None:
        """Put a gate behind every block's branch."""
        blocks = network.blocks(self.name)
        for number, block in enumerate(blocks, start=1):
            rate = self.rate * (number / len(blocks) if self.decay == "linear" else 1.0)
            network.after(block.end, _gate(block.end, rate))
            network.scale_in_evaluation(block.end, 1.0 - rate)


@dataclass(frozen=True, config=STRICT)
class ShakeDrop(Regularizer):
    """Multiply a residual block's branch by b + a - ba in the forward and b + c - bc in the backward pass.

    The gate b is 1 with a probability that falls linearly with the block's depth, drawn per block and batch; a is
    uniform in [-1, 1] and c in [0, 1], drawn per image. The authors' own code draws them per pixel; the variant here
    is the one that the CutMix authors point to (see ``code``). No library ships it.

    Attributes:
        rate: probability that the last block's gate is 0; l / L of it for block l of L.
    """

    rate: Probability = 0.5

    name: ClassVar[str] = "shakedrop"
    stage: ClassVar[Stage] = "network"
    paper: ClassVar[Paper] = Paper(
        title="ShakeDrop Regularization for Deep Residual Learning",
        venue="IEEE Access",
        year=2019,
        url="https://arxiv.org/abs/1802.02375",
        code="https://github.com/owruby/shake-drop_pytorch",
    )

    def install(self, network: "Network") -> None:
        """Put the multiplication behind the last BatchNorm of every block's branch."""
        blocks = network.blocks(self.name)
        for number, block in enumerate(blocks, start=1):
            rate = self.rate * number / len(blocks)
            network.after(block.end, _shake(block.end, rate))
            network.scale_in_evaluation(block.end, 1.0 - rate)


def _kept(end: str, rate: float, context: Context) -> bool:
    """Whether a branch is kept in this step; where a batch takes several passes, the first one draws for all."""
    if end not in context.gates:
        context.gates[end] = uniform(context.generator) >= rate
    return context.gates[end]


def _gate(end: str, rate: float) -> "Change":
    def change(branch: "Tensor", context: Context) -> "Tensor":
        # Multiplied rather than skipped, so that every parameter has a gradient when processes exchange them.
        return branch * float(_kept(end, rate, context))

    return change


def _shake(end: str, rate: float) -> "Change":
    def change(branch: "Tensor", context: Context) -> "Tensor":
        import torch

        from eval_suite.training.regularizers._shaking import shake

        kept = _kept(end, rate, context)
        n = len(branch)
        drawn = torch.rand(2, context.share.total(n), generator=context.generator)[:, context.share.mine(n)]
        if kept:
            return branch
        forward, backward = drawn.to(branch.device, branch.dtype, non_blocking=True)
        return shake(branch, 2 * forward - 1, backward)

    return change
