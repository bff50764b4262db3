"""The feature maps of timm's networks at the strides a detector wants, whatever the network is made of."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from eval_suite.backbones.building import build_net
from eval_suite.backbones.structure.sizes import Run, Sizing, find_sizing
from eval_suite.backbones.structure.stages import Cut
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError

# A multiple of all the common sides of patches: 7, 8, 14, 16 and 32.
_WHOLE_CELLS = 224
_COARSEST = 32
# Keeps rounding from taking the last row of a map that is resampled.
_SLACK = 1e-6


class OwnMap(NamedTuple):
    """A feature map that a network gives.

    Its place among them, its channels, the pixels to a cell (down, across), and the power of two nearest to these.
    """

    place: int
    channels: int
    scale: tuple[float, float]
    stride: int


class Source(NamedTuple):
    """A network whose feature maps timm can give.

    ``maps`` are the last of each stride, finest first; ``norm`` tells that the network's final norm belongs to the last
    one, ``size`` an image (H, W) it takes.
    """

    net: nn.Module
    sizing: Sizing
    size: tuple[int, int]
    maps: list[OwnMap]
    norm: bool


@torch.no_grad()
def open_source(net: nn.Module, card: BackboneCard) -> Source | None:
    """Find out which maps a network gives and which image sizes it takes; None where timm cannot give its maps.

    Of the networks that take only the size they were built for, timm can build some for any size with the same weights
    (``dynamic_img_size``: position embeddings are resampled for each image, windows masked at its edges). All others
    see an image in tiles of their own size; timm's ``set_input_size`` would put other weights in the place of theirs.

    Args:
        net: the classifier, in evaluation mode on the CPU.
        card: its card.
    """
    if not hasattr(net, "forward_intermediates"):
        return None
    own = card.input_size
    norm = _maps_or_none(net, own, norm=True) is not None
    if not norm and _maps_or_none(net, own, norm=False) is None:
        return None
    sizing = find_sizing(_runner(net, norm), own)
    if sizing is None:
        flexible = _flexible(net, card, norm)
        sizing = find_sizing(_runner(flexible, norm), own) if flexible is not None else None
        net = flexible if flexible is not None and sizing is not None else net
    sizing = sizing or Sizing(own, tiled=True)
    size = own if sizing.tiled else _whole(sizing.unit)
    maps = _own_maps(_runner(net, norm)(torch.zeros(1, 3, *size)), size)
    if not sizing.tiled:
        sizing = Sizing((_covering(sizing.unit[0], maps, 0), _covering(sizing.unit[1], maps, 1)))
    return Source(net, sizing, size, maps, norm)


class Pyramid(Cut):
    """A network's own maps at the strides it has, and maps made of its finest or its next finer one at the others.

    As in ViTDet's simple feature pyramid, a finer map is a transposed convolution of the finest (2x2, stride 2, half the
    channels; layer norm and GELU between two of them) and a coarser one a max pooling by two. Where a network's cells
    are no power of two wide, as patches of 14 pixels, its maps are first resampled bilinearly.

    Args:
        source: the network, which is pruned of what the maps do not need.
        strides: powers of two, of the maps to give, finest first.
        frozen_norm: batch normalisation keeps its statistics, and its weights do not learn.
        frozen_stride: what maps up to this stride are computed with does not learn, unless they are the network's last.

    Reference: Li et al., Exploring Plain Vision Transformer Backbones for Object Detection, ECCV 2022, sec. 3.
    """

    def __init__(
        self, source: Source, strides: tuple[int, ...], *, frozen_norm: bool, frozen_stride: int = 0
    ) -> None:
        super().__init__(frozen_norm=frozen_norm)
        self.net = source.net
        self.strides = strides
        self.sizing = source.sizing
        self._taken = [_nearest(source.maps, stride) for stride in strides]
        self.scaling = nn.ModuleList(
            _scaling(taken, stride) for taken, stride in zip(self._taken, strides, strict=True)
        )
        self._places = sorted({taken.place for taken in self._taken})
        self._norm = source.norm and source.maps[-1].place in self._places
        self._indices = self._prune(source.size)
        self.freeze_norm()
        self._freeze(source, frozen_stride)

    @property
    def channels(self) -> list[int]:
        """Channels of each map."""
        return [
            taken.channels * min(stride, taken.stride) // taken.stride
            for taken, stride in zip(self._taken, self.strides, strict=True)
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps (N, C, ceil(H / stride), ceil(W / stride)) of normalised images (N, 3, H, W)."""
        padded = self.sizing.pad(images, max(taken.stride for taken in self._taken))
        own = self._own(self.sizing.cut(padded))
        maps = []
        for taken, stride, scaling in zip(self._taken, self.strides, self.scaling, strict=True):
            whole = scaling(_resampled(self.sizing.join(own[taken.place], padded), taken))
            height, width = (-(-side // stride) for side in images.shape[-2:])
            maps.append(whole[..., :height, :width])
        return tuple(maps)

    def said(self) -> str:
        """What the maps are made of, in words for the load report."""
        made = []
        for taken, stride in zip(self._taken, self.strides, strict=True):
            how = "deconvolved" if stride < taken.stride else "pooled"
            made.append(str(stride) if stride == taken.stride else f"{stride} ({how} from {taken.stride})")
        tiles = f", in tiles of {self.sizing.unit[0]}x{self.sizing.unit[1]}" if self.sizing.tiled else ""
        return f"maps at strides {', '.join(made)} from the network itself{tiles}"

    def _own(self, images: Tensor) -> dict[int, Tensor]:
        """The network's maps that are needed, by their places."""
        maps = _intermediates(self.net, images, norm=self._norm, indices=self._indices)
        places = self._places if self._indices is not None else range(len(maps))
        return dict(zip(places, maps, strict=True))

    def _prune(self, size: tuple[int, int]) -> list[int] | None:
        """Have timm take out the layers behind the last map; the numbers by which it then gives the maps.

        None, for all maps, with networks that number them in a way of their own.
        """
        found = _maps_or_none(self.net, size, norm=self._norm, indices=self._places)
        if found is None or len(found) != len(self._places):
            return None
        if not hasattr(self.net, "prune_intermediate_layers"):
            return self._places
        prune: Any = self.net.prune_intermediate_layers
        return list(prune(self._places, prune_norm=not self._norm))

    def _freeze(self, source: Source, stride: int) -> None:
        """Keep from learning what is to be frozen, and what no map depends on: several processes would wait for it."""
        with torch.enable_grad():
            maps = self.eval()._own(torch.zeros(1, 3, *source.size))  # noqa: SLF001 - of its own class, as eval() returns it
            weights = [weight for weight in self.net.parameters() if weight.requires_grad]
            reached = _reached([maps[place] for place in self._places], weights)
            early = [
                maps[own.place]
                for own in source.maps[:-1]
                if own.place in self._places and own.stride <= stride
            ]
            frozen = _reached(early, weights)
        for weight, used, kept in zip(weights, reached, frozen, strict=True):
            weight.requires_grad_(used and not kept)


def _runner(net: nn.Module, norm: bool) -> Run:
    return lambda images: _intermediates(net, images, norm=norm)


def _intermediates(
    net: nn.Module, images: Tensor, *, norm: bool, indices: list[int] | None = None
) -> list[Tensor]:
    maps: list[Tensor] = net.forward_intermediates(  # type: ignore[operator]
        images, indices=indices, norm=norm, output_fmt="NCHW", intermediates_only=True
    )
    return maps


@torch.no_grad()
def _maps_or_none(
    net: nn.Module, size: tuple[int, int], *, norm: bool, indices: list[int] | None = None
) -> list[Tensor] | None:
    """A network's maps of a blank image; None where it refuses."""
    try:
        return _intermediates(net, torch.zeros(1, 3, *size), norm=norm, indices=indices)
    except Exception:  # noqa: BLE001 - each network has its own way to refuse
        return None


def _whole(unit: tuple[int, int]) -> tuple[int, int]:
    """A size at which every cell is whole, so that a patch of 16 pixels is not taken for one of 15.8."""
    height, width = (each if each > _COARSEST else math.lcm(each, _WHOLE_CELLS) for each in unit)
    return height, width


def _covering(unit: int, maps: list[OwnMap], side: int) -> int:
    """A unit at which cells that are no power of two wide cover an image: some networks leave out what is left over."""
    wide = (round(each.scale[side]) for each in maps if each.scale[side] != each.stride <= _COARSEST)
    return math.lcm(unit, *wide)


def _own_maps(maps: Sequence[Tensor], size: tuple[int, int]) -> list[OwnMap]:
    found: dict[int, OwnMap] = {}
    for place, each in enumerate(maps):
        scale = (size[0] / each.shape[2], size[1] / each.shape[3])
        stride = 2 ** round(math.log2(scale[0] * scale[1]) / 2)
        found[stride] = OwnMap(place, each.shape[1], scale, stride)
    return [found[stride] for stride in sorted(found)]


@torch.no_grad()
def _flexible(net: nn.Module, card: BackboneCard, norm: bool) -> nn.Module | None:
    """The same network built for images of any size; None where timm has no such form of it."""
    options = {**card.arch_options, "dynamic_img_size": True}
    try:
        equivalent = build_net(card.arch, card.num_classes, options).eval()
        equivalent.load_state_dict(net.state_dict())
    except (InputError, RuntimeError):
        return None
    image = torch.randn(1, 3, *card.input_size, generator=torch.Generator().manual_seed(0))
    same = (
        torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))
        for a, b in zip(_runner(net, norm)(image), _runner(equivalent, norm)(image), strict=True)
    )
    return equivalent if all(same) else None


