"""SSD, with its own extra layers or with a feature pyramid."""

from typing import Annotated, ClassVar, Literal

from eval_suite.core.cards import BackboneCard
from eval_suite.core.entries import ONE_FOR_BOTH
from eval_suite.core.records import Paper
from eval_suite.tasks.detect.detectors.base import (
    FPN_CHANNELS,
    Config,
    Detector,
    Level,
    Schedule,
    assigner,
    coder,
    fpn,
    preprocessor,
)

_FIRST, _FROM, _TO = 0.1, 0.2, 0.88  # sides of the smallest anchors, as shares of the input's side


class SsdOptions(Schedule):
    """SSD: one stage, fixed input size, anchors on maps from stride 8 on."""

    input_size: Annotated[tuple[int, int], ONE_FOR_BOTH] = (300, 300)
    """Height and width that images are brought to; one number for a square."""
    augmentation: Literal["published", "flip"] = "published"
    """Published: colours, zoom out, crop by overlap, flip; made for hundreds of epochs, a short schedule learns from flips alone."""
    l2_norm: bool = True
    """Scale the finest map to norm 20 at each place, as the original does."""


class Ssd(Detector):
    """SSD, whose extra layers halve the last map until one place is left.

    With the maps of a ResNet-50's layer2 and layer3 and an input of 300 pixels these are the published maps (38, 19,
    10, 5, 3, 1) and anchors (30 to 264 pixels).

    Reference: Liu et al., SSD, ECCV 2016, sec. 2.2 and 3.1.
    """

    name = "ssd"
    title = "SSD"
    paper = Paper("SSD: Single Shot MultiBox Detector", "ECCV", 2016, "https://arxiv.org/abs/1512.02325")
    options = SsdOptions
    settings = "ssd"
    strides: ClassVar[tuple[int, ...]] = (8, 16)
    schedule: SsdOptions
    _fpn: ClassVar[bool] = False

    def config(self, levels: list[Level], classes: int, card: BackboneCard, *, head: Level | None) -> Config:
        """Maps from the backbone, then extra layers or a pyramid, and anchors on each."""
        side = min(self.schedule.input_size)
        if self._fpn:
            count = max(len(levels), 6)
            strides = [levels[0].stride * 2**i for i in range(count)]
            strides = [stride for stride in strides if stride <= side]
            channels = [FPN_CHANNELS] * len(strides)
            neck = fpn(levels, len(strides), extra="on_output")
        else:
            extra = _extra_layers(-(-side // levels[-1].stride))
            sizes = [level.channels for level in levels]
            channels = sizes + [512, *[256] * len(extra)][: len(extra)]
            strides = [level.stride for level in levels]
            left = -(-side // strides[-1])
            for stride, padding in extra:
                left = (left + 2 * padding - 3) // stride + 1
                strides.append(2 * strides[-1] if padding else round(side / left))
            neck = {
                "type": "SSDNeck",
                "in_channels": sizes,
                "out_channels": channels,
                "level_strides": [stride for stride, _ in extra],
                "level_paddings": [padding for _, padding in extra],
                "l2_norm_scale": 20.0 if self.schedule.l2_norm else None,
            }
        shares = _anchor_shares(len(strides))
        return {
            "type": "SingleStageDetector",
            "data_preprocessor": preprocessor(card, divisor=1),
            "neck": neck,
            "bbox_head": {
                "type": "SSDHead",
                "in_channels": channels,
                "num_classes": classes,
                "anchor_generator": {
                    "type": "SSDAnchorGenerator",
                    "scale_major": False,
                    "strides": strides,
                    "ratios": [
                        [2] if i in (0, len(strides) - 1, len(strides) - 2) else [2, 3]
                        for i in range(len(strides))
                    ],
                    "min_sizes": [share * side for share in shares[:-1]],
                    "max_sizes": [share * side for share in shares[1:]],
                },
                "bbox_coder": coder((0.1, 0.1, 0.2, 0.2)),
            },
            "train_cfg": {
                "assigner": assigner(0.5, 0.5, 0.0) | {"gt_max_assign_all": False},
                "sampler": {"type": "PseudoSampler"},
                "smoothl1_beta": 1.0,
                "allowed_border": -1,
                "pos_weight": -1,
                "neg_pos_ratio": 3,
                "debug": False,
            },
            "test_cfg": {
                "nms_pre": 1000,
                "nms": {"type": "nms", "iou_threshold": 0.45},
                "min_bbox_size": 0,
                "score_thr": 0.01,
                "max_per_img": 200,
            },
        }

    def resize(self) -> Config:
        """To the fixed input size, whatever the shape."""
        height, width = self.schedule.input_size
        return {"type": "Resize", "scale": (width, height), "keep_ratio": False}

    def augmentation(self, fill: tuple[float, ...]) -> list[Config]:
        """Colours, zoom out, crop by overlap, flip.

        Reference: Liu et al., sec. 2.2 and 3.6.
        """
        if self.schedule.augmentation == "flip":
            return super().augmentation(fill)
        return [
            {
                "type": "PhotoMetricDistortion",
                "brightness_delta": 32,
                "contrast_range": (0.5, 1.5),
                "saturation_range": (0.5, 1.5),
                "hue_delta": 18,
            },
            {"type": "Expand", "mean": list(fill), "to_rgb": True, "ratio_range": (1, 4)},
            {"type": "MinIoURandomCrop", "min_ious": (0.1, 0.3, 0.5, 0.7, 0.9), "min_crop_size": 0.3},
            {"type": "RandomFlip", "prob": 0.5},
            self.resize(),
        ]

    @classmethod
    def draw_key(cls) -> int:
        """As it always was, so that a seed gives the same layers."""
        return 1 if cls._fpn else 0


class SsdFpn(Ssd):
    """SSD on a feature pyramid instead of its extra layers."""

    name = "ssd-fpn"
    title = "SSD-FPN"
    strides = (8, 16, 32)
    _fpn = True


def _extra_layers(side: int) -> list[tuple[int, int]]:
    """Stride and padding of the 3x3 convolutions after a map: by halves down to 5, then without a border to 1."""
    layers = []
    while side >= 3:
        halves = side > 5
        layers.append((2, 1) if halves else (1, 0))
        side = (side - 1) // 2 + 1 if halves else side - 2
    return layers


def _anchor_shares(count: int) -> list[float]:
    """Sides of each level's smaller anchors, and one more for the largest: 0.1, then from 0.2 evenly to 0.88 and on."""
    step = (_TO - _FROM) / max(1, count - 2)
    return [_FIRST, *(round(_FROM + step * i, 4) for i in range(count))]
