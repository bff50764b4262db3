"""Faster R-CNN, with the network's last stage as its head (C4) or with a feature pyramid."""

from typing import Literal

from pydantic import Field

from eval_suite.core.cards import BackboneCard
from eval_suite.core.records import Paper
from eval_suite.tasks.detect.detectors.base import (
    FPN_CHANNELS,
    Config,
    Detector,
    Level,
    Schedule,
    Shares,
    assigner,
    coder,
    fpn,
    preprocessor,
)

ROI_SIDE = 7
_RPN_CHANNELS = 512


class FasterRcnnOptions(Schedule):
    """Faster R-CNN: proposals, then a classifier on each region."""

    batch_size: int = Field(default=8, ge=1)
    """Images a step, over all processes."""
    lr: float = Field(default=0.01, gt=0)
    """Learning rate; momentum is 0.9."""
    milestones: Shares = (5 / 6,)
    """Shares of the iterations after which the learning rate is divided by ten."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Weight decay of SGD; biases have none."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether the backbone's batch normalisation keeps its statistics and weights or goes on learning."""
    regions: int = Field(default=128, ge=1)
    """Regions an image that the second stage learns from in a step."""
    short_side: int = Field(default=600, ge=32)
    """Shorter side that images are resized to ..."""
    long_side: int = Field(default=1000, ge=32)
    """... unless the longer one would exceed this."""


class FasterRcnnFpn(Detector):
    """Faster R-CNN on a feature pyramid.

    Reference: Ren et al., Faster R-CNN, NeurIPS 2015; RoIAlign.
    """

    name = "faster-rcnn-fpn"
    title = "Faster R-CNN FPN"
    paper = Paper("Faster R-CNN", "NeurIPS", 2015, "https://arxiv.org/abs/1506.01497")
    options = FasterRcnnOptions
    settings = "faster_rcnn"
    plus_one = True
    strides = (4, 8, 16, 32)
    bias_decay = False
    schedule: FasterRcnnOptions

    def config(self, levels: list[Level], classes: int, card: BackboneCard, *, head: Level | None) -> Config:
        """Proposals from anchors on the maps, then a classifier on each region."""
        if head is not None:
            stride = levels[0].stride
            # On small pictures the anchors shrink with the stride; at a ResNet's stride of 16 they are 128, 256 and 512.
            anchors = {"scales": [8, 16, 32], "strides": [stride]}
            neck, channels, rois = None, levels[0].channels, [stride]
            box_head: Config = {
                "type": "BBoxHead",
                "with_avg_pool": True,
                "roi_feat_size": head.region_side,
                "in_channels": head.channels,
            }
        else:
            count = 5 if levels[-1].stride >= 32 else len(levels)
            strides = [levels[0].stride * 2**i for i in range(count)]
            anchors = {"scales": [8], "strides": strides}
            neck, channels = fpn(levels, count), FPN_CHANNELS
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
            "data_preprocessor": preprocessor(card, divisor=32),
            **({"neck": neck} if neck else {}),
            "rpn_head": {
                "type": "RPNHead",
                "in_channels": channels,
                "feat_channels": min(channels, _RPN_CHANNELS),
                "anchor_generator": {"type": "AnchorGenerator", "ratios": [0.5, 1.0, 2.0], **anchors},
                "bbox_coder": coder((1.0, 1.0, 1.0, 1.0)),
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
                    "bbox_coder": coder((0.1, 0.1, 0.2, 0.2)),
                    "reg_class_agnostic": False,
                    "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
                    "loss_bbox": {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0},
                },
            },
            "train_cfg": {
                "rpn": {
                    "assigner": assigner(0.7, 0.3, 0.3) | {"match_low_quality": True},
                    "sampler": _sampler(256, 0.5, add_truth=False),
                    # Anchors that leave the image are not learnt from, unless hardly any would be left.
                    "allowed_border": 0 if self.schedule.short_side >= 2 * smallest else -1,
                    "pos_weight": -1,
                    "debug": False,
                },
                "rpn_proposal": _proposals(12000, 2000),
                "rcnn": {
                    "assigner": assigner(0.5, 0.5, 0.5) | {"match_low_quality": False},
                    "sampler": _sampler(self.schedule.regions, 0.25, add_truth=True),
                    "pos_weight": -1,
                    "debug": False,
                },
            },
            "test_cfg": {
                "rpn": _proposals(6000, 300),
                "rcnn": {"score_thr": 0.0, "nms": {"type": "nms", "iou_threshold": 0.3}, "max_per_img": 100},
            },
        }

    def resize(self) -> Config:
        """The shorter side to its length, unless the longer one would exceed its own."""
        sides = (self.schedule.long_side, self.schedule.short_side)
        return {"type": "Resize", "scale": sides, "keep_ratio": True}

    def frozen_stride(self, coarsest: int) -> int:
        """The stem and the first stage of a ResNet stay as they are: a quarter of the stride of the base."""
        return max(1, coarsest // 8)

    @classmethod
    def draw_key(cls) -> int:
        """As it always was, so that a seed gives the same layers."""
        return 3


class FasterRcnnC4(FasterRcnnFpn):
    """Faster R-CNN whose head is the network's last stage.

    Reference: He et al., Deep Residual Learning, CVPR 2016, appendix A.
    """

    name = "faster-rcnn-c4"
    title = "Faster R-CNN C4"
    last_stage_on_regions = True

    def frozen_stride(self, coarsest: int) -> int:
        """As with a pyramid; the base is all but the last stage."""
        return coarsest // 4

    @classmethod
    def draw_key(cls) -> int:
        """As it always was, so that a seed gives the same layers."""
        return 2


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
