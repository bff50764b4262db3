"""What probes measure."""

from collections.abc import Callable

from eval_suite.core.metrics import MetricKind
from eval_suite.core.records import Param

_TITLES = {"linear": "linear probe"}


def params_of(name: str, k: int | None) -> dict[str, Param]:
    """The params of a probe's metrics from its name in a predictions file.

    Example:
        >>> params_of("knn@0.1", 20)
        {'probe': 'knn', 'k': 20, 'fraction': 0.1}
    """
    probe, at, fraction = name.partition("@")
    neighbours: dict[str, Param] = {"k": k} if probe == "knn" and k is not None else {}
    return {"probe": probe, **neighbours, **({"fraction": float(fraction)} if at else {})}


def _of(what: str) -> Callable[..., str]:
    def name(probe: str, k: int | None = None, fraction: float = 1.0) -> str:
        title = _TITLES.get(probe, f"{k}-NN" if k is not None else probe)
        return f"{what}, {title}" + (f", {fraction:.3g} of the training images" if fraction < 1 else "")

    return name


TOP1 = MetricKind("probe_top1_error", _of("Top-1 error"), higher_is_better=False)
TOP5 = MetricKind("probe_top5_error", _of("Top-5 error"), higher_is_better=False)
MEAN_CLASS_ACCURACY = MetricKind("probe_mean_class_accuracy", _of("Mean per-class accuracy"))
