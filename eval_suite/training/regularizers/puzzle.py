"""PuzzleMix: masks by a graph cut over the saliency of both images, whose salient parts are moved out of the way."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.training.regularizers._transport import pooled, transported
from eval_suite.training.regularizers.base import (
    STRICT,
    Alpha,
    Context,
    Mixed,
    Probability,
    Regularizer,
    Stage,
)
from eval_suite.training.regularizers.draws import beta, integers, permutation, uniform
from eval_suite.training.regularizers.mixing import mix_targets

if TYPE_CHECKING:
    from torch import Tensor

    from eval_suite.training.network import Network

_LARGEST_GRID = 16
_SMALL = 64  # pixels a side, up to which the authors' choice for CIFAR holds
_EPSILON = 1e-8


@dataclass(frozen=True, config=STRICT)
class PuzzleMix(Regularizer):
    """Choose for each cell of a grid how much of either image it shows, so that the salient parts of both are seen.

    Saliency is the root of the squared gradient of the cross entropy by the normalised image, averaged over channels. On a
    grid of 2, 4, 8 or 16 cells a side, drawn for each batch, the shares z in {0, 1/K, ..., 1} minimise

        sum of (1 - z) s_own + z s_partner + (eta / cells) (-log p(z)) + smoothness of neighbours,

    p binomial with lambda ~ Beta(alpha, alpha), and smoothness of labels (``beta``) and of the pixels at borders
    (``beta`` times ``gamma``). Each image's patches are then moved, at a cost of ``transport_cost`` times squared
    distance, to where it is shown. Labels are mixed by the mean of z. One extra forward and backward pass, in
    evaluation mode.

    Differences to the authors' code: the cut is exact, where theirs swaps pairs of labels; patches that lose their place
    in a round of the transport pay for it in the next, as the text has it; adversarial noise and the term of clean
    gradients, options that the commands for the paper's "Puzzle Mix" leave off, are left out; the loss is cross entropy instead of binary cross entropy of the softmax.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
        labels: K + 1, how many shares a cell may have.
        beta: weight of the smoothness of labels.
        gamma: weight of the smoothness of pixels.
        eta: weight of the prior.
        neighbourhood: side in pixels over which colours at borders are averaged.
        transport: whether patches are moved.
        transport_size: side in pixels of the patches that are moved; by default 4 for images up to 64 pixels, the
            authors' choice for CIFAR, and the size of a cell for larger ones.
        transport_cost: of moving.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0
    labels: Annotated[int, Field(ge=2, le=4)] = 3
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.2
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.5
    eta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.2
    neighbourhood: Annotated[int, Field(ge=1)] = 4
    transport: bool = True
    transport_size: Annotated[int, Field(ge=1)] | None = None
    transport_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.8

    name: ClassVar[str] = "puzzlemix"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup",
        venue="ICML",
        year=2020,
        url="https://arxiv.org/abs/2009.06962",
        code="https://github.com/snu-mllab/PuzzleMix",
    )

    def acts_on_network(self) -> bool:
        """It looks at images with the network."""
        return True

    def install(self, network: "Network") -> None:
        """Check that images can be divided into the grids.

        Raises:
            InputError: if they cannot.
        """
        _, height, width = network.sizes["input"]
        if height != width or height % _LARGEST_GRID:
            raise InputError(
                f"{self.name}: expected square images of a multiple of {_LARGEST_GRID} pixels a side, found {height}x{width}; "
                "choose another input_size"
            )
        for what, size in (("neighbourhood", self.neighbourhood), ("transport_size", self.transport_size)):
            if size is not None and height % size:
                raise InputError(f"{self.name}: expected a {what} that divides {height} pixels, found {size}")

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order."""
        import torch.nn.functional as F

        from eval_suite.training.regularizers._saliency import gradient_saliency

        share, generator = context.share, context.generator
        if uniform(generator) >= self.prob:
            return Mixed(images, targets)
        cells = 2 ** (1 + int(integers(4, 1, generator)))
        lam = beta(self.alpha, generator)
        order = permutation(share.total(len(images)), generator)
        saliency = gradient_saliency(images, targets, context)
        partners = share.partners(images, order)
        saliencies = saliency, share.partners(saliency, order)
        keep = self._shares(images, partners, saliencies, cells, lam)
        kept = keep.double().mean((1, 2, 3)).tolist()
        if self.transport:
            patches = self._patches(images.shape[-1], cells)
            keep = F.interpolate(keep, size=(patches, patches))
            images, partners = (
                transported(one, shown, pooled(seen, patches), self.transport_cost, context.fill)
                for one, shown, seen in zip((images, partners), (keep, 1 - keep), saliencies, strict=True)
            )
        keep = F.interpolate(keep, size=images.shape[-2:])
        return Mixed(partners.lerp(images, keep), mix_targets(targets, order, kept, context))

    def _patches(self, side: int, cells: int) -> int:
        size = self.transport_size or (4 if side <= _SMALL else side)
        return max(cells, side // size)

    def _shares(
        self,
        images: "Tensor",
        partners: "Tensor",
        saliencies: "tuple[Tensor, Tensor]",
        cells: int,
        lam: float,
    ) -> "Tensor":
        """(N, 1, cells, cells): how much of its own each cell shows."""
        import numpy as np
        import torch

        from eval_suite.training.regularizers._graph_cut import cut_grids

        steps = self.labels - 1
        beta_cell = self.beta / cells / 16
        lost = [pooled(seen, cells) for seen in saliencies]
        # By how much colours differ at a border where (one, other) of two neighbours are shown; 0 is the partner.
        shown = [images, partners]
        borders = [
            {
                pair: beta_cell * self.gamma * one
                for pair, one in _borders(shown, cells, self.neighbourhood, axis).items()
            }
            for axis in (2, 3)
        ]
        weights = []
        for axis, at in zip((1, 2), borders, strict=True):
            before, after = slice(None, -1), slice(1, None)
            for part, image, mixed in (
                (before, 0, (0, 1)),
                (after, 0, (1, 0)),
                (before, 1, (1, 0)),
                (after, 1, (0, 1)),
            ):
                index = (slice(None), part) if axis == 1 else (slice(None), slice(None), part)
                lost[1 - image][index] += (at[image, image] + at[mixed]) / 2
            weights.append((at[0, 1] + at[1, 0] - at[0, 0] - at[1, 1]) / 2 + beta_cell)
        # Label l of the cut shows (K - l) / K of the image's own, and loses as much of the partner's saliency.
        label = torch.arange(self.labels, dtype=torch.float64)
        chance = torch.tensor(
            [math.comb(steps, i) * lam ** (steps - i) * (1 - lam) ** i for i in range(self.labels)],
            dtype=torch.float64,
        )
        prior = self.eta * -(chance + _EPSILON).log() / cells**2
        own, theirs = (one.double().cpu().unsqueeze(-1) for one in lost)
        unary = (1 - label / steps) * theirs + label / steps * own + prior
        scale = 1000 * cells**2

        def whole(costs: "Tensor") -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
            return (costs.double().cpu().clamp(min=0) * scale).long().numpy()

        labels = cut_grids(whole(unary), whole(weights[0]), whole(weights[1]))
        return torch.from_numpy(1 - labels / steps).to(images).unsqueeze(1)


def _borders(
    shown: "list[Tensor]", cells: int, neighbourhood: int, axis: int
) -> "dict[tuple[int, int], Tensor]":
    """Mean absolute difference of colours along the borders of cells, where image i is shown before and j behind."""
    import torch.nn.functional as F

    size = shown[0].shape[-1] // cells
    step = min(neighbourhood, size)
    per_cell = size // step
    blocks = [F.avg_pool2d(one.float(), step) for one in shown]
    length = blocks[0].shape[axis]
    found = {}
    for i, before in enumerate(blocks):
        for j, behind in enumerate(blocks):
            difference = before.narrow(axis, 0, length - 1) - behind.narrow(axis, 1, length - 1)
            index = [slice(None)] * 4
            index[axis] = slice(per_cell - 1, None, per_cell)
            kernel = (1, per_cell) if axis == 2 else (per_cell, 1)
            found[i, j] = F.avg_pool2d(difference[tuple(index)].abs().mean(1), kernel)
    return found
