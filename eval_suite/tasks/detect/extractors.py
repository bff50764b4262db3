"""What of a classifier a detector runs: MMDetection's equivalent of it, its parts, or its maps as timm gives them."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.stages import Part, Tail, Trunk, ends_of_stages, parts_of
from eval_suite.core.errors import InputError, first_line
from eval_suite.tasks.detect.detectors.base import Detector, Level
from eval_suite.tasks.detect.detectors.faster_rcnn import ROI_SIDE
from eval_suite.tasks.detect.openmmlab import quiet
from eval_suite.tasks.detect.pyramid import Pyramid, open_source
from eval_suite.tasks.detect.resnets import own_resnet


class FeatureExtractor(NamedTuple):
    """The network in a detector.

    ``backbone`` is the module, or the config of MMDetection's own; ``levels`` are the maps it gives; ``tail`` is the last
    stage for the C4 head and ``head`` what it makes of a region; ``said`` tells where the maps come from.
    """

    backbone: nn.Module | dict[str, Any]
    levels: list[Level]
    said: str
    tail: Tail | None = None
    head: Level | None = None


def extractor_for(
    detector: Detector, backbone: Backbone, *, frozen_norm: bool, native: bool = True
) -> FeatureExtractor:
    """Get a classifier ready for a detector; the classifier stays as it is.

    Args:
        detector: which one.
        backbone: the classifier.
        frozen_norm: batch normalisation keeps its statistics and weights.
        native: take MMDetection's own network where it is the same as the classifier's.

    Raises:
        InputError: if it gives no feature maps that the detector could use.
    """
    card = backbone.card
    refusal = InputError(
        f"backbone '{card.name}' ({card.arch}) has no feature maps of height and width, which {detector.title} needs, nor "
        "does timm's forward_intermediates give any; choose a convolutional backbone or another of timm's"
    )
    net = _copied(backbone)
    if card.feature_layer is not None:
        try:
            parts = parts_of(net, card.feature_layer)
            taps = _taps(detector, ends_of_stages(parts), card.name)
            _require_whole_stages(net, taps)
        except InputError as error:
            refusal = error
        else:
            body = _cut(detector, net, parts, taps, frozen_norm, native)
            if body is not None:
                return body
            refusal = InputError(
                f"backbone '{card.name}' ({card.arch}) takes images of some sizes only; {detector.title} needs one that "
                "takes any"
            )
    if not hasattr(backbone.net, "forward_intermediates"):
        raise refusal
    if detector.last_stage_on_regions:
        raise InputError(
            f"backbone '{card.name}' ({card.arch}) has no last stage that could run on regions by itself, as "
            f"{detector.title} needs; choose the detector faster-rcnn-fpn"
        )
    source = open_source(_copied(backbone), card)
    if source is None:
        raise refusal
    own = [each.stride for each in source.maps]
    # Finer than 8 only where the network has it: made of a coarser map it would cost much and tell little.
    strides = tuple(stride for stride in detector.strides if stride >= 8 or stride in own)
    frozen_stride = detector.frozen_stride(strides[-1])
    pyramid = Pyramid(source, strides, frozen_norm=frozen_norm, frozen_stride=frozen_stride)
    levels = [Level(*pair) for pair in zip(pyramid.channels, strides, strict=True)]
    return FeatureExtractor(pyramid, levels, pyramid.said())


def _cut(
    detector: Detector, net: nn.Module, parts: list[Part], taps: list[Part], frozen_norm: bool, native: bool
) -> FeatureExtractor | None:
    """A network made of parts one after the other; None if it takes too few sizes of images."""
    levels = [Level(part.channels, part.stride) for part in taps]
    places = ", ".join(part.name for part in taps)
    frozen_stride = detector.frozen_stride(max(part.stride for part in taps))
    tail = None
    if detector.last_stage_on_regions:
        tail = Tail(net, parts, taps[-1].name, frozen_norm=frozen_norm)
    head = None
    if tail is not None:
        side = _side_of_regions(tail, taps[-1].channels)
        head = Level(parts[-1].channels, parts[-1].stride // levels[-1].stride, side)
    own = _own_backbone(net, taps, frozen_norm, frozen_stride) if native else None
    if own is not None:
        equivalent = f"MMDetection's {own['type']}-{own['depth']}"
        return FeatureExtractor(own, levels, f"maps of {places} from {equivalent}", tail, head)
    names = [part.name for part in taps]
    trunk = Trunk(net, parts, names, frozen_norm=frozen_norm, frozen_stride=frozen_stride)
    if trunk.sizing is None:
        return None
    return FeatureExtractor(trunk, levels, f"maps of {places} from the network itself", tail, head)


def _require_whole_stages(net: nn.Module, taps: list[Part]) -> None:
    """Refuse maps from inside of what timm names a stage: such a stage gives more than its map, so no hook sees it."""
    told = getattr(net, "feature_info", ())
    stages = [info.get("module", "") for info in getattr(told, "info", told)]
    inside = next(
        (tap.name for tap in taps if any(tap.name.startswith(f"{stage}.") for stage in stages)), None
    )
    if inside is not None:
        raise InputError(f"the network's stages give more than a feature map each (found '{inside}' in one)")


@torch.no_grad()
def _side_of_regions(tail: Tail, channels: int) -> int:
    """The side of what the last stage makes of a region: strides round up or down, as a network pads."""
    try:
        made: Tensor = tail.eval()(torch.zeros(1, channels, ROI_SIDE, ROI_SIDE))
    except Exception as error:
        raise InputError(
            f"the network's last stage takes no regions of {ROI_SIDE}x{ROI_SIDE} ({first_line(error)}); "
            "choose the detector faster-rcnn-fpn"
        ) from error
    return made.shape[-1]


def _taps(detector: Detector, ends: list[Part], backbone: str) -> list[Part]:
    """The parts whose maps a detector takes."""
    if len(ends) < 2:
        raise InputError(
            f"backbone '{backbone}' gives feature maps of {len(ends)} size, but {detector.title} needs two or more; "
            "choose a backbone with several stages"
        )
    return detector.taken(ends)


def _own_backbone(
    net: nn.Module, taps: list[Part], frozen_norm: bool, frozen_stride: int
) -> dict[str, Any] | None:
    """MMDetection's ResNet where the taps are ends of its stages and the network is the same."""
    names = [part.name for part in taps]
    numbers = tuple(int(name[-1]) - 1 for name in names if name in ("layer1", "layer2", "layer3", "layer4"))
    if len(numbers) < len(names):
        return None
    with quiet():
        config = own_resnet(net, stages=max(numbers) + 1, out=numbers)
    if config is None:
        return None
    norm = {"type": "BN", "requires_grad": not frozen_norm}
    return {**config, "norm_cfg": norm, "norm_eval": frozen_norm, "frozen_stages": 1 if frozen_stride else -1}


def _copied(backbone: Backbone) -> nn.Module:
    return copy.deepcopy(backbone.net).cpu().float().eval()
