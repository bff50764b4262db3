"""From predicted classes to what the record holds: metrics with intervals, curves, per-item outcomes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.metrics import rate_bounds, share_metric
from eval_suite.core.records import Curve, Metric
from eval_suite.core.statistics import bootstrap_mean
from eval_suite.tasks.robustness.metrics import in_none_of, mean_per_item, trapezoid_weights
from eval_suite.tasks.robustness.options import epsilon_name
from eval_suite.tasks.robustness.predictions import Corruptions, Family, Predictions

CLEAN = "Top-1 error (clean)"
NOTE_NAMES = {
    "no_gradient": "Images without input gradient (share)",
    "saturated": "Images with the label's probability rounded to 1 (float32, share)",
}
CORRUPTION_ERROR, VERSION_ERROR = "Corruption error", "Top-1 error under corruption"
_MASKED_FROM, _WEAKER_FROM = 0.01, 0.01
_PAPERS_EPSILON = "8/255"
_BOOTSTRAP = "percentile bootstrap over items"
_OVER_SIDE, _OVER_LAMBDA = "hole side / image side", "λ, share of the first image"


class Findings(NamedTuple):
    """Metrics in reading order, curves, and the outcomes of `Score`."""

    metrics: list[Metric]
    curves: list[Curve]
    outcomes: dict[str, NDArray[np.float64]]


def doubts(found: Predictions, labels: NDArray[np.int64]) -> list[str]:
    """What speaks against trusting the attacks, one line each: images without gradient, PGD weaker than FGSM."""
    lines = []
    n, none = len(labels), np.zeros(0, bool)
    without, flat = (int(found.notes.get(note, none).sum()) for note in ("no_gradient", "saturated"))
    if without >= _MASKED_FROM * n:
        lines.append(
            f"{without:,} of {n:,} images have no input gradient at all, so FGSM and PGD cannot change them; "
            "such masked gradients look like robustness and are none"
        )
    if found.settings.get("attack_loss") == "cross-entropy" and flat >= _MASKED_FROM * n:
        lines.append(
            f"the float32 cross entropy of {flat:,} of {n:,} images is flat, so the attacks partly miss their direction; "
            "--attack-loss log-odds has it"
        )
    own = labels[:, None]
    errors = {
        title: dict(zip(family.grid.tolist(), in_none_of(family.predicted, own).mean(axis=0), strict=True))
        for title in ("fgsm", "pgd")
        if (family := found.families.get(title)) is not None
    }
    for epsilon, weak in errors.get("fgsm", {}).items():
        strong = errors.get("pgd", {}).get(epsilon, weak)
        if strong < weak - _WEAKER_FROM:
            lines.append(
                f"PGD fools fewer images ({strong:.1%}) than FGSM ({weak:.1%}) at ε = {epsilon_name(epsilon)}; "
                "give it more or smaller steps, or suspect masked gradients"
            )
    return lines


class _Collector:
    """Gathers what each part finds; metrics over all items come before those of single points."""

    def __init__(self) -> None:
        self.whole: list[Metric] = []
        self.points: list[Metric] = []
        self.curves: list[Curve] = []
        self.outcomes: dict[str, NDArray[np.float64]] = {}

    def share(self, name: str, wrong: NDArray[np.bool_], subset: str | None = None) -> None:
        """A share of items, with Wilson's interval; an outcome too unless it is of a subset."""
        metric = share_metric(name, int(wrong.sum()), len(wrong), higher_is_better=False, subset=subset)
        (self.points if subset else self.whole).append(metric)
        if subset is None:
            self.outcomes[name] = wrong.astype(np.float64)

    def mean(
        self,
        name: str,
        values: NDArray[np.float64],
        outcome: NDArray[np.float64] | None,
        method: str,
        *,
        higher_is_better: bool = False,
        subset: str | None = None,
    ) -> None:
        """A mean of values in [0, 1], bootstrapped."""
        value = float(values.mean())
        found = rate_bounds(bootstrap_mean(values), _BOOTSTRAP, value, len(values))
        metric = Metric(
            name=name,
            value=value,
            higher_is_better=higher_is_better,
            n=len(values),
            subset=subset,
            interval=found.interval,
            method=f"{method}; {found.method}",
        )
        (self.points if subset else self.whole).append(metric)
        if subset is None and outcome is not None:
            self.outcomes[name] = outcome

    def curve(self, name: str, grid: NDArray[np.floating], wrong: NDArray[np.bool_], x_label: str) -> None:
        """Mean error at each point of the grid."""
        self.curves.append(
            Curve(
                name=name,
                x=[float(x) for x in grid],
                y=[float(y) for y in wrong.mean(axis=0)],
                x_label=x_label,
                y_label="top-1 error",
            )
        )


def findings(found: Predictions, labels: NDArray[np.int64]) -> Findings:
    """Everything a predictions file says, given the labels (n,).

    The order is that of the paper: attacks, occlusion, in-between samples; then corruptions and the clean error.
    """
    own = labels[:, None]
    into = _Collector()
    clean = in_none_of(found.clean, own)
    loss = ", float32 cross entropy" if found.settings.get("attack_loss") == "cross-entropy" else ""
    if "fgsm" in found.families:
        family = found.families["fgsm"]
        _attack(into, "FGSM", family, own, clean, [loss] * len(family.grid))
    if "pgd" in found.families:
        family = found.families["pgd"]
        _attack(
            into,
            "PGD",
            family,
            own,
            clean,
            [f"{variant}{loss}" for variant in _pgd_variants(found.settings, family.grid)],
        )
    fill = found.settings.get("occlusion_fill", "")
    for kind in ("centre", "boundary"):
        if f"{kind}_occlusion" in found.families:
            _occlusion(into, kind, found.families[f"{kind}_occlusion"], own, fill)
    if len(found.pairs):
        both = labels[found.pairs]
        for name, title, x_label, x_name in (
            ("mixup", "Mixup", _OVER_LAMBDA, "λ"),
            ("cutmix", "CutMix", _OVER_SIDE, "hole side"),
        ):
            if name in found.families:
                _in_between(
                    into, title, found.families[name], both, found.pairs[:, 0], len(labels), x_label, x_name
                )
    if found.corruptions is not None:
        _corruption(into, found.corruptions, own, clean)
    into.share(CLEAN, clean)
    for note, name in NOTE_NAMES.items():
        if note in found.notes:
            into.share(name, found.notes[note])
    return Findings([*into.whole, *into.points], into.curves, into.outcomes)


