"""SnapMix: labels weighed by what a class's activation map shows of the boxes that are exchanged."""

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import (
    STRICT,
    Alpha,
    Context,
    Mixed,
    Probability,
    Regularizer,
    Stage,
)
from eval_suite.training.regularizers.boxes import cutmix_box
from eval_suite.training.regularizers.draws import beta, integers, permutation, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from eval_suite.training.network import Network
    from eval_suite.training.regularizers.base import Criterion


@dataclass(frozen=True, config=STRICT)
class SnapMix(Regularizer):
    """Paste a box of another image into a box of its own size and place, and weigh each label by what the class's map shows.

    The maps are those of each image's own class, w_y . F + b_y, resized to the image, less their minimum, divided by
    their sum. With box B of an image and box B' of its partner, of lambdas drawn each for itself, the content of B' is resized into B; the image's
    label weighs 1 - sum of its map over B, the partner's the sum of its map over B', so that the two need not sum to
    1. Where both labels are the same, each weighs as much as both together, as in the authors' code. Boxes and
    permutation are the same for the whole batch. One extra forward pass, in training mode as there: BatchNorm sees the
    images once more.

    Attributes:
        alpha: both lambdas ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed (the authors use 1 for pretrained networks, 0.5 from scratch).
    """

    alpha: Alpha = 5.0
    prob: Probability = 1.0

    name: ClassVar[str] = "snapmix"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="SnapMix: Semantically Proportional Mixing for Augmenting Fine-grained Data",
        venue="AAAI",
        year=2021,
        url="https://arxiv.org/abs/2012.04846",
        code="https://github.com/Shaoli-Huang/SnapMix",
    )

    def acts_on_network(self) -> bool:
        """It looks at images with the network."""
        return True

    def install(self, network: "Network") -> None:
        """Find the layer that makes the logits of the pooled map.

        Raises:
            InputError: if there is none.
        """
        if network.backbone is None:
            return
        import torch

        from eval_suite.backbones.structure.classifier import pooled_classifier

        layer, layer_size = network.backbone.card.feature_layer, network.sizes["input"]
        probe = torch.rand(2, *layer_size, generator=torch.Generator().manual_seed(0))
        classifier = layer and pooled_classifier(
            network.backbone.net, network.backbone.normalise(probe), layer
        )
        if not classifier:
            raise InputError(
                f"{self.name} needs a network whose logits are a linear layer of the mean of its last feature map; "
                f"{network.arch} ends otherwise"
            )
        network.kept[self.name] = classifier

    def criterion(self, network: "Network | None") -> "Criterion":
        """Cross entropy with both labels, each with its weight."""
        import torch.nn.functional as F

        def loss(logits: "Tensor", targets: "Tensor") -> "Tensor":
            return F.cross_entropy(logits, targets.sum(1) if targets.ndim == 3 else targets)

        return loss

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order; the images are overwritten."""
        import torch
        import torch.nn.functional as F

        share, generator = context.share, context.generator
        if uniform(generator) >= self.prob:
            return Mixed(images, targets)
        height, width = images.shape[-2:]
        lambdas = [beta(self.alpha, generator) for _ in range(2)]
        order = permutation(share.total(len(images)), generator)
        box, source = (
            cutmix_box(
                height, width, lam, int(integers(width, 1, generator)), int(integers(height, 1, generator))
            )
            for lam in lambdas
        )
        labels = targets.argmax(1)
        maps = self._maps(images, labels, context.looking())
        if not (box.area and source.area):
            return Mixed(images, targets)
        content = F.interpolate(
            images[(..., *source.inside)],
            (box.y1 - box.y0, box.x1 - box.x0),
            mode="bilinear",
            align_corners=True,
        )
        images[(..., *box.inside)] = share.partners(content, order)
        own = 1.0 - maps[(..., *box.inside)].sum((1, 2))
        theirs = share.partners(maps[(..., *source.inside)].sum((1, 2)), order)
        both = own + theirs
        same = labels == share.partners(labels, order)
        own, theirs = both.where(same, own), both.where(same, theirs)
        # A map of one value says nothing: labels are mixed by area there.
        pasted = box.area / (height * width)
        own = own.nan_to_num(nan=1.0 - pasted).unsqueeze(1)
        theirs = theirs.nan_to_num(nan=pasted).unsqueeze(1)
        return Mixed(images, torch.stack((targets * own, share.partners(targets, order) * theirs), 1))

    def _maps(self, images: "Tensor", labels: "Tensor", network: "Network") -> "Tensor":
        """(N, H, W) maps of each image's class, at least 0 and summing to 1; nan where a map has one value."""
        import torch
        import torch.nn.functional as F

        assert network.backbone is not None
        classifier = network.kept[self.name]
        with torch.no_grad():
            features = network.backbone.predict(images).features.float().relu()
            maps = (features * classifier.weight[labels, :, None, None]).sum(1, keepdim=True)
            if classifier.module.bias is not None:
                maps += classifier.module.bias[labels, None, None, None]
            maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
            largest = maps.abs().amax((1, 2), keepdim=True)
            maps = maps - maps.amin((1, 2), keepdim=True)
            # What is left of a map of one value is rounding.
            maps = maps.where(maps.amax((1, 2), keepdim=True) > 1e-6 * largest, 0.0)
            return maps / maps.sum((1, 2), keepdim=True)
