"""What out-of-distribution detection measures."""

from collections.abc import Callable

from eval_suite.core.metrics import MetricKind
from eval_suite.core.records import Param
from eval_suite.tasks.ood.scores import score_title

NON_NOISE = "non_noise"
"""As the param ``sets``: the mean is over the sets that are not noise."""


FULL_SPECTRUM = "full_spectrum"
"""As the param ``known``: covariate-shifted images count as in-distribution too."""


def params_of(score: str, sets: str | None = None, *, full_spectrum: bool = False) -> dict[str, Param]:
    """The params of a metric: the score, which sets the mean is over unless all, and what counts as in-distribution."""
    params: dict[str, Param] = {"score": score.replace("-", "_")}
    if sets is not None:
        params["sets"] = sets
    if full_spectrum:
        params["known"] = FULL_SPECTRUM
    return params


def sets_in_words(sets: str) -> str:
    """What a mean is over, for titles: a group, or the sets that are not noise; empty for all."""
    return "without noise" if sets == NON_NOISE else f"{sets}-OOD" if sets else ""


def _on(title: str) -> Callable[..., str]:
    def name(score: str, sets: str = "", known: str = "") -> str:
        spectrum = "full spectrum" if known == FULL_SPECTRUM else ""
        return ", ".join(filter(None, (title, score_title(score), sets_in_words(sets), spectrum)))

    return name


AUROC = MetricKind("auroc", _on("AUROC"))
TNR = MetricKind("tnr_at_95_tpr", _on("TNR@TPR95 (ID positive)"))
ACCURACY = MetricKind("detection_accuracy", _on("Detection accuracy"))
AUPR_IN = MetricKind("aupr_in", _on("AUPR-In (average precision)"))
AUPR_OUT = MetricKind("aupr_out", _on("AUPR-Out (average precision)"))
FPR = MetricKind("fpr_at_95_tpr", _on("FPR95 (OOD positive)"), higher_is_better=False)
REFERENCE_TNR = MetricKind("odin_code_tnr", _on("TNR@TPR95 (ODIN's reference code)"))
REFERENCE_AUPR_IN = MetricKind("odin_code_aupr_in", _on("AUPR-In (ODIN's reference code)"))
REFERENCE_AUPR_OUT = MetricKind("odin_code_aupr_out", _on("AUPR-Out (ODIN's reference code)"))
OOD_CONFIDENCE = MetricKind("ood_confidence", "Mean confidence on outliers", higher_is_better=False)