def _attack(
    into: _Collector,
    title: str,
    family: Family,
    own: NDArray[np.int64],
    clean: NDArray[np.bool_],
    variants: list[str],
) -> None:
    wrong = in_none_of(family.predicted, own)
    names = [epsilon_name(epsilon) for epsilon in family.grid]
    # The paper's ε comes first, as the number to quote.
    for column in sorted(range(len(names)), key=lambda column: names[column] != _PAPERS_EPSILON):
        into.share(f"Top-1 error under {title} (ε={names[column]}{variants[column]})", wrong[:, column])
    if len(family.grid) > 1:
        grid, errors = family.grid, wrong
        if grid[0] > 0:
            grid, errors = np.append(0.0, grid), np.column_stack([clean, wrong])
        into.curve(f"Top-1 error under {title}", grid, errors, "ε (images in [0, 1])")


def _pgd_variants(settings: dict[str, str], grid: NDArray[np.float64]) -> list[str]:
    sizes = settings.get("pgd_step_sizes", "").split()
    if "pgd_steps" not in settings or len(sizes) != len(grid):
        return [""] * len(grid)
    restarts = settings.get("pgd_restarts", "1")
    again = f", {restarts} restarts" if restarts != "1" else ""
    return [f", {settings['pgd_steps']} steps of {size}{again}" for size in sizes]


def _occlusion(into: _Collector, kind: str, family: Family, own: NDArray[np.int64], fill: str) -> None:
    wrong = in_none_of(family.predicted, own)
    filled = f", {fill} fill" if fill else ""
    areas = wrong @ trapezoid_weights(family.grid)
    title = f"{kind.capitalize()} occlusion error"
    into.mean(f"{title} ({_area('hole side', family.grid)}{filled})", areas, areas, "trapezoid rule")
    into.curve(f"{title}", family.grid, wrong, _OVER_SIDE)
    for column, share in enumerate(family.grid):
        into.share(f"Top-1 error under {kind} occlusion", wrong[:, column], f"hole side {share:.4g}")


def _in_between(
    into: _Collector,
    title: str,
    family: Family,
    both: NDArray[np.int64],
    owner: NDArray[np.int64],
    items: int,
    x_label: str,
    x_name: str,
) -> None:
    wrong = in_none_of(family.predicted, both)
    areas = wrong @ trapezoid_weights(family.grid)
    over = _area("λ" if x_name == "λ" else "hole side", family.grid)
    per_item = mean_per_item(areas, owner, items)
    into.mean(
        f"In-between error, {title} ({over})", areas, per_item, "neither class predicted; trapezoid rule"
    )
    into.mean(
        f"In-between accuracy, {title} (either class, {over})",
        1 - areas,
        None if per_item is None else 1 - per_item,
        "one of the two classes predicted; trapezoid rule",
        higher_is_better=True,
    )
    into.curve(f"In-between error, {title}", family.grid, wrong, x_label)
    for column, share in enumerate(family.grid):
        into.share(f"In-between error, {title}", wrong[:, column], f"{x_name} {share:.4g}")


def _corruption(
    into: _Collector, found: Corruptions, own: NDArray[np.int64], clean: NDArray[np.bool_]
) -> None:
    wrong = in_none_of(found.predicted, own)
    severities = _severities(found.severities)
    kinds = f"{len(found.names)} corruptions" if len(found.names) > 1 else found.names[0]
    mean = wrong.mean(axis=(1, 2))
    into.mean(
        f"Mean corruption error ({kinds}, {severities})", mean, mean, "mean over corruptions and severities"
    )
    for column, name in enumerate(found.names):
        per_item = wrong[:, column].mean(axis=1)
        into.mean(f"{CORRUPTION_ERROR} ({severities})", per_item, None, "mean over severities", subset=name)
    for column, name in enumerate(found.names):
        for row, severity in enumerate(found.severities):
            into.share(VERSION_ERROR, wrong[:, column, row], f"{name}, severity {severity}")
    errors = np.column_stack([clean, wrong.mean(axis=1)])
    into.curve("Mean corruption error", np.append(0.0, found.severities), errors, "severity (0: clean)")


def _severities(values: list[int]) -> str:
    if len(values) == 1:
        return f"severity {values[0]}"
    if values == list(range(values[0], values[-1] + 1)):
        return f"severities {values[0]}-{values[-1]}"
    return f"severities {', '.join(map(str, values))}"


def _area(over: str, grid: NDArray[np.float64]) -> str:
    """The variant of a mean over a grid: an area where it spans [0, 1], else the range in so many words."""
    if len(grid) == 1:
        return f"at {over} {grid[0]:g}"
    if (grid[0], grid[-1]) == (0, 1):
        return f"area over {over}"
    return f"mean over {over} {grid[0]:g} to {grid[-1]:g}"