def _nearest(maps: list[OwnMap], stride: int) -> OwnMap:
    """The map at a stride, or the next finer one, or the finest."""
    return next((each for each in reversed(maps) if each.stride <= stride), maps[0])


def _scaling(taken: OwnMap, stride: int) -> nn.Module:
    """From a map's stride to another."""
    if stride >= taken.stride:
        times = (stride // taken.stride).bit_length() - 1
        return nn.Sequential(*(nn.MaxPool2d(2, 2, ceil_mode=True) for _ in range(times)))
    layers: list[nn.Module] = []
    channels = taken.channels
    for left in range((taken.stride // stride).bit_length() - 2, -1, -1):
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, 2))
        channels //= 2
        if left:
            layers += [LayerNorm2d(channels), nn.GELU()]
    return nn.Sequential(*layers)


def _resampled(maps: Tensor, taken: OwnMap) -> Tensor:
    """Maps whose cells are as wide as their stride says."""
    if taken.scale == (taken.stride, taken.stride):
        return maps
    factors = [scale / taken.stride * (1 + _SLACK) for scale in taken.scale]
    return F.interpolate(maps, scale_factor=factors, mode="bilinear", recompute_scale_factor=False)


def _reached(maps: list[Tensor], weights: list[nn.Parameter]) -> list[bool]:
    """Which weights maps depend on."""
    if not maps:
        return [False] * len(weights)
    total = torch.stack([each.sum() for each in maps]).sum()
    gradients = torch.autograd.grad(total, weights, allow_unused=True, retain_graph=True)
    return [gradient is not None for gradient in gradients]
