"""What robustness measures."""

from eval_suite.core.metrics import MetricKind
from eval_suite.core.records import Param

MIXES = {"mixup": "Mixup", "cutmix": "CutMix"}


def _fgsm(epsilon: str, loss: str = "") -> str:
    return f"Top-1 error under FGSM ({_joined(f'ε={epsilon}', _loss(loss))})"


def _pgd(epsilon: str, steps: Param = "", step_size: str = "", restarts: Param = 1, loss: str = "") -> str:
    walk = f"{steps} steps of {step_size}" if steps else ""
    again = f"{restarts} restarts" if restarts != 1 else ""
    return f"Top-1 error under PGD ({_joined(f'ε={epsilon}', walk, again, _loss(loss))})"


def _occlusion(region: str, over: str, fill: str = "") -> str:
    return f"{region.capitalize()} occlusion error ({_joined(over, fill and f'{fill} fill')})"


def _mean_corruption(corruptions: Param, severities: str) -> str:
    kinds = f"{corruptions} corruptions" if isinstance(corruptions, int) else corruptions
    return f"Mean corruption error ({kinds}, {_severities(severities)})"


def _severities(values: str) -> str:
    return f"{'severity' if values.isdigit() else 'severities'} {values}"


def _loss(name: str) -> str:
    return "float32 cross entropy" if name == "cross-entropy" else ""


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _error(key: str, title: object) -> MetricKind:
    return MetricKind(key, title, higher_is_better=False)  # type: ignore[arg-type]


CLEAN = _error("clean_error", "Top-1 error (clean)")
FGSM = _error("fgsm_error", _fgsm)
PGD = _error("pgd_error", _pgd)
OCCLUSION = _error("occlusion_error", _occlusion)
OCCLUSION_AT = _error("occlusion_error_at", "Top-1 error under {region} occlusion")
IN_BETWEEN = _error("in_between_error", lambda mix, over: f"In-between error, {MIXES[mix]} ({over})")
IN_BETWEEN_ACCURACY = MetricKind(
    "in_between_accuracy", lambda mix, over: f"In-between accuracy, {MIXES[mix]} (either class, {over})"
)
IN_BETWEEN_AT = _error("in_between_error_at", lambda mix: f"In-between error, {MIXES[mix]}")
MEAN_CORRUPTION = _error("mean_corruption_error", _mean_corruption)
CORRUPTION = _error("corruption_error", lambda severities: f"Corruption error ({_severities(severities)})")
CORRUPTION_AT = _error("corruption_error_at", "Top-1 error under corruption")
RELATIVE_MCE = _error("relative_mce", "Relative mCE (baseline = 100 %)")
NO_GRADIENT = _error("no_gradient", "Images without input gradient (share)")
SATURATED = _error("saturated", "Images with the label's probability rounded to 1 (float32, share)")
