"""Numbers the paper printed, to stand beside ours."""

from dataclasses import dataclass

from eval_suite.report.collate import SuiteInfo
from eval_suite.report.published_errors import ERRORS

_BEST_EPOCH = "at the best epoch on the test set"
_FGSM = "Top-1 error under FGSM (ε=8/255)"


@dataclass(frozen=True)
class PublishedNumber:
    """One printed number.

    ``suite`` is the name of the suite that repeats the experiment, ``backbone`` the row as named there; ``value``
    is a fraction where the metric is a rate.
    """

    suite: str
    backbone: str
    task: str
    metric: str
    value: float
    source: str
    note: str = ""
    subset: str | None = None


_TABLE12_METRICS = (
    "TNR@TPR95 (ID positive), max softmax",
    "AUROC, max softmax",
    "Detection accuracy, max softmax",
)
_TABLE12_BACKBONES = ("baseline", "mixup", "cutout", "cutmix")
# By outlier set, None for their mean; a row for each backbone, in the order of the metrics.
_TABLE12: dict[str | None, tuple[tuple[float, float, float], ...]] = {
    None: ((0.263, 0.873, 0.820), (0.118, 0.493, 0.609), (0.188, 0.687, 0.713), (0.690, 0.944, 0.891)),
    "tinyimagenet-crop": (
        (0.430, 0.889, 0.813),
        (0.226, 0.716, 0.698),
        (0.305, 0.856, 0.790),
        (0.571, 0.924, 0.850),
    ),
    "tinyimagenet-resize": (
        (0.298, 0.842, 0.770),
        (0.123, 0.568, 0.610),
        (0.220, 0.828, 0.771),
        (0.554, 0.919, 0.845),
    ),
    "lsun-crop": ((0.346, 0.865, 0.795), (0.229, 0.763, 0.723), (0.332, 0.857, 0.785), (0.476, 0.903, 0.828)),
    "lsun-resize": (
        (0.343, 0.864, 0.790),
        (0.130, 0.590, 0.618),
        (0.237, 0.840, 0.784),
        (0.628, 0.937, 0.867),
    ),
    "isun": ((0.320, 0.851, 0.778), (0.118, 0.570, 0.610), (0.222, 0.828, 0.768), (0.601, 0.930, 0.857)),
    "uniform": ((0.000, 0.892, 0.892), (0.000, 0.008, 0.500), (0.000, 0.356, 0.591), (1.000, 0.998, 0.997)),
    "gaussian": ((0.104, 0.907, 0.899), (0.000, 0.234, 0.505), (0.000, 0.243, 0.500), (1.000, 0.997, 0.990)),
}

_CAPTION_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D")
_TABLE_A1 = {
    "baseline": (0.614, 0.438, 0.314, 0.229, 0.228, 0.447, 0.712),
    "mixup": (0.616, 0.441, 0.316, 0.232, 0.229, 0.479, 0.722),
    "cutout": (0.630, 0.453, 0.326, 0.240, 0.226, 0.482, 0.741),
    "cutmix": (0.642, 0.463, 0.336, 0.249, 0.231, 0.490, 0.776),
}
_CAPTIONS = tuple(
    PublishedNumber(
        "table10",
        backbone,
        "caption",
        metric,
        value,
        "CutMix paper, Tables 10 and A1",
        "beam 20",
    )
    for backbone, values in _TABLE_A1.items()
    for metric, value in zip(_CAPTION_METRICS, values, strict=True)
)


def _error_note(suite: str, copied: bool) -> str:
    if copied:
        return "copied there from the method's own paper, trained as that one says"
    return _BEST_EPOCH if suite in ("table3", "table4") else f"mean of three runs, each {_BEST_EPOCH}"


_ERRORS = tuple(
    PublishedNumber(
        suite,
        backbone,
        "classify",
        metric,
        round(percent / 100, 4),
        f"CutMix paper, {table}",
        _error_note(suite, printed.copied),
    )
    for suite, table, rows in ERRORS
    for backbone, printed in rows.items()
    for metric, percent in (("Top-1 error", printed.top1), ("Top-5 error", printed.top5))
    if percent is not None
)

