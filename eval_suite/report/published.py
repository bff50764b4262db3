"""Numbers the paper printed, to stand beside ours."""

from dataclasses import dataclass

from eval_suite.report.collate import SuiteInfo

_BEST_EPOCH = "at the best epoch on the test set"


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

PUBLISHED: tuple[PublishedNumber, ...] = (
    *_CAPTIONS,
    PublishedNumber(
        "table3", "cutmix", "classify", "Top-1 error", 0.2140, "CutMix paper, Table 3", _BEST_EPOCH
    ),
    PublishedNumber(
        "table3", "feature-cutmix", "classify", "Top-1 error", 0.2180, "CutMix paper, Table 3", _BEST_EPOCH
    ),
    PublishedNumber(
        "table4", "baseline", "classify", "Top-1 error", 0.2187, "CutMix paper, Table 4", _BEST_EPOCH
    ),
    PublishedNumber(
        "table4", "cutmix", "classify", "Top-1 error", 0.2017, "CutMix paper, Table 4", _BEST_EPOCH
    ),
    PublishedNumber(
        "table5",
        "cutmix",
        "classify",
        "Top-1 error",
        0.1447,
        "CutMix paper, Table 5",
        f"mean of three runs, each {_BEST_EPOCH}",
    ),
    PublishedNumber(
        "table6",
        "cutmix",
        "classify",
        "Top-1 error",
        0.2011,
        "CutMix paper, Table 6",
        f"ResNet-110, mean of three runs, each {_BEST_EPOCH}",
    ),
)


def published_number(
    suite: SuiteInfo, backbone: str, task: str, metric: str, subset: str | None = None
) -> PublishedNumber | None:
    """The printed number of a cell; None where the paper has none, as on other data sets."""
    wanted = (suite.published or suite.name, backbone, task, metric, subset)
    return next((p for p in PUBLISHED if (p.suite, p.backbone, p.task, p.metric, p.subset) == wanted), None)
