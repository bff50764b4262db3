"""A training split's features, computed once."""

from pathlib import Path

from torch import Tensor

from eval_suite.backbones import features
from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.features import Features
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.coco import CaptionSet
from eval_suite.tasks.caption.model import pooled_features


def cached_features(
    backbone: Backbone, captions: CaptionSet, runtime: RuntimeOptions, folder: Path, *, strict: bool
) -> Features:
    """Mean features of every readable image, computed where the folder's ``features.npy`` does not hold them yet.

    Args:
        backbone: gives the feature maps.
        captions: the images.
        runtime: device, precision and batches.
        folder: where ``features.npy`` and ``features.json`` lie.
        strict: stop at the first unreadable image.
    """

    def pooled(images: Tensor) -> Tensor:
        return pooled_features(backbone, images)

    return features.cached_features(
        backbone,
        captions.images(),
        pooled,
        runtime,
        folder / "features",
        key={"data": captions.sha256()},
        strict=strict,
    )