_TOP1_LOC = "Top-1 Loc (σ=0.15)"
_TABLE9 = {
    "table9-cub": {"cam": 0.4941, "mixup": 0.4930, "cutout": 0.5278, "cutmix": 0.5481},
    "table9-imagenet": {"cam": 0.4630, "mixup": 0.4584, "cutout": 0.4669, "cutmix": 0.4725},
    "table9-cub-vgg": {
        "cam": 0.3712,
        "acol": 0.4592,
        "adl": 0.5236,
        "mixup": 0.4173,
        "cutout": 0.4483,
        "cutmix": 0.5253,
    },
    "table9-imagenet-vgg": {
        "cam": 0.4273,
        "acol": 0.4583,
        "adl": 0.4492,
        "mixup": 0.4254,
        "cutout": 0.4313,
        "cutmix": 0.4345,
    },
}
_TABLE9_NOTES = {
    "acol": "VGG-GAP, copied there from the ACoL paper, whose evaluation differs",
    "adl": "VGG-GAP, copied there from the ADL paper, whose evaluation differs",
}
_LOCALISATION = tuple(
    PublishedNumber(
        suite,
        backbone,
        "wsol",
        _TOP1_LOC,
        value,
        "CutMix paper, Table 9",
        "the authors' README has 46.25" if value == 0.4725 else _TABLE9_NOTES.get(backbone, ""),
    )
    for suite, values in _TABLE9.items()
    for backbone, value in values.items()
)

PUBLISHED: tuple[PublishedNumber, ...] = (
    *_CAPTIONS,
    *_ERRORS,
    *_LOCALISATION,
    *(
        PublishedNumber("table10", backbone, "detect", metric, value, "CutMix paper, Table 10", note)
        for metric, note, values in (
            (
                "SSD mAP (VOC07 11-point, no +1)",
                "convention of the code the paper names, ssd.pytorch",
                (0.767, 0.766, 0.768, 0.776),
            ),
            (
                "Faster R-CNN C4 mAP (VOC07 11-point, +1)",
                "convention of the code the paper names, faster-rcnn.pytorch",
                (0.756, 0.739, 0.750, 0.767),
            ),
        )
        for backbone, value in zip(("baseline", "mixup", "cutout", "cutmix"), values, strict=True)
    ),
    PublishedNumber(
        "table11",
        "baseline",
        "robustness",
        _FGSM,
        0.918,
        "CutMix paper, Table 11",
        "printed as top-1 accuracy 8.2 %",
    ),
    PublishedNumber(
        "table11",
        "mixup",
        "robustness",
        _FGSM,
        0.756,
        "CutMix paper, Table 11",
        "printed as top-1 accuracy 24.4 %",
    ),
    PublishedNumber(
        "table11",
        "cutout",
        "robustness",
        _FGSM,
        0.885,
        "CutMix paper, Table 11",
        "printed as top-1 accuracy 11.5 %",
    ),
    PublishedNumber(
        "table11",
        "cutmix",
        "robustness",
        _FGSM,
        0.690,
        "CutMix paper, Table 11",
        "printed as top-1 accuracy 31.0 %",
    ),
    *(
        PublishedNumber(
            "table12",
            backbone,
            "ood",
            metric,
            value,
            "CutMix paper, Table 12" if subset is None else "CutMix paper, appendix, Table A2",
            "mean over the seven outlier sets" if subset is None else "",
            subset,
        )
        for subset, rows in _TABLE12.items()
        for backbone, row in zip(_TABLE12_BACKBONES, rows, strict=True)
        for metric, value in zip(_TABLE12_METRICS, row, strict=True)
    ),
)


def published_number(
    suite: SuiteInfo, backbone: str, task: str, metric: str, subset: str | None = None
) -> PublishedNumber | None:
    """The printed number of a cell; None where the paper has none, as on other data sets."""
    wanted = (suite.published or suite.name, backbone, task, metric, subset)
    return next((p for p in PUBLISHED if (p.suite, p.backbone, p.task, p.metric, p.subset) == wanted), None)
