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


PUBLISHED: tuple[PublishedNumber, ...] = (
    PublishedNumber(
        "table3", "cutmix", "classify", "Top-1 error", 0.2140, "CutMix paper, Table 3", _BEST_EPOCH
    ),
    PublishedNumber(
        "table3", "feature-cutmix", "classify", "Top-1 error", 0.2180, "CutMix paper, Table 3", _BEST_EPOCH
    ),
    PublishedNumber(
        "table4", "resnet101", "classify", "Top-1 error", 0.2187, "CutMix paper, Table 4", _BEST_EPOCH
    ),
    PublishedNumber(
        "table4", "resnet101-cutmix", "classify", "Top-1 error", 0.2017, "CutMix paper, Table 4", _BEST_EPOCH
    ),
    *(
        PublishedNumber(
            suite,
            backbone,
            "classify",
            "Top-1 error",
            0.1447,
            "CutMix paper, Table 5",
            f"mean of three runs, each {_BEST_EPOCH}",
        )
        for suite, backbone in (
            ("table5", "cutmix"),
            ("table8", "cutmix"),
            ("figure2", "cutmix"),
            ("figure3", "alpha-1.0"),
        )
    ),
    PublishedNumber(
        "table6",
        "resnet110-cutmix",
        "classify",
        "Top-1 error",
        0.2011,
        "CutMix paper, Table 6",
        f"mean of three runs, each {_BEST_EPOCH}",
    ),
)


def published_number(
    suite: SuiteInfo, backbone: str, task: str, metric: str, subset: str | None = None
) -> PublishedNumber | None:
    """The printed number of a cell; None where the paper has none, as on other data sets."""
    wanted = (suite.published or suite.name, backbone, task, metric, subset)
    return next((p for p in PUBLISHED if (p.suite, p.backbone, p.task, p.metric, p.subset) == wanted), None)
