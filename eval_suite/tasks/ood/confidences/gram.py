"""Gram: how far the correlations of a network's channels leave the range that training images of the class had."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures
from eval_suite.tasks.ood.confidences.stages import stage_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from eval_suite.backbones.backbone import Backbone

_ORDERS = range(1, 11)
_EPSILON = 1e-6
_HELD_OUT = 10


class GramMatrices(OodScore):
    """Minus the deviation of the Gram matrices' row sums from their range on training images of the predicted class.

    For the maps F (C, h w) at the end of each stage and the orders p = 1..10 these are the row sums of F^p (F^p)', with the
    p-th root that keeps the sign. Below the least of the class an entry deviates by (least - entry) / |least|, above the
    largest likewise; the sum of a layer counts over its mean on every tenth training image of a class, which the range then
    leaves out. The authors look at every layer, which costs the memory of as many channels; pytorch-ood draws the tenth.

    Reference: Sastry and Oore, ICML 2020, sec. 3.
    """

    name: ClassVar[str] = "gram"
    title: ClassVar[str] = "Gram matrices"
    paper: ClassVar[Paper] = Paper(
        "Detecting Out-of-Distribution Examples with Gram Matrices",
        "ICML",
        2020,
        "https://arxiv.org/abs/1912.12510",
        "https://github.com/VectorInstitute/gram-ood-detection",
    )
    fitted: ClassVar[bool] = True
    of_labels: ClassVar[bool] = True
    of_maps: ClassVar[bool] = True

    def prepare(self, backbone: "Backbone") -> None:
        """Find the stages."""
        self.backbone, self.layers = backbone, stage_ends(backbone, self.name)
        self.widths: list[int] = []

    @contextmanager
    def looking(self) -> "Iterator[None]":
        """Keep the maps of the stages."""
        from eval_suite.backbones.structure.hooks import outputs_of

        with outputs_of(self.backbone.net, self.layers) as self.kept:
            yield

    def statistics(self, images: "Tensor") -> "Tensor":
        """The row sums of every stage and order (B, S), each order's channels next to each other."""
        import torch

        rows = [row_sums(self.kept[name].detach()[: len(images)]) for name in self.layers]
        self.widths = [row.shape[1] for row in rows]
        return torch.cat(rows, dim=1).float()

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Find the range of each class, and the mean deviation of each stage.

        Raises:
            InputError: if a class has no image.
        """
        import torch

        assert training.logits is not None
        classes, labels = training.logits.shape[1], training.labels
        counts = torch.bincount(labels, minlength=classes)
        if not counts.all():
            raise InputError(
                expected="training images of every class for the score 'gram'",
                found=f"none of {int((counts == 0).sum())} of {classes} classes",
                remedy="raise --fit-limit, or leave the score out",
            )
        held = torch.zeros(len(labels), dtype=torch.bool)
        for label in range(classes):
            held[(labels == label).nonzero()[_HELD_OUT - 1 :: _HELD_OUT, 0]] = True
        sums = training.features  # in double precision they would take as much memory again, and twice
        self.least = torch.stack(
            [sums[~held & (labels == label)].amin(0) for label in range(classes)]
        ).double()
        self.most = torch.stack(
            [sums[~held & (labels == label)].amax(0) for label in range(classes)]
        ).double()
        expected = self._deviations(sums[held].double(), labels[held]).mean(0)
        self.expected = torch.where(expected > 0, expected, 1)  # also where no image is held out

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,), at most 0, of logits and the row sums."""
        return -(self._deviations(features.double(), logits.argmax(1)) / self.expected).sum(1)

    def _deviations(self, sums: "Tensor", labels: "Tensor") -> "Tensor":
        """Of each image and stage (n, stages)."""
        import torch

        least, most = self.least[labels], self.most[labels]
        below = (least - sums).relu() / (least + _EPSILON).abs()
        above = (sums - most).relu() / (most + _EPSILON).abs()
        return torch.stack([part.sum(1) for part in (below + above).split(self.widths, dim=1)], dim=1)


def row_sums(maps: "Tensor") -> "Tensor":
    """Signed p-th roots of the row sums of the Gram matrices of order p of maps (B, C, h, w): (B, orders * C), float64."""
    import torch

    flat, found = maps.flatten(2).double(), []
    for order in _ORDERS:
        power = flat**order
        sums = (power @ power.sum(1, keepdim=True).mT)[:, :, 0]
        found.append(sums.sign() * sums.abs() ** (1 / order))
    return torch.cat(found, dim=1)
