"""Backbones and options small enough to fine-tune in seconds."""

from pathlib import Path
from typing import Any

import pytest

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net
from eval_suite.core.cards import BackboneCard
from eval_suite.tasks.detect.options import DetectOptions, FasterRcnnOptions, SsdOptions

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


# Small forms of networks of tokens: windows in stages, a plain one with patches of 14, one that takes its own size only.
SWIN = {"img_size": 64, "embed_dim": 8, "depths": (2, 2, 2, 1), "num_heads": (1, 1, 2, 2), "window_size": 4}
EVA = {"img_size": 56, "embed_dim": 24, "depth": 2, "num_heads": 2}
SAM = {
    "img_size": 64,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "global_attn_indexes": (1,),
    "window_size": 2,
}
MIXER = {"img_size": 64}


def make_backbone(arch: str = "resnet14_demo", side: int = 64, **options: Any) -> Backbone:
    net = build_net(arch, 10, options)
    card = BackboneCard(
        name="mine",
        source=arch,
        arch=arch,
        arch_options=options,
        classes=[],
        input_size=(side, side),
        mean=MEAN,
        std=STD,
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
