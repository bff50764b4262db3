"""DropBlock: square parts of feature maps are dropped."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Context, Regularizer, Stage

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from eval_suite.training.network import Change, Network


@dataclass(frozen=True, config=STRICT)
class DropBlock(Regularizer):
    """Drop square blocks of feature maps behind the convolutions of a network's last stages.

    As the authors' TPU code has it: blocks lie wholly inside the map, each channel has its own mask, what is kept is
    rescaled by the share that is dropped (of the images of one pass), the share grows linearly over the training, and the last stage but one has a
    quarter of it. Masks stand behind every BatchNorm that follows a convolution (before a ReLU or behind it is
    the same) and on the shortcuts. torchvision's ``drop_block2d`` refuses even sizes; timm's ``DropBlock2d`` shares a
    mask over channels by default and lets blocks overlap the border. What the CutMix paper chose in PyramidNet, other
    than block size 4 and 0.9, it does not say.

    Attributes:
        keep_prob: share of the map that stays, in the last stage at the end of the training.
        block_size: side of the blocks in cells.
        stages: where blocks are dropped; the last of them has the full rate, each one before it a quarter of the next.
            By default the network's last two stages.
        schedule: 'linear', keep_prob falls from 1 to its value over the training, or 'constant'.
    """

    keep_prob: Annotated[float, Field(gt=0, le=1)] = 0.9
    block_size: Annotated[int, Field(ge=1)] = 7
    stages: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    schedule: Literal["linear", "constant"] = "linear"

    name: ClassVar[str] = "dropblock"
    stage: ClassVar[Stage] = "network"
    paper: ClassVar[Paper] = Paper(
        title="DropBlock: A regularization method for convolutional networks",
        venue="NeurIPS",
        year=2018,
        url="https://arxiv.org/abs/1810.12890",
        code="https://github.com/tensorflow/tpu/tree/master/models/official/resnet",
    )

    def install(self, network: "Network") -> None:
        """Put masks behind the convolutions and shortcuts of the stages."""
        stages = tuple(network.stages(self.name)[-2:]) if self.stages is None else self.stages
        network.require_layers(stages, self.name)
        for before_last, stage in enumerate(reversed(stages)):
            change = self._change((1.0 - self.keep_prob) / 4**before_last)
            for layer in network.norms_after_convolutions(stage) + network.shortcuts(stage):
                height, width = network.sizes[layer][-2:]
                if self.block_size > min(height, width):
                    raise InputError(
                        f"{self.name}: blocks of {self.block_size}x{self.block_size} do not fit into the "
                        f"{height}x{width} map of {layer} in {network.arch}; choose a smaller block_size or other stages"
                    )
                network.after(layer, change)

    def _change(self, rate: float) -> "Change":
        def change(maps: "Tensor", context: Context) -> "Tensor":
            now = rate * (context.progress if self.schedule == "linear" else 1.0)
            return drop_blocks(maps, now, self.block_size, context)

        return change


def drop_blocks(maps: "Tensor", rate: float, size: int, context: Context) -> "Tensor":
    """Set blocks of (N, C, h, w) maps to zero, and rescale the rest so that the sum of a constant map stays.

    Args:
        maps: the part of the batch that is here.
        rate: expected share of cells to drop, as long as blocks overlap little.
        size: side of the blocks.
        context: generator and share.
    """
    import torch

    n, channels, height, width = maps.shape
    rows, columns = height - size + 1, width - size + 1
    probability = min(1.0, rate / size**2 * (height * width) / (rows * columns))
    seeds = bernoulli_positions(
        context.share.total(n) * channels * rows * columns, probability, context.generator
    )
    if not len(seeds):
        return maps
    one = channels * rows * columns
    mine = context.share.mine(n)
    seeds = seeds[(seeds >= mine.start * one) & (seeds < mine.stop * one)] - mine.start * one
    # Flat places in the map's own memory layout, whichever that is.
    kept = torch.ones_like(maps)
    strides = torch.tensor(kept.stride())
    corners = torch.stack(torch.unravel_index(seeds, (n, channels, rows, columns)), 1) @ strides
    side = torch.arange(size)
    cells = corners[:, None] + (side[:, None] * strides[2] + side * strides[3]).flatten()
    kept.as_strided((kept.numel(),), (1,))[cells.flatten().to(maps.device, non_blocking=True)] = 0
    # Of the whole batch: also where nothing is dropped from the part that is here.
    share = context.share.everywhere(kept.mean(dtype=torch.float32)[None]).mean()
    share = share.clamp_min(1 / context.share.total(kept.numel()))
    return maps * (kept / share.to(maps.dtype))


def bernoulli_positions(n: int, probability: float, generator: "Generator") -> "Tensor":
    """Which of n independent draws succeed, ascending, from the distances between them.

    Successes are far apart where blocks are dropped, so that this takes about ``n * probability`` random numbers
    instead of n, few enough to be drawn on the CPU.
    """
    import torch

    if probability <= 0:
        return torch.empty(0, dtype=torch.long)
    if probability >= 1:
        return torch.arange(n)
    found, last = [], -1
    while last < n:
        expected = (n - last) * probability
        drawn = torch.rand(
            int(expected + 4 * math.sqrt(expected)) + 8, generator=generator, dtype=torch.float64
        )
        # Geometric distances by inversion: 1 + floor(log(1 - u) / log(1 - p)).
        distances = torch.log1p(-drawn).div_(math.log1p(-probability)).floor_().clamp_(max=n).long() + 1
        found.append(last + distances.cumsum(0))
        last = int(found[-1][-1])
    positions = torch.cat(found)
    return positions[positions < n]
