"""The detectors as MMDetection's configs, made from the task's options.

Backbone and, for the C4 head, last stage are put in by `eval_suite.tasks.detect.models`; all else is here.
"""

from typing import Any, NamedTuple

from eval_suite.core.records import BackboneCard
from eval_suite.tasks.detect.options import FasterRcnnOptions, SsdOptions

_SSD_FIRST, _SSD_FROM, _SSD_TO = (
    0.1,
    0.2,
    0.88,
)  # sides of the smallest anchors, as shares of the input's side
_FPN_CHANNELS = 256
_RPN_CHANNELS = 512
ROI_SIDE = 7
Config = dict[str, Any]


class Level(NamedTuple):
    """A feature map the detector takes from the backbone."""

    channels: int
    stride: int


def ssd_config(
    levels: list[Level], classes: int, card: BackboneCard, options: SsdOptions, *, fpn: bool
) -> Config:
    """SSD, whose extra layers halve the last map until one place is left.

    With the maps of a ResNet-50's layer2 and layer3 and an input of 300 pixels these are the published maps (38, 19,
    10, 5, 3, 1) and anchors (30 to 264 pixels).

    Args:
        levels: the maps of the backbone, finest first.
        classes: number of classes.
        card: the backbone's, for the normalisation.
        options: the task's.
        fpn: a feature pyramid instead of the extra layers.

    Reference: Liu et al., SSD, ECCV 2016, sec. 2.2 and 3.1.
    """
    side = min(options.input_size)
    if fpn:
        count = max(len(levels), 6)
        strides = [levels[0].stride * 2**i for i in range(count)]
        strides = [stride for stride in strides if stride <= side]
        channels = [_FPN_CHANNELS] * len(strides)
        neck = _fpn(levels, len(strides), extra="on_output")
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
            "l2_norm_scale": 20.0 if options.l2_norm else None,
        }
    shares = _anchor_shares(len(strides))
    return {
        "type": "SingleStageDetector",
        "data_preprocessor": _preprocessor(card, divisor=1),
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
            "bbox_coder": _coder((0.1, 0.1, 0.2, 0.2)),
        },
        "train_cfg": {
            "assigner": _assigner(0.5, 0.5, 0.0) | {"gt_max_assign_all": False},
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


def faster_rcnn_config(
    levels: list[Level], classes: int, card: BackboneCard, options: FasterRcnnOptions, *, head: Level | None
) -> Config:
    """Faster R-CNN, with the network's last stage as its head (C4) or with a feature pyramid.

    Args:
        levels: the maps of the backbone, finest first; one for C4.
        classes: number of classes.
        card: the backbone's, for the normalisation.
        options: the task's.
        head: what the last stage makes of a region: its channels, and its stride relative to the map; None for FPN.

    Reference: Ren et al., Faster R-CNN, NeurIPS 2015; the C4 head as in He et al., CVPR 2016, appendix A; RoIAlign.
    """
    if head is not None:
        stride = levels[0].stride
        # On small pictures the anchors shrink with the stride; at a ResNet's stride of 16 they are 128, 256 and 512.
        anchors = {"scales": [8, 16, 32], "strides": [stride]}
        neck, channels, rois = None, levels[0].channels, [stride]
        side = max(1, -(-ROI_SIDE // head.stride))
        box_head: Config = {
            "type": "BBoxHead",
            "with_avg_pool": True,
            "roi_feat_size": side,
            "in_channels": head.channels,
        }
    else:
        count = 5 if levels[-1].stride >= 32 else len(levels)
        strides = [levels[0].stride * 2**i for i in range(count)]
        anchors = {"scales": [8], "strides": strides}
        neck, channels = _fpn(levels, count), _FPN_CHANNELS
        rois = strides[: len(levels)]
        box_head = {
            "type": "Shared2FCBBoxHead",
            "in_channels": channels,
            "fc_out_channels": 1024,
            "roi_feat_size": ROI_SIDE,
        }
    smallest = anchors["scales"][0] * anchors["strides"][0]
    return {
        "type": "FasterRCNN",
        "data_preprocessor": _preprocessor(card, divisor=32),
        **({"neck": neck} if neck else {}),
        "rpn_head": {
            "type": "RPNHead",
            "in_channels": channels,
            "feat_channels": min(channels, _RPN_CHANNELS),
            "anchor_generator": {"type": "AnchorGenerator", "ratios": [0.5, 1.0, 2.0], **anchors},
            "bbox_coder": _coder((1.0, 1.0, 1.0, 1.0)),
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
            "loss_bbox": {"type": "SmoothL1Loss", "beta": 1 / 9, "loss_weight": 1.0},
        },
        "roi_head": {
            "type": "StandardRoIHead",
            "bbox_roi_extractor": {
                "type": "SingleRoIExtractor",
                "roi_layer": {"type": "RoIAlign", "output_size": ROI_SIDE, "sampling_ratio": 0},
                "out_channels": channels,
                "featmap_strides": rois,
            },
            "bbox_head": {
                **box_head,
                "num_classes": classes,
                "bbox_coder": _coder((0.1, 0.1, 0.2, 0.2)),
                "reg_class_agnostic": False,
                "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
                "loss_bbox": {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0},
            },
        },
        "train_cfg": {
            "rpn": {
                "assigner": _assigner(0.7, 0.3, 0.3) | {"match_low_quality": True},
                "sampler": _sampler(256, 0.5, add_truth=False),
                # Anchors that leave the image are not learnt from, unless hardly any would be left.
                "allowed_border": 0 if options.short_side >= 2 * smallest else -1,
                "pos_weight": -1,
                "debug": False,
            },
            "rpn_proposal": _proposals(12000, 2000),
            "rcnn": {
                "assigner": _assigner(0.5, 0.5, 0.5) | {"match_low_quality": False},
                "sampler": _sampler(options.regions, 0.25, add_truth=True),
                "pos_weight": -1,
                "debug": False,
            },
        },
        "test_cfg": {
            "rpn": _proposals(6000, 300),
            "rcnn": {"score_thr": 0.0, "nms": {"type": "nms", "iou_threshold": 0.3}, "max_per_img": 100},
        },
    }


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
    step = (_SSD_TO - _SSD_FROM) / max(1, count - 2)
    return [_SSD_FIRST, *(round(_SSD_FROM + step * i, 4) for i in range(count))]


def _preprocessor(card: BackboneCard, divisor: int) -> Config:
    """As the backbone's card says: RGB, its mean and std; the wrong ones cost several points of mAP."""
    return {
        "type": "DetDataPreprocessor",
        "mean": [255 * value for value in card.mean],
        "std": [255 * value for value in card.std],
        "bgr_to_rgb": True,
        "pad_size_divisor": divisor,
    }


def _fpn(levels: list[Level], count: int, extra: str | bool = False) -> Config:
    channels = [level.channels for level in levels]
    neck = {"type": "FPN", "in_channels": channels, "out_channels": _FPN_CHANNELS, "num_outs": count}
    return {**neck, "add_extra_convs": extra} if extra else neck


def _coder(stds: tuple[float, ...]) -> Config:
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": list(stds)}


def _assigner(positive: float, negative: float, least: float) -> Config:
    thresholds = {"pos_iou_thr": positive, "neg_iou_thr": negative, "min_pos_iou": least}
    return {"type": "MaxIoUAssigner", **thresholds, "ignore_iof_thr": -1}


def _sampler(number: int, positives: float, *, add_truth: bool) -> Config:
    return {
        "type": "RandomSampler",
        "num": number,
        "pos_fraction": positives,
        "neg_pos_ub": -1,
        "add_gt_as_proposals": add_truth,
    }


def _proposals(before: int, after: int) -> Config:
    nms = {"type": "nms", "iou_threshold": 0.7}
    return {"nms_pre": before, "max_per_img": after, "nms": nms, "min_bbox_size": 0}
