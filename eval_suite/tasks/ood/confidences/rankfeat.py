"""RankFeat: the energy of the logits of feature maps without their largest component."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import OodScore
from eval_suite.tasks.ood.confidences.stages import stage_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from eval_suite.backbones.backbone import Backbone


class RankFeat(OodScore):
    """Energy of the mean of two sets of logits: with the map's rank-1 part removed at the last stage, and at the one before.

    Each map (C, h w) loses s_1 u_1 v_1', its largest singular value and vectors, and the rest of the network runs on what is
    left, so the network runs twice more. A network of one stage has one set of logits.

    Reference: Song et al., NeurIPS 2022, eq. 3 and the fusion of blocks 3 and 4.
    """

    name: ClassVar[str] = "rankfeat"
    title: ClassVar[str] = "RankFeat"
    paper: ClassVar[Paper] = Paper(
        "RankFeat: Rank-1 Feature Removal for Out-of-distribution Detection",
        "NeurIPS",
        2022,
        "https://arxiv.org/abs/2209.08590",
        "https://github.com/KingJamesSong/RankFeat",
    )
    of_maps: ClassVar[bool] = True

    def prepare(self, backbone: "Backbone") -> None:
        """Find the last two stages."""
        self.backbone, self.layers = backbone, stage_ends(backbone, self.name)[-2:]

    def statistics(self, images: "Tensor") -> "Tensor":
        """The mean of the logits (B, classes)."""
        import torch

        made = []
        for name in self.layers:
            with _without_rank_1(self.backbone.net.get_submodule(name)):
                made.append(self.backbone(images).float())
        return torch.stack(made).mean(0)

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,) of those logits."""
        return features.double().logsumexp(1)


def without_rank_1(maps: "Tensor") -> "Tensor":
    """Maps (B, C, h, w), each less the best approximation of rank 1 to the matrix (C, h w)."""
    import torch

    matrix = maps.flatten(2).double()
    # The singular vectors of the shorter side, from the smaller product of the matrix with itself.
    tall = matrix.shape[1] > matrix.shape[2]
    product = matrix.mT @ matrix if tall else matrix @ matrix.mT
    first = torch.linalg.eigh(product).eigenvectors[:, :, -1:]
    rank_1 = (matrix @ first) @ first.mT if tall else first @ (first.mT @ matrix)
    return (matrix - rank_1).to(maps.dtype).view(maps.shape)


@contextmanager
def _without_rank_1(layer: "nn.Module") -> "Iterator[None]":
    """A layer gives its maps without their rank-1 part inside."""

    def replace(_layer: "nn.Module", _inputs: Any, output: "Tensor") -> "Tensor":
        return without_rank_1(output)

    handle = layer.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
