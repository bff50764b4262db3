"""What out-of-distribution detection measures."""

from collections.abc import Callable

from eval_suite.core.metrics import MetricKind
from eval_suite.core.records import Param
from eval_suite.tasks.ood.scores import score_title

NON_NOISE = "non_noise"
"""As the param ``sets``: the mean is over the sets that are not noise."""


def params_of(score: str, *, without_noise: bool = False) -> dict[str, Param]:
    """The params of a metric: the score, and whether noise sets are left out of the mean."""
    return {"score": score.replace("-", "_"), **({"sets": NON_NOISE} if without_noise else {})}


def _on(title: str) -> Callable[..., str]:
    def name(score: str, sets: str = "") -> str:
        return f"{title}, {score_title(score)}" + (", without noise" if sets == NON_NOISE else "")

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
