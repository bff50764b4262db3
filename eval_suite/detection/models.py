"""A detector from a backbone: its config with the backbone put in, and proof that the backbone's weights arrived."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.runtime import derive_seed
from eval_suite.detection.configs import Config, Level, faster_rcnn_config, ssd_config
from eval_suite.detection.openmmlab import keep_float32_between_parts, load_openmmlab, quiet
from eval_suite.detection.options import TITLES, DetectOptions
from eval_suite.detection.resnets import own_resnet
from eval_suite.detection.stages import Part, Tail, Trunk, ends_of_stages, parts_of

_INITIAL = 0xDE7EC7
_LISTED = 6
_SSD_STRIDES = (8, 16)
_FINEST_OF_PYRAMID = {"ssd-fpn": 8, "faster-rcnn-fpn": 4}


class Detector(NamedTuple):
    """A detector ready to be fine-tuned, and a sentence on which weights it got from where."""

    model: nn.Module
    loaded: str


def build_detector(
    name: str, backbone: Backbone, classes: int, options: DetectOptions, *, seed: int, native: bool = True
) -> Detector:
    """Put a backbone into a detector; its other layers are drawn from the seed.

    Args:
        name: a key of `TITLES`.
        backbone: the classifier, which stays as it is.
        classes: number of object classes.
        options: the task's.
        seed: decides the new layers.
        native: take MMDetection's own network where it is the same as the classifier's.

    Raises:
        InputError: if the backbone gives no feature maps that the detector could use.
        EvalSuiteError: if a weight of the detector's backbone was not loaded from the classifier's.
    """
    load_openmmlab()
    layer = backbone.card.feature_layer
    if layer is None:
        raise InputError(
            f"backbone '{backbone.card.name}' ({backbone.card.arch}) has no feature maps of height and width, which "
            f"{TITLES[name]} needs; choose a convolutional backbone"
        )
    net = copy.deepcopy(backbone.net).cpu().float().eval()
    parts = parts_of(net, layer)
    taps = _taps(name, ends_of_stages(parts), backbone.card.name)
    levels = [Level(part.channels, part.stride) for part in taps]
    frozen_norm = options.schedule(name).batch_norm == "frozen"
    # Faster R-CNN keeps the stem and the first stage of a ResNet as they are: a quarter of its base's stride.
    frozen_stride = 0 if name.startswith("ssd") else max(part.stride for part in taps) // 4
    tail = Tail(net, parts, taps[-1].name, frozen_norm=frozen_norm) if name == "faster-rcnn-c4" else None
    config = _config(name, levels, classes, backbone, options, parts, tail)
    own = _own_backbone(net, taps, frozen_norm, frozen_stride) if native else None
    if own is not None:
        config["backbone"] = own
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, list(TITLES).index(name), _INITIAL))
        model = _assembled(config, net, parts, taps, tail, frozen_norm, frozen_stride)
        model.init_weights()
    keep_float32_between_parts(model)
    said = _load(model, backbone.net, tail_names=[part.name for part in parts[_place(parts, taps[-1]) + 1 :]])
    how = f"MMDetection's {own['type']}-{own['depth']}" if own is not None else "the network itself"
    return Detector(model, f"{TITLES[name]}: {said}; maps of {', '.join(p.name for p in taps)} from {how}")


def _taps(name: str, ends: list[Part], backbone: str) -> list[Part]:
    """The parts whose maps a detector takes."""
    if len(ends) < 2:
        raise InputError(
            f"backbone '{backbone}' gives feature maps of {len(ends)} size, but {TITLES[name]} needs two or more; "
            "choose a backbone with several stages"
        )
    if name == "faster-rcnn-c4":
        return [ends[-2]]
    if name == "ssd":
        wanted = [end for end in ends if end.stride in _SSD_STRIDES]
        return wanted if len(wanted) == len(_SSD_STRIDES) else ends[-2:]
    fine = [end for end in ends if _FINEST_OF_PYRAMID[name] <= end.stride <= 32]
    return fine if len(fine) > 1 else ends[-2:]


def _config(
    name: str,
    levels: list[Level],
    classes: int,
    backbone: Backbone,
    options: DetectOptions,
    parts: list[Part],
    tail: Tail | None,
) -> Config:
    if name.startswith("ssd"):
        return ssd_config(levels, classes, backbone.card, options.ssd, fpn=name == "ssd-fpn")
    head = Level(parts[-1].channels, parts[-1].stride // levels[-1].stride) if tail is not None else None
    return faster_rcnn_config(levels, classes, backbone.card, options.faster_rcnn, head=head)


def _own_backbone(net: nn.Module, taps: list[Part], frozen_norm: bool, frozen_stride: int) -> Config | None:
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


def _assembled(
    config: Config,
    net: nn.Module,
    parts: list[Part],
    taps: list[Part],
    tail: Tail | None,
    frozen_norm: bool,
    frozen_stride: int,
) -> Any:
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    given = "backbone" in config
    # A network that is there already is no config; it takes the place of a small one.
    stand_in: Config = {} if given else {"backbone": {"type": "ResNet", "depth": 18, "base_channels": 8}}
    model = MODELS.build(ConfigDict({**config, **stand_in}))
    if not given:
        names = [part.name for part in taps]
        model.backbone = Trunk(net, parts, names, frozen_norm=frozen_norm, frozen_stride=frozen_stride)
    if tail is not None:
        model.roi_head.shared_head = tail
    return model


def _load(model: Any, net: nn.Module, tail_names: list[str]) -> str:
    """Load the classifier's weights into the detector's backbone and head, and see that each one arrived.

    Raises:
        EvalSuiteError: listing the keys that did not.
    """
    theirs = net.state_dict()
    source: dict[str, str] = {}
    for key in model.backbone.state_dict():
        source[f"backbone.{key}"] = key.removeprefix("net.")
    head = getattr(getattr(model, "roi_head", None), "shared_head", None)
    if head is not None:
        names = {name.replace(".", "_"): name for name in tail_names}
        for key in head.state_dict():
            part, _, rest = key.removeprefix("parts.").partition(".")
            source[f"roi_head.shared_head.{key}"] = f"{names[part]}.{rest}"
    own = model.state_dict()
    missing = [
        key
        for key, origin in source.items()
        if origin not in theirs or theirs[origin].shape != own[key].shape
    ]
    if not missing:
        model.load_state_dict({key: theirs[origin] for key, origin in source.items()}, strict=False)
        missing = [
            key
            for key, origin in source.items()
            if not torch.equal(model.state_dict()[key], theirs[origin].cpu())
        ]
    if missing:
        shown = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        raise EvalSuiteError(
            f"{len(missing)} of {len(source)} weights of the detector's backbone did not arrive from the classifier: {shown}"
        )
    return f"all {len(source)} weights and buffers of its backbone loaded{_left(theirs, source)}"


def _left(theirs: Mapping[str, Tensor], source: dict[str, str]) -> str:
    """Which of the classifier's layers the detector has no use for."""
    used = set(source.values())
    unused = list(dict.fromkeys(key.split(".")[0] for key in theirs if key not in used))
    return f" (not used: {', '.join(unused)})" if unused else ""


def _place(parts: list[Part], part: Part) -> int:
    return [other.name for other in parts].index(part.name)
