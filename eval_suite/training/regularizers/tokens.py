"""Regularizers made for vision transformers: TransMix and TokenMix."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
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
from eval_suite.training.regularizers.masks import Mask, MaskMix

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from eval_suite.training.network import Network
    from eval_suite.training.regularizers.base import Criterion


@dataclass(frozen=True, config=STRICT)
class TransMix(Regularizer):
    """CutMix whose labels are weighed by the area and by what the class token attends to, half and half.

    Attention is the last block's, from the class token to the patches of the mixed image, averaged over heads; the pasted patches are those of the
    box resized to the grid of patches by the nearest pixel. It is read in the forward pass of the training itself, and no gradient
    flows through it. The authors mix half of the batches by Mixup: ``either: {of: [mixup: {alpha: 0.8}, transmix]}``.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability that a batch is mixed.
    """

    alpha: Alpha = 1.0
    prob: Probability = 1.0

    name: ClassVar[str] = "transmix"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="TransMix: Attend to Mix for Vision Transformers",
        venue="CVPR",
        year=2022,
        url="https://arxiv.org/abs/2111.09833",
        code="https://github.com/Beckschen/TransMix",
    )

    def acts_on_network(self) -> bool:
        """It reads the network's attention."""
        return True

    def install(self, network: "Network") -> None:
        """Have the last block's attention kept in every training pass.

        Raises:
            InputError: if the network has no blocks with a class token.
        """
        net = network.net
        blocks = getattr(net, "blocks", None)
        attention = getattr(blocks[-1], "attn", None) if blocks else None
        if attention is None or not hasattr(attention, "qkv") or getattr(net, "cls_token", None) is None:
            raise InputError(
                f"{self.name} needs a vision transformer of timm with a class token, such as deit_tiny_patch16_224; "
                f"{network.arch} is none"
            )
        prefix = int(net.num_prefix_tokens)  # type: ignore[arg-type]

        def keep(qkv: "Tensor", _context: Context) -> "Tensor":
            network.kept["attention"] = _class_attention(attention, qkv.detach())[:, prefix:]
            return qkv

        network.after(f"blocks.{len(blocks) - 1}.attn.qkv", keep)  # type: ignore[arg-type]

    def criterion(self, network: "Network | None") -> "Criterion":
        """Cross entropy with both labels weighed by area and attention."""
        import torch.nn.functional as F

        assert network is not None

        def loss(logits: "Tensor", targets: "Tensor") -> "Tensor":
            attention = network.kept.pop("attention")
            if targets.ndim == 2:
                return F.cross_entropy(logits, targets)
            pasted, area = network.kept[self.name]
            attended = (attention * pasted).sum(1) / attention.sum(1)
            theirs = ((area + attended) / 2).unsqueeze(1)
            return F.cross_entropy(logits, targets[:, 0] * (1 - theirs) + targets[:, 1] * theirs)

        return loss

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) with itself in another order; the images are overwritten."""
        import torch
        import torch.nn.functional as F

        share, generator, network = context.share, context.generator, context.looking()
        if uniform(generator) >= self.prob:
            return Mixed(images, targets)
        height, width = images.shape[-2:]
        lam = beta(self.alpha, generator)
        order = permutation(share.total(len(images)), generator)
        x, y = (int(integers(side, 1, generator)) for side in (width, height))
        box = cutmix_box(height, width, lam, x, y)
        inside = (..., *box.inside)
        images[inside] = share.partners(images[inside], order)
        pasted = torch.zeros(1, 1, height, width, device=images.device)
        pasted[inside] = 1.0
        grid = network.net.patch_embed.grid_size  # type: ignore[union-attr]
        patches = F.interpolate(pasted, size=tuple(grid), mode="nearest").flatten(1)  # type: ignore[arg-type]
        network.kept[self.name] = patches, box.area / (height * width)
        return Mixed(images, torch.stack((targets, share.partners(targets, order)), 1))


def _class_attention(attention: "nn.Module", qkv: "Tensor") -> "Tensor":
    """(N, tokens): what the first token attends to, averaged over the heads of one of timm's attention layers."""
    heads: int = attention.num_heads  # type: ignore[assignment]
    queries, keys, _ = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    queries, keys = attention.q_norm(queries[:, :, :1]), attention.k_norm(keys)  # type: ignore[operator]
    scores = (queries.float() * attention.scale) @ keys.float().transpose(2, 3)
    mean: Tensor = scores.softmax(3).mean(1)[:, 0]
    return mean


@dataclass(frozen=True, config=STRICT)
class TokenMix(MaskMix):
    """Paste many small blocks of patches of another image instead of one box, and mix the labels by area.

    Blocks of uniform area, with the logarithm of their aspect ratio uniform between those of 0.3 and 1 / 0.3, are added until
    int(share * patches) + ``more`` patches are pasted, or none fits in ten trials. The paper's results weigh each label by what is seen of its image's
    activation map, of a pretrained teacher and normalised to sum to 1; such maps are published for ImageNet's files alone. Here labels
    go by the area, as in its ablation.

    Attributes:
        prob: probability that a batch is mixed.
        per_sample: a mask for each image instead of one for the batch.
        share: of the patches that is pasted.
        more: patches that are pasted beyond the share.
        grid: patches along a side.
        blocks: 'block', or 'random' for single patches.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    more: Annotated[int, Field(ge=0)] = 14
    grid: Annotated[int, Field(ge=2)] = 14
    blocks: Literal["block", "random"] = "block"

    name: ClassVar[str] = "tokenmix"
    paper: ClassVar[Paper] = Paper(
        title="TokenMix: Rethinking Image Mixing for Data Augmentation in Vision Transformers",
        venue="ECCV",
        year=2022,
        url="https://arxiv.org/abs/2207.08409",
        code="https://github.com/Sense-X/TokenMix",
    )

    def mask(self, height: int, width: int, generator: "Generator") -> Mask:
        """Draw which patches stay."""
        import torch

        wanted = min(self.grid**2, int(self.share * self.grid**2) + self.more)
        if self.blocks == "random":
            pasted = torch.zeros(self.grid**2, dtype=torch.bool)
            pasted[permutation(self.grid**2, generator)[:wanted]] = True
            pasted = pasted.view(self.grid, self.grid)
        else:
            pasted = self._blocks(wanted, generator)
        rows, columns = (torch.arange(side) * self.grid // side for side in (height, width))
        keep = ~pasted[rows[:, None], columns[None, :]]
        return Mask(keep.float(), float(keep.double().mean()))

    def _blocks(self, wanted: int, generator: "Generator") -> "Tensor":
        import torch

        pasted = torch.zeros(self.grid, self.grid, dtype=torch.bool)
        trials = 0
        while trials < _TRIALS and (left := wanted - int(pasted.sum())) > 0:
            trials += 1
            area = 1 + (left - 1) * uniform(generator)
            aspect = math.exp(math.log(_ASPECT) * (1 - 2 * uniform(generator)))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (0 < height < self.grid and 0 < width < self.grid):
                continue
            top, begin = (int(integers(self.grid - side + 1, 1, generator)) for side in (height, width))
            block = pasted[top : top + height, begin : begin + width]
            if 0 < int((~block).sum()) <= left:
                block[:] = True
                trials = 0
        return pasted


_ASPECT, _TRIALS = 0.3, 10
