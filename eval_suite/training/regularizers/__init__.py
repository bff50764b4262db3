"""Every regularizer a recipe can name."""

from eval_suite.training.regularizers.base import Context, Mixed, Regularizer, regularise
from eval_suite.training.regularizers.erasing import Cutout
from eval_suite.training.regularizers.hiding import HideAndSeek
from eval_suite.training.regularizers.mixing import CutMix, Mixup

REGULARIZERS: dict[str, type[Regularizer]] = {
    "cutmix": CutMix,
    "mixup": Mixup,
    "cutout": Cutout,
    "has": HideAndSeek,
}

__all__ = [
    "REGULARIZERS",
    "Context",
    "CutMix",
    "Cutout",
    "HideAndSeek",
    "Mixed",
    "Mixup",
    "Regularizer",
    "regularise",
]
