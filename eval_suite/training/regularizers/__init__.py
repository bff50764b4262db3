"""Every regularizer of the paper; a recipe names them, and any other, as `eval_suite.core.parts` finds them."""

from eval_suite.training.regularizers.base import STAGES, Context, Mixed, Regularizer, Shard, regularise
from eval_suite.training.regularizers.dropblock import DropBlock
from eval_suite.training.regularizers.dropping import ShakeDrop, StochasticDepth
from eval_suite.training.regularizers.erasing import Cutout
from eval_suite.training.regularizers.feature_mixing import FeatureCutMix, ManifoldMixup
from eval_suite.training.regularizers.hiding import HideAndSeek
from eval_suite.training.regularizers.labels import LabelSmoothing
from eval_suite.training.regularizers.mixing import CutMix, Mixup

__all__ = [
    "STAGES",
    "Context",
    "CutMix",
    "Cutout",
    "DropBlock",
    "FeatureCutMix",
    "HideAndSeek",
    "LabelSmoothing",
    "ManifoldMixup",
    "Mixed",
    "Mixup",
    "Regularizer",
    "ShakeDrop",
    "Shard",
    "StochasticDepth",
    "regularise",
]
