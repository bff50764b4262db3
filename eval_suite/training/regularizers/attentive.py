"""Attentive CutMix: the patches to which a pretrained network responds are pasted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import (
    STRICT,
    Context,
    Mixed,
    Probability,
    Regularizer,
    Stage,
)
from eval_suite.training.regularizers.draws import permutation, uniform
from eval_suite.training.regularizers.mixing import mix_targets

if TYPE_CHECKING:
    from torch import Tensor

    from eval_suite.backbones.backbone import Backbone
    from eval_suite.training.network import Network


@dataclass(frozen=True, config=STRICT)
class AttentiveCutMix(Regularizer):
    """Paste the cells of another image to which a pretrained network responds most, and mix the labels by area.

    The last feature map (C, h, w) of the partner, averaged over its channels, is a grid; its ``top_k`` largest cells are pasted
    where they are. One extra forward pass of the extractor, in evaluation mode. The authors' code takes the map's last
    channel alone, and OpenMixup draws top_k from a Beta distribution by default.

    Attributes:
        top_k: cells that are pasted.
        prob: probability that a batch is mixed.
        extractor: source of the pretrained network, as ``--backbone`` takes it; null for the network in training.
        layer: the layer with the map, by default the last one. For images of 32 pixels the authors take ``layer1`` of
            the ResNet-50, which has 8x8 cells.
    """

    top_k: Annotated[int, Field(ge=1)] = 6
    prob: Probability = 1.0
    extractor: str | None = "torchvision:resnet50/IMAGENET1K_V1"
    layer: str | None = None

    name: ClassVar[str] = "attentive-cutmix"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="Attentive CutMix: An Enhanced Data Augmentation Approach for Deep Learning Based Image Classification",
        venue="ICASSP",
        year=2020,
        url="https://arxiv.org/abs/2003.13048",
        code="https://github.com/xden2331/attentive_cutmix",
    )

    def acts_on_network(self) -> bool:
        """It looks at images with the network, or keeps another one next to it."""
        return True

    def files(self) -> list[str]:
        """The files of the extractor that are here: weights, code, or a checkpoint's."""
        source, _, weights = (self.extractor or "").partition("@")
        named = [weights, source.rpartition(":")[0], f"{source}/model.safetensors"]
        return [path for path in named if path and Path(path).is_file()]

    def install(self, network: "Network") -> None:
        """Load the extractor, and see that its map has as many cells.

        Raises:
            InputError: if it has none, or too few.
            EvalSuiteError: if the extractor cannot be loaded.
        """
        if network.backbone is None:
            return
        extractor = self._load(network)
        import torch

        from eval_suite.backbones.structure.hooks import evaluating

        _, height, width = network.sizes["input"]
        with evaluating(extractor):
            cells = extractor.features(torch.zeros(1, 3, height, width)).shape[-2:]
        if cells.numel() <= self.top_k:
            raise InputError(
                f"{self.name}: expected a map of more than {self.top_k} cells (top_k) of {height}x{width} images, found "
                f"{cells[0]}x{cells[1]}; name an earlier layer with 'layer', or lower top_k"
            )
        network.kept[self.name] = extractor

    def _load(self, network: "Network") -> "Backbone":
        if self.extractor is not None:
            from eval_suite.backbones.sources import load_backbone

            return load_backbone(self.extractor, feature_layer=self.layer)
        backbone = network.backbone
        assert backbone is not None
        if self.layer is None:
            return backbone
        from eval_suite.backbones.backbone import Backbone

        network.require_layers((self.layer,), self.name)
        return Backbone(backbone.net, backbone.card.model_copy(update={"feature_layer": self.layer}))

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order."""
        import torch

        from eval_suite.training.distributed import share_buffers

        share = context.share
        if uniform(context.generator) >= self.prob:
            return Mixed(images, targets)
        order = permutation(share.total(len(images)), context.generator)
        extractor = context.looking().kept[self.name].to(images.device)
        if self.extractor is None:
            share_buffers(extractor)
        attention = _last_map(extractor, images).mean(1)
        cells = torch.zeros_like(attention, dtype=torch.bool).flatten(1)
        cells.scatter_(1, attention.flatten(1).topk(self.top_k).indices, value=True)
        cells = share.partners(cells.byte(), order).bool().view_as(attention)
        rows, columns = (
            torch.arange(side, device=images.device) * parts // side
            for side, parts in zip(images.shape[-2:], attention.shape[-2:], strict=True)
        )
        pasted = cells[:, rows[:, None], columns[None, :]].unsqueeze(1)
        kept = 1.0 - pasted.double().mean((1, 2, 3))
        mixed = share.partners(images, order).where(pasted, images)
        return Mixed(mixed, mix_targets(targets, order, kept.tolist(), context))


def _last_map(extractor: "Backbone", images: "Tensor") -> "Tensor":
    from eval_suite.backbones.structure.hooks import evaluating

    with evaluating(extractor):
        return extractor.features(images).float()
