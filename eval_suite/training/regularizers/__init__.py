"""Every regularizer of ours; a recipe names them, and any other, as `eval_suite.core.parts` finds them."""

from eval_suite.training.regularizers.attentive import AttentiveCutMix
from eval_suite.training.regularizers.base import STAGES, Context, Mixed, Regularizer, Shard, regularise
from eval_suite.training.regularizers.choosing import Either
from eval_suite.training.regularizers.co_mixup import CoMixup
from eval_suite.training.regularizers.dropblock import DropBlock
from eval_suite.training.regularizers.dropping import ShakeDrop, StochasticDepth
from eval_suite.training.regularizers.erasing import Cutout, GridMask, RandomErasing
from eval_suite.training.regularizers.feature_mixing import FeatureCutMix, ManifoldMixup
from eval_suite.training.regularizers.hiding import HideAndSeek
from eval_suite.training.regularizers.labels import LabelSmoothing
from eval_suite.training.regularizers.masks import FMix, GridMix, SmoothMix
from eval_suite.training.regularizers.mixing import CutMix, Mixup
from eval_suite.training.regularizers.pasting import RICAP, ResizeMix, SaliencyMix
from eval_suite.training.regularizers.puzzle import PuzzleMix
from eval_suite.training.regularizers.snapmix import SnapMix
from eval_suite.training.regularizers.tokens import TokenMix, TransMix
from eval_suite.training.regularizers.views import AugMix, RegMixup

__all__ = [
    "RICAP",
    "STAGES",
    "AttentiveCutMix",
    "AugMix",
    "CoMixup",
    "Context",
    "CutMix",
    "Cutout",
    "DropBlock",
    "Either",
    "FMix",
    "FeatureCutMix",
    "GridMask",
    "GridMix",
    "HideAndSeek",
    "LabelSmoothing",
    "ManifoldMixup",
    "Mixed",
    "Mixup",
    "PuzzleMix",
    "RandomErasing",
    "RegMixup",
    "Regularizer",
    "ResizeMix",
    "SaliencyMix",
    "ShakeDrop",
    "Shard",
    "SmoothMix",
    "SnapMix",
    "StochasticDepth",
    "TokenMix",
    "TransMix",
    "regularise",
]
