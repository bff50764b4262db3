"""Maps of vision transformers from their attention, which needs no head that reads the mean of tokens.

Of the published methods LeGrad was taken for maps of a class: it works with any trained transformer, whereas TS-CAM is a head
that has to be trained with the network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.layout import map_of
from eval_suite.backbones.structure.tokens import attention_layers
from eval_suite.core.errors import InputError
from eval_suite.tasks.wsol.maps import ClassMaps, min_max


class _Attention:
    """What both methods look at: attention (N, heads, T, T) of each layer over all tokens.

    Raises:
        InputError: if the network is none of timm's vision transformers.
    """

    title = ""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._layers = [layer for _, layer in attention_layers(backbone.net)]
        if not self._layers or not hasattr(backbone.net, "num_prefix_tokens"):
            raise InputError(
                expected=f"a vision transformer of timm's, whose attention {self.title} reads",
                found=self._network(),
                remedy="choose another --cam-method, such as gradcam",
            )

    def _network(self) -> str:
        card = self._backbone.card
        return f"{type(self._backbone.net).__name__} '{card.name}' ({card.arch})"

    @contextmanager
    def _seen(self) -> Iterator[list[Tensor]]:
        """The attention of each layer while the network runs inside, in order."""
        attention: list[Tensor] = []
        fused = [layer.fused_attn for layer in self._layers]
        handles = [
            layer.attn_drop.register_forward_hook(lambda _layer, _inputs, output: attention.append(output))
            for layer in self._layers
        ]
        try:
            for layer in self._layers:
                layer.fused_attn = False  # the fused kernel never holds the attention
            yield attention
        finally:
            for layer, before in zip(self._layers, fused, strict=True):
                layer.fused_attn = before
            for handle in handles:
                handle.remove()

    def _require_all(self, attention: list[Tensor]) -> None:
        if len(attention) != len(self._layers):
            raise InputError(
                expected=f"attention of {len(self._layers)} layers",
                where=self._backbone.card.arch,
                found=str(len(attention)),
                remedy="choose another --cam-method, such as gradcam",
            )

    def _on_grid(self, of_tokens: Tensor, images: Tensor) -> Tensor:
        """Values (N, T) of all tokens as maps (N, h, w) of the patches."""
        maps = map_of(of_tokens[:, :, None], (images.shape[2], images.shape[3]), self._backbone.net)
        if maps is None:
            raise InputError(
                expected="one token for each patch of the image",
                where=self._backbone.card.arch,
                found=f"{of_tokens.shape[1]} tokens",
                remedy="choose another --cam-method, such as gradcam",
            )
        return min_max(maps[:, 0].float())


class Rollout(_Attention):
    """Attention rollout: the product over layers of (A + I) / 2, A averaged over heads; the same map for every class.

    The row is that of the class token, or the mean of all patches' rows where the network has none.

    Reference: Abnar and Zuidema, ACL 2020, sec. 3.
    """

    title = "rollout"

    @torch.no_grad()
    def __call__(self, images: Tensor, wanted: Tensor | None) -> ClassMaps:
        """Maps in [0, 1] at the resolution of the patches."""
        del wanted  # attention knows no class
        with self._seen() as attention:
            logits = self._backbone(images)
        self._require_all(attention)
        tokens = attention[0].shape[-1]
        identity = torch.eye(tokens, device=images.device)
        rolled = identity
        for layer in attention:
            rolled = (layer.mean(1) + identity) / 2 @ rolled
        prefix = self._backbone.net.num_prefix_tokens
        row = rolled[:, 0] if prefix else rolled.mean(1)
        return ClassMaps(logits.float(), self._on_grid(row, images))


class LeGrad(_Attention):
    """The gradient of a class's score to the attention of each layer, read off that layer's own tokens by the last layers.

    The positive part is averaged over heads and queries, and over layers.

    Reference: Bousselham et al., ICCV 2025 (arXiv 2404.03214), eq. 4-7, with the classifying layers as the head.
    """

    title = "LeGrad"

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        net: Any = backbone.net
        if not all(hasattr(net, name) for name in ("blocks", "norm", "forward_head")):
            raise InputError(
                expected="a vision transformer of timm's with blocks, norm and forward_head, which LeGrad runs after each block",
                found=self._network(),
                remedy="choose another --cam-method, such as gradcam",
            )

    @torch.enable_grad()
    def __call__(self, images: Tensor, wanted: Tensor | None) -> ClassMaps:
        """Maps of the wanted classes, or of the predicted ones, in [0, 1] at the resolution of the patches."""
        net: Any = self._backbone.net
        tokens: list[Tensor] = []
        handles = [
            block.register_forward_hook(lambda _block, _inputs, output: tokens.append(output))
            for block in net.blocks
        ]
        try:
            with self._seen() as attention:
                # Attention needs a gradient also where the weights are frozen.
                logits = self._backbone(images.detach().requires_grad_())
        finally:
            for handle in handles:
                handle.remove()
        self._require_all(attention)
        if wanted is None:
            wanted = logits.argmax(1)
        of_tokens = torch.zeros_like(attention[0][:, 0, 0])
        for of_layer, after in zip(attention, tokens, strict=True):
            scores = net.forward_head(net.norm(after)).gather(1, wanted[:, None])
            (gradient,) = torch.autograd.grad(scores.sum(), of_layer, retain_graph=True)
            of_tokens = of_tokens + gradient.clamp(min=0).mean((1, 2)) / len(attention)
        return ClassMaps(logits.detach().float(), self._on_grid(of_tokens.detach(), images))


ATTENTION_MAPS: dict[str, type[Rollout | LeGrad]] = {"rollout": Rollout, "legrad": LeGrad}
"""By the names in `MapName`."""
