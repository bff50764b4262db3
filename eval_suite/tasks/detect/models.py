"""A detector from a backbone: its config with the backbone put in, and proof that the backbone's weights arrived."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.runtime import derive_seed
from eval_suite.tasks.detect.detectors.base import Config, Detector
from eval_suite.tasks.detect.extractors import FeatureExtractor, extractor_for
from eval_suite.tasks.detect.openmmlab import keep_float32_between_parts, load_openmmlab, quiet
from eval_suite.tasks.detect.pyramid import Pyramid

_INITIAL, _SCALING = 0xDE7EC7, 0x5CA1E
_LISTED = 6


class Assembled(NamedTuple):
    """A detector ready to be fine-tuned, and a sentence on which weights it got from where."""

    model: nn.Module
    loaded: str


def build_detector(
    detector: Detector, backbone: Backbone, classes: int, *, seed: int, native: bool = True
) -> Assembled:
    """Put a backbone into a detector; its other layers are drawn from the seed.

    Args:
        detector: which one, with its settings.
        backbone: the classifier, which stays as it is.
        classes: number of object classes.
        seed: decides the new layers.
        native: take MMDetection's own network where it is the same as the classifier's.

    Raises:
        InputError: if the backbone gives no feature maps that the detector could use.
        EvalSuiteError: if a weight of the detector's backbone was not loaded from the classifier's.
    """
    load_openmmlab()
    frozen_norm = detector.schedule.batch_norm == "frozen"
    place = detector.draw_key()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, place, _SCALING))
        body = extractor_for(detector, backbone, frozen_norm=frozen_norm, native=native)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, place, _INITIAL))
        model = _assembled(detector.config(body.levels, classes, backbone.card, head=body.head), body)
        model.init_weights()
    keep_float32_between_parts(model)
    return Assembled(model, f"{detector.title}: {_load(model, backbone.net)}; {body.said}")


def _assembled(config: Config, body: FeatureExtractor) -> Any:
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    given = isinstance(body.backbone, nn.Module)
    # A network that is there already is no config; it takes the place of a small one.
    described = {"type": "ResNet", "depth": 18, "base_channels": 8} if given else body.backbone
    model = MODELS.build(ConfigDict({**config, "backbone": described}))
    if given:
        model.backbone = body.backbone
    if body.tail is not None:
        model.roi_head.shared_head = body.tail
    return model


def _load(model: Any, net: nn.Module) -> str:
    """Load the classifier's weights into the detector's backbone and head, and see that each one arrived.

    Raises:
        EvalSuiteError: listing the keys that did not.
    """
    theirs = net.state_dict()
    source: dict[str, str] = {}
    for key in model.backbone.state_dict():
        if isinstance(model.backbone, Pyramid) and not key.startswith("net."):
            continue  # layers that make maps of other strides, which no classifier has
        source[f"backbone.{key}"] = key.removeprefix("net.")
    head = getattr(getattr(model, "roi_head", None), "shared_head", None)
    if head is not None:
        for key in head.state_dict():
            part, _, rest = key.removeprefix("parts.").partition(".")
            source[f"roi_head.shared_head.{key}"] = f"{head.names[part]}.{rest}"
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
