"""Co-Mixup: mixtures of several images each, chosen together so that they differ from one another."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Alpha, Context, Mixed, Regularizer, Stage
from eval_suite.training.regularizers.draws import gammas, integers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from eval_suite.training.network import Network
    from eval_suite.training.regularizers.base import Criterion

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_NEAREST = 8  # pixels a side of the square whose mean saliency says where an image is most salient


@dataclass(frozen=True, config=STRICT)
class CoMixup(Regularizer):
    """Mix the salient parts of several images at once, so that the mixtures of a batch differ, next to the images themselves.

    The images of a part of the batch are mixed among themselves. Shares z_j of the mixtures on a grid of b x b cells minimise

        sum of -s z_j + (eta / b^2) (-log p) + (beta / b^2) (neighbours that differ) + (gamma / b^2) sum over k != j of n_j' A n_k,

    s the saliency of each image, summing to 1, p ~ Dirichlet(alpha), n_j the cells that mixture j shows of each image, and A
    the identity but for ``omega`` of it, which is the images' distance between the places where they are most salient.
    What other mixtures show of an image counts from a share of ``threshold`` of a mixture on. One mixture after the other is
    chosen given the others, in ``rounds`` rounds, by swaps of two labels at a time; from the second round on a cell may show
    two images of its mixture half and half, and before the last round mixtures of the same images are pushed apart. Labels
    are mixed by the cells. The loss is that of the mixtures plus ``clean`` times that of the images. A step costs two views,
    and one forward and backward pass more for the saliency.

    Differences to the authors' code: saliency is seen in evaluation mode by a pass of its own, theirs in the pass that trains on
    the images; 'ce' takes cross entropy for both losses.

    Attributes:
        alpha: of the Dirichlet distribution of the prior.
        grid: cells along a side.
        part: images that are mixed among themselves; the last part of a batch may be smaller.
        beta: weight of the smoothness of labels.
        gamma: weight of the difference of mixtures.
        threshold: the paper's tau.
        eta: weight of the prior.
        omega: weight of the images' distances.
        rounds: over all mixtures of a part.
        clean: weight of the images' own loss.
        loss: 'ce', cross entropy as every other method has it, or the authors' 'bce': binary cross entropy of the mixtures'
            softmax plus 2 ``clean`` / classes times the cross entropy of the images.
    """

    alpha: Alpha = 2.0
    grid: Annotated[int, Field(ge=2, le=16)] = 4
    part: Annotated[int, Field(ge=2)] = 20
    beta: Weight = 0.32
    gamma: Weight = 1.0
    threshold: Weight = 0.83
    eta: Weight = 0.05
    omega: Annotated[float, Field(ge=0, le=1)] = 0.001
    rounds: Annotated[int, Field(ge=1)] = 4
    clean: Weight = 1.0
    loss: Literal["ce", "bce"] = "ce"

    name: ClassVar[str] = "co-mixup"
    stage: ClassVar[Stage] = "mix"
    views: ClassVar[int] = 2
    paper: ClassVar[Paper] = Paper(
        title="Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity",
        venue="ICLR",
        year=2021,
        url="https://openreview.net/forum?id=gvxJzw8kW4b",
        code="https://github.com/snu-mllab/Co-Mixup",
    )

    def acts_on_network(self) -> bool:
        """It looks at images with the network."""
        return True

    def install(self, network: "Network") -> None:
        """Check that images can be divided into the grid.

        Raises:
            InputError: if they cannot.
        """
        _, height, width = network.sizes["input"]
        if height != width or height % self.grid or height < _NEAREST:
            raise InputError(
                f"{self.name}: expected square images of a multiple of {self.grid} pixels a side (grid), from {_NEAREST} "
                f"on, found {height}x{width}; choose another input_size or grid"
            )

    def criterion(self, network: "Network | None") -> "Criterion":
        """The loss of the mixtures plus that of the images."""
        import torch.nn.functional as F

        from eval_suite.training.objective import softmax_bce

        def loss(logits: "Tensor", targets: "Tensor") -> "Tensor":
            of_images = F.cross_entropy(logits[::2], targets[::2])
            if self.loss == "ce":
                return F.cross_entropy(logits[1::2], targets[1::2]) + self.clean * of_images
            return softmax_bce(logits[1::2], targets[1::2]) + 2 * self.clean / logits.shape[1] * of_images

        return loss

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Each image of a batch (N, 3, H, W), followed by a mixture."""
        import torch
        import torch.nn.functional as F

        from eval_suite.training.regularizers._saliency import gradient_saliency

        share = context.share
        own = share.mine(len(images))
        saliency = share.everywhere(gradient_saliency(images, targets, context))
        others, labels = share.everywhere(images), share.everywhere(targets)
        mixed, soft = [], []
        for first in range(0, len(others), self.part):
            rows = slice(first, min(first + self.part, len(others)))
            drawn = self._draw(rows.stop - first, context.generator)
            here = range(max(first, own.start), min(rows.stop, own.stop))
            if not here:
                continue
            shares = torch.from_numpy(self._shares(saliency[rows], *drawn)).to(images)
            shares = shares[here.start - first : here.stop - first]
            soft.append(shares.mean((2, 3)) @ labels[rows])
            for one in shares:
                shown = one.flatten(1).any(1)
                pixels = F.interpolate(one[shown].unsqueeze(1), size=images.shape[-2:])
                mixed.append((pixels * others[rows][shown]).sum(0))
        views = torch.stack((images, torch.stack(mixed)), 1).flatten(0, 1)
        return Mixed(views, torch.stack((targets, torch.cat(soft)), 1).flatten(0, 1))

    def _draw(self, n: int, generator: "Generator") -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
        """The prior (n,) of a part's images, and labels (n, b, b) to begin with."""
        drawn = gammas(self.alpha, n, generator).numpy()
        start = integers(n, n * self.grid**2, generator).numpy()
        return drawn / drawn.sum(), start.reshape(n, self.grid, self.grid)

    def _shares(
        self, saliency: "Tensor", prior: "NDArray[np.float64]", start: "NDArray[np.int64]"
    ) -> "NDArray[np.float64]":
        """(n, n, b, b): what each mixture's cells show of each image, summing to 1 over the images."""
        import numpy as np
        import torch.nn.functional as F

        from eval_suite.training.regularizers._joint_mix import choose_together
        from eval_suite.training.regularizers._transport import pooled

        cells, n = self.grid**2, len(saliency)
        seen = pooled(saliency, self.grid).double().cpu().numpy()
        cost = -seen - self.eta / cells * np.log(prior + 1e-8)[:, None, None]
        places = F.avg_pool2d(saliency.unsqueeze(1), _NEAREST, stride=1)[:, 0]
        at = np.stack(np.unravel_index(places.flatten(1).argmax(1).cpu().numpy(), places.shape[1:]), 1)
        apart = np.abs(at[:, None] - at[None, :]).sum(2).astype(np.float64)
        compatible = (1 - self.omega) * np.eye(n)
        if apart.any():
            compatible += self.omega * n * apart / apart.sum()
        return choose_together(
            cost,
            compatible,
            start,
            beta=self.beta / cells,
            gamma=self.gamma / cells,
            threshold=self.threshold * cells,
            rounds=self.rounds,
        )
