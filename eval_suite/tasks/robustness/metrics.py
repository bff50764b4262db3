"""What robustness measures."""

from eval_suite.core.metrics import MetricKind
from eval_suite.core.records import Param
from eval_suite.tasks.robustness.options import ATTACKS, COMMON

ALEXNET_ERRORS = dict(
    zip(
        COMMON,
        (
            *(0.886428, 0.894468, 0.922640),
            *(0.819880, 0.826268, 0.785948, 0.798360),
            *(0.866816, 0.826572, 0.819324, 0.564592),
            *(0.853204, 0.646056, 0.717840, 0.606500),
        ),
        strict=True,
    )
)
"""AlexNet's top-1 error on ImageNet-C, a mean over five severities: what mCE divides by (github.com/hendrycks/robustness)."""
ALEXNET_CLEAN_ERROR = 1 - 0.56522
"""AlexNet's top-1 error on ImageNet, of the weights that torchvision distributes and ImageNet-C's authors evaluate."""
PUBLISHED_SETS = {
    "imagenetc": "ImageNet-C",
    "imagenetcbar": "ImageNet-C-bar",
    "imagenet3dcc": "ImageNet-3DCC",
    "cifar10c": "CIFAR-10-C",
    "cifar100c": "CIFAR-100-C",
}
MIXES = {"mixup": "Mixup", "cutmix": "CutMix"}


def _fgsm(epsilon: str, loss: str = "") -> str:
    return f"Top-1 error under FGSM ({_joined(f'ε={epsilon}', _loss(loss))})"


def _pgd(epsilon: str, steps: Param = "", step_size: str = "", restarts: Param = 1, loss: str = "") -> str:
    walk = f"{steps} steps of {step_size}" if steps else ""
    again = f"{restarts} restarts" if restarts != 1 else ""
    return f"Top-1 error under PGD ({_joined(f'ε={epsilon}', walk, again, _loss(loss))})"


def _attack(
    attack: str,
    epsilon: str,
    steps: Param = "",
    restarts: Param = 1,
    targets: Param = "",
    queries: Param = "",
    loss: str = "",
) -> str:
    """AutoAttack's own numbers are not repeated in the name."""
    numbers = {"steps": (steps, 100), "target classes": (targets, 9), "queries": (queries, 5000)}
    other = [f"{value} {what}" for what, (value, usual) in numbers.items() if value not in ("", usual)]
    again = f"{restarts} restarts" if restarts != 1 else ""
    return f"Top-1 error under {ATTACKS[attack]} ({_joined(f'ε={epsilon}', *other, again, _loss(loss))})"


def _occlusion(region: str, over: str, fill: str = "") -> str:
    return f"{region.capitalize()} occlusion error ({_joined(over, fill and f'{fill} fill')})"


def _patch_drop(over: str, patch: Param = "", fill: str = "") -> str:
    return f"Patch drop error ({_joined(over, f'patches of {patch} pixels' if patch else '', f'{fill} fill' if fill else '')})"


def _mean_corruption(corruptions: Param, severities: str, images: str = "") -> str:
    kinds = f"{corruptions} corruptions" if isinstance(corruptions, int) else corruptions
    return f"Mean corruption error ({_joined(str(kinds), _severities(severities), images)})"


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
ATTACK = _error("attack_error", _attack)
OCCLUSION = _error("occlusion_error", _occlusion)
OCCLUSION_AT = _error("occlusion_error_at", "Top-1 error under {region} occlusion")
PATCH_DROP = _error("patch_drop_error", _patch_drop)
PATCH_DROP_AT = _error("patch_drop_error_at", "Top-1 error with dropped patches")
PATCH_SHUFFLE = _error("patch_shuffle_error", "Patch shuffle error ({grids})")
PATCH_SHUFFLE_AT = _error("patch_shuffle_error_at", "Top-1 error with shuffled patches")
IN_BETWEEN = _error("in_between_error", lambda mix, over: f"In-between error, {MIXES[mix]} ({over})")
IN_BETWEEN_ACCURACY = MetricKind(
    "in_between_accuracy", lambda mix, over: f"In-between accuracy, {MIXES[mix]} (either class, {over})"
)
IN_BETWEEN_AT = _error("in_between_error_at", lambda mix: f"In-between error, {MIXES[mix]}")
MEAN_CORRUPTION = _error("mean_corruption_error", _mean_corruption)
CORRUPTION = _error(
    "corruption_error",
    lambda severities, images="": f"Corruption error ({_joined(_severities(severities), images)})",
)
CORRUPTION_AT = _error(
    "corruption_error_at", lambda images="": f"Top-1 error under corruption{images and f' ({images})'}"
)
MCE = _error("mce", "mCE ({images}, {baseline} = 100 %)")
RELATIVE_MCE = MetricKind(
    "relative_mce", "Relative mCE ({images}, {baseline} = 1)", higher_is_better=False, unit="ratio"
)
"""No share: an error may also shrink under corruption."""
MCE_TO_BASELINE = _error("mce_to_baseline", "mCE (the report's baseline = 100 %)")
SHIFT = _error("shift_error", "Top-1 error on {images}")
SHIFT_REFERENCE = _error("shift_reference_error", "Top-1 error on the evaluated images of {images}'s classes")
EFFECTIVE_ROBUSTNESS = MetricKind(
    "effective_robustness", "Effective robustness on {images} (logit fit over the other backbones)"
)
NO_GRADIENT = _error("no_gradient", "Images without input gradient (share)")
SATURATED = _error("saturated", "Images with the label's probability rounded to 1 (float32, share)")
