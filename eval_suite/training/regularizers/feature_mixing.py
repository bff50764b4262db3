"""Regularizers that mix pairs of feature maps, in a layer drawn for each batch: Manifold Mixup and Feature CutMix."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.papers import CUTMIX
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
from eval_suite.training.regularizers.mixing import mix_targets

if TYPE_CHECKING:
    from torch import Tensor

    from eval_suite.training.network import Change, Network
    from eval_suite.training.regularizers.base import Criterion

Layers = Annotated[tuple[str, ...], Field(min_length=1)]
_INPUT = "input"
# Manifold Mixup's own choice: the image, and the maps after the first and the second residual stage.
_DEFAULT_LAYERS = (_INPUT, "layer1", "layer2")


@dataclass(frozen=True, config=STRICT)
class ManifoldMixup(Regularizer):
    """Blend the feature maps of two images, in a layer drawn for each batch, and their labels with the same weight.

    One lambda and one permutation for the whole batch. No library ships it.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
        layers: the pool a layer is drawn from, by module name; 'input' is the image.
        loss: 'ce', cross entropy as every other method has it, or the authors' 'bce': binary cross entropy of the
            softmax, averaged over the classes.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0
    layers: Layers = _DEFAULT_LAYERS
    loss: Literal["ce", "bce"] = "ce"

    name: ClassVar[str] = "manifold-mixup"
    stage: ClassVar[Stage] = "features"
    paper: ClassVar[Paper] = Paper(
        title="Manifold Mixup: Better Representations by Interpolating Hidden States",
        venue="ICML",
        year=2019,
        url="https://arxiv.org/abs/1806.05236",
        code="https://github.com/vikasverma1077/manifold_mixup",
    )

    def install(self, network: "Network") -> None:
        """Check that the network has the layers."""
        network.require_layers(self.layers, self.name)

    def criterion(self, network: "Network | None") -> "Criterion | None":
        """The authors' binary cross entropy where ``loss`` says so."""
        if self.loss == "ce":
            return None
        from eval_suite.training.objective import softmax_bce

        return softmax_bce

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Blend the images of a batch, or make the forward pass blend its maps in the layer drawn."""
        if uniform(context.generator) >= self.prob:
            return Mixed(images, targets)
        layer = _draw(self.layers, context)
        lam = beta(self.alpha, context.generator)
        order = permutation(context.share.total(len(images)), context.generator)

        def blend(maps: "Tensor", context: Context) -> "Tensor":
            return context.share.partners(maps, order).lerp_(maps, lam)

        return Mixed(_in_layer(layer, blend, images, context), mix_targets(targets, order, [lam], context))


@dataclass(frozen=True, config=STRICT)
class FeatureCutMix(Regularizer):
    """CutMix on the feature maps of a layer drawn for each batch; labels are mixed by the area on that map.

    One lambda, one box and one permutation for the whole batch; the box is drawn in the cells of the map. No public
    code exists, and the paper says no more than that the layer is drawn as Manifold Mixup does. The layers 0 to 4 of
    its figure 3 are input, bn1 (behind the first convolution and its BatchNorm), layer1, layer2 and layer3.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
        layers: the pool a layer is drawn from, by module name; 'input' is the image. By default Manifold Mixup's.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0
    layers: Layers = _DEFAULT_LAYERS

    name: ClassVar[str] = "feature-cutmix"
    stage: ClassVar[Stage] = "features"
    paper: ClassVar[Paper] = CUTMIX

    def install(self, network: "Network") -> None:
        """Check that the network has the layers."""
        network.require_layers(self.layers, self.name)

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix the images of a batch, or make the forward pass mix its maps in the layer drawn."""
        if uniform(context.generator) >= self.prob:
            return Mixed(images, targets)
        layer = _draw(self.layers, context)
        lam = beta(self.alpha, context.generator)
        order = permutation(context.share.total(len(images)), context.generator)
        height, width = context.looking().sizes[layer][-2:]
        x, y = (int(integers(side, 1, context.generator)) for side in (width, height))
        box = cutmix_box(height, width, lam, x, y)
        inside = (..., *box.inside)

        def paste(maps: "Tensor", context: Context) -> "Tensor":
            pasted = maps.clone()
            pasted[inside] = context.share.partners(maps[inside], order)
            return pasted

        weight = 1.0 - box.area / (height * width)
        return Mixed(_in_layer(layer, paste, images, context), mix_targets(targets, order, [weight], context))


def _draw(layers: tuple[str, ...], context: Context) -> str:
    return layers[int(integers(len(layers), 1, context.generator))]


def _in_layer(layer: str, change: "Change", images: "Tensor", context: Context) -> "Tensor":
    if layer == _INPUT:
        return change(images, context)
    context.looking().once(layer, change)
    return images
