"""Backbones and options small enough to fine-tune in seconds."""

from pathlib import Path
from typing import Any

import pytest

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.sources import build_net, finish
from eval_suite.core.records import BackboneCard
from eval_suite.detection.options import DetectOptions, FasterRcnnOptions, SsdOptions

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def make_backbone(arch: str = "resnet14_demo", **options: Any) -> Backbone:
    net = build_net(arch, 10, options)
    card = BackboneCard(
        name="mine", source=arch, arch=arch, classes=[], input_size=(64, 64), mean=MEAN, std=STD
    )
    return finish(net, card)


@pytest.fixture(scope="session")
def tiny_backbone() -> Backbone:
    return make_backbone(blocks=1, channels=(4, 8, 16))


def small_options(data: Path | str = "", **changes: Any) -> DetectOptions:
    small = {"batch_size": 2, "warmup": 0}
    return DetectOptions(
        data=f"voc:{data}",
        iterations=3,
        ssd=SsdOptions(input_size=(64, 64), **small),
        faster_rcnn=FasterRcnnOptions(short_side=64, long_side=86, regions=8, **small),
    ).model_copy(update=changes)
