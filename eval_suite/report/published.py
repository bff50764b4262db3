"""Numbers the paper printed, to stand beside ours."""

from dataclasses import dataclass

from eval_suite.report.collate import SuiteInfo

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


PUBLISHED: tuple[PublishedNumber, ...] = (
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
    PublishedNumber(
        "table9-imagenet",
        "cutmix",
        "wsol",
        "Top-1 Loc (σ=0.15)",
        0.4725,
        "CutMix paper, Table 9",
        "ResNet-50; the authors' README has 46.25",
    ),
    PublishedNumber(
        "table9-cub-vgg",
        "adl",
        "wsol",
        "Top-1 Loc (σ=0.15)",
        0.5236,
        "CutMix paper, Table 9",
        "VGG-GAP, copied there from the ADL paper, whose evaluation differs",
    ),
    PublishedNumber(
        "table9-imagenet-vgg",
        "adl",
        "wsol",
        "Top-1 Loc (σ=0.15)",
        0.4492,
        "CutMix paper, Table 9",
        "VGG-GAP, copied there from the ADL paper, whose evaluation differs",
    ),
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
)


def published_number(
    suite: SuiteInfo, backbone: str, task: str, metric: str, subset: str | None = None
) -> PublishedNumber | None:
    """The printed number of a cell; None where the paper has none, as on other data sets."""
    wanted = (suite.published or suite.name, backbone, task, metric, subset)
    return next((p for p in PUBLISHED if (p.suite, p.backbone, p.task, p.metric, p.subset) == wanted), None)
