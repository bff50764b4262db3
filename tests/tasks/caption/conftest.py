"""A small backbone, the demo world's captions, and options of a fit that takes a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net
from eval_suite.core.cards import BackboneCard
from eval_suite.data.coco import CaptionSet, open_captions
from eval_suite.tasks.caption.options import CaptionOptions

ARCH, ARCH_OPTIONS = "resnet14_demo", {"blocks": 1, "channels": [4, 8, 16]}
MakeBackbone = Callable[..., Backbone]


@pytest.fixture(scope="session")
def coco(demo_world: Path) -> str:
    return f"coco:{demo_world / 'coco'}"


@pytest.fixture(scope="session")
def captions(coco: str) -> CaptionSet:
    return open_captions(coco, "train2014")


@pytest.fixture
def make_backbone() -> MakeBackbone:
    """The backbone of a seed; the same weights every time."""

    def make(seed: int = 0) -> Backbone:
        torch.manual_seed(seed)
        net = build_net(ARCH, 10, ARCH_OPTIONS)
        card = BackboneCard(
            name="tiny",
            source=f"seed {seed}",
            arch=ARCH,
            arch_options=ARCH_OPTIONS,
            classes=[],
            input_size=(64, 64),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        )
        return finish(net, card)

    return make


@pytest.fixture
def make_options(coco: str) -> Callable[..., CaptionOptions]:
    def make(**changes: Any) -> CaptionOptions:
        settings = {
            "data": coco,
            "embed": 8,
            "hidden": 16,
            "epochs": 2,
            "min_count": 2,
            "dropout": 0.3,
            "beam": 3,
        }
        return CaptionOptions(**{**settings, **changes})

    return make
