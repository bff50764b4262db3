"""From predicted classes to what the record holds: metrics with intervals, curves, per-item outcomes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.controls import CHANCE, guessing
from eval_suite.core.errors import InputError
from eval_suite.core.metrics import Bounds, MetricKind, MetricSet
from eval_suite.core.records import Curve, Example, Param, Params
from eval_suite.core.statistics import wilson_interval
from eval_suite.data.pictures import never_failing
from eval_suite.data.truth import true_labels
from eval_suite.tasks.base import Score, TaskOptions
from eval_suite.tasks.order_doubts import order_doubts
from eval_suite.tasks.robustness.corruption_errors import add_corruption_errors
from eval_suite.tasks.robustness.errors import in_none_of, mean_per_item, trapezoid_weights
from eval_suite.tasks.robustness.examples import examples
from eval_suite.tasks.robustness.metrics import (
    ATTACK,
    CLEAN,
    FGSM,
    IN_BETWEEN,
    IN_BETWEEN_ACCURACY,
    IN_BETWEEN_AT,
    MEAN_CORRUPTION,
    MIXES,
    NO_GRADIENT,
    OCCLUSION,
    OCCLUSION_AT,
    PATCH_DROP,
    PATCH_DROP_AT,
    PATCH_SHUFFLE,
    PATCH_SHUFFLE_AT,
    PGD,
    SATURATED,
    SHIFT,
    SHIFT_REFERENCE,
)
from eval_suite.tasks.robustness.options import ATTACKS, AUTOATTACK, epsilon_name
from eval_suite.tasks.robustness.predictions import (
    ATTACK_FAMILIES,
    Family,
    Predictions,
    Shifted,
    read_predictions,
)

_NOTES = {"no_gradient": NO_GRADIENT, "saturated": SATURATED}
_MASKED_FROM, _WEAKER_FROM = 0.01, 0.01
_WHITE_BOX = ("apgd_ce", "apgd_dlr", "apgd_t")
_PAPERS_EPSILON = "8/255"
_OVER_SIDE, _OVER_LAMBDA = "hole side / image side", "λ, share of the first image"


def score(predictions: Path, options: TaskOptions | None, truth: str | None, folder: Path | None) -> Score:
    """Metrics of a predictions file; ``truth`` (KIND:PATH) gives the labels where the file has none.

    Where only some outputs stand for classes of the data, every metric is computed among those and among all; curves,
    pictures and warnings are of the former.

    Raises:
        InputError: if there are no labels, or the file does not belong to the truth.
    """
    split = options.split if options else None
    found, assumptions = _with_truth(read_predictions(predictions), predictions, truth, split)
    labels = found.labels
    assert labels is not None
    metrics = findings(found, labels)
    if found.among_all is not None:
        among_all, _ = _with_truth(found.among_all, predictions, truth, split)
        assert among_all.labels is not None
        metrics.extend(replace(findings(among_all, among_all.labels), curves=[]))
    shown: list[Example] = []
    with never_failing("robustness"):
        shown = examples(folder, found, labels, found.classes) if folder else []
    return Score(
        metrics,
        found.about.info(len(labels)),
        examples=shown,
        ids=found.ids,
        warnings=[
            *order_doubts(found.clean.astype(np.int64), labels, found.classes),
            *assumptions,
            *doubts(found, labels),
        ],
    )


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
        name: dict(zip(family.grid.tolist(), in_none_of(family.predicted, own).mean(axis=0), strict=True))
        for name in ("fgsm", "pgd", *ATTACK_FAMILIES.values())
        if (family := found.families.get(name)) is not None
    }
    for epsilon, weak in errors.get("fgsm", {}).items():
        strong = errors.get("pgd", {}).get(epsilon, weak)
        if strong < weak - _WEAKER_FROM:
            lines.append(
                f"PGD fools fewer images ({strong:.1%}) than FGSM ({weak:.1%}) at ε = {epsilon_name(epsilon)}; "
                "give it more or smaller steps, or suspect masked gradients"
            )
    for epsilon, blind in errors.get("square", {}).items():
        seeing = [errors[name][epsilon] for name in _WHITE_BOX if epsilon in errors.get(name, {})]
        if seeing and max(seeing) < blind - _WEAKER_FROM:
            lines.append(
                f"Square, which sees no gradient, fools more images ({blind:.1%}) than APGD ({max(seeing):.1%}) at "
                f"ε = {epsilon_name(epsilon)}; such masked gradients look like robustness and are none"
            )
    return lines


def findings(found: Predictions, labels: NDArray[np.int64]) -> MetricSet:
    """Everything a predictions file says, given the labels (n,).

    The order is that of the paper: attacks, occlusion, in-between samples; then corruptions and the clean error; single
    points of a sweep come last.
    """
    own = labels[:, None]
    outputs = found.settings.get("outputs")
    into = MetricSet(shared={"outputs": int(outputs)} if outputs else {})
    clean = in_none_of(found.clean, own)
    loss: dict[str, Param] = (
        {"loss": "cross-entropy"} if found.settings.get("attack_loss") == "cross-entropy" else {}
    )
    if "fgsm" in found.families:
        family = found.families["fgsm"]
        _attack(into, FGSM, "FGSM", family, own, clean, [loss] * len(family.grid))
    if "pgd" in found.families:
        family = found.families["pgd"]
        _attack(
            *(into, PGD, "PGD", family, own, clean),
            [{**walk, **loss} for walk in _walks(found.settings, family.grid)],
        )
    for name, family_name in ATTACK_FAMILIES.items():
        if family_name in found.families:
            family = found.families[family_name]
            params = {"attack": name, **_attack_params(name, found.settings)}
            _attack(into, ATTACK, ATTACKS[name], family, own, clean, [params] * len(family.grid))
    fill = found.settings.get("occlusion_fill", "")
    for region in ("centre", "boundary"):
        if f"{region}_occlusion" in found.families:
            _occlusion(into, region, found.families[f"{region}_occlusion"], own, fill)
    if "patch_drop" in found.families:
        _patch_drop(into, found.families["patch_drop"], own, found.settings)
    if "patch_shuffle" in found.families:
        _patch_shuffle(into, found.families["patch_shuffle"], own)
    if len(found.pairs):
        both = labels[found.pairs]
        for mix in MIXES:
            if mix in found.families:
                _in_between(into, mix, found.families[mix], both, found.pairs[:, 0], len(labels))
    if found.corruptions is not None:
        add_corruption_errors(into, found, found.corruptions, labels, clean)
    for shifted in found.shifted:
        _shift(into, shifted, clean)
    into.share(CLEAN, clean)
    for note, kind in _NOTES.items():
        if note in found.notes:
            into.share(kind, found.notes[note])
    into.metrics.sort(key=lambda metric: metric.subset is not None)
    _controls(into, labels, len(found.classes))
    return into


def _controls(into: MetricSet, labels: NDArray[np.int64], classes: int) -> None:
    """What guessing reaches, which looks at no image and so is the same under every change of one.

    An in-between sample has two right answers.
    """
    if classes <= labels.max(initial=0):
        return  # other tools' predictions need not say how many classes there are
    guessed = guessing(labels, classes)
    for kind in (FGSM, PGD, OCCLUSION, CLEAN):
        into.control(kind, guessed)
    into.control(MEAN_CORRUPTION, {CHANCE: guessed[CHANCE]})  # published images may be others
    right = min(2, classes) / classes
    into.control(IN_BETWEEN, {CHANCE: 1 - right})
    into.control(IN_BETWEEN_ACCURACY, {CHANCE: right})


def _curve(name: str, grid: NDArray[np.floating], wrong: NDArray[np.bool_], x_label: str) -> Curve:
    """Mean error at each point of the grid."""
    return Curve(
        name=name,
        x=[float(x) for x in grid],
        y=[float(y) for y in wrong.mean(axis=0)],
        x_label=x_label,
        y_label="top-1 error",
    )


def _attack(
    into: MetricSet,
    kind: MetricKind,
    title: str,
    family: Family,
    own: NDArray[np.int64],
    clean: NDArray[np.bool_],
    variants: list[dict[str, Param]],
) -> None:
    wrong = in_none_of(family.predicted, own)
    names = [epsilon_name(epsilon) for epsilon in family.grid]
    # The paper's ε comes first, as the number to quote.
    for column in sorted(range(len(names)), key=lambda column: names[column] != _PAPERS_EPSILON):
        into.share(kind, wrong[:, column], {"epsilon": names[column], **variants[column]})
    if len(family.grid) > 1:
        grid, errors = family.grid, wrong
        if grid[0] > 0:
            grid, errors = np.append(0.0, grid), np.column_stack([clean, wrong])
        into.curves.append(_curve(f"Top-1 error under {title}", grid, errors, "ε (images in [0, 1])"))


def _walks(settings: dict[str, str], grid: NDArray[np.float64]) -> list[dict[str, Param]]:
    """How PGD walks at each ε; nothing where the file does not tell."""
    sizes = settings.get("pgd_step_sizes", "").split()
    if "pgd_steps" not in settings or len(sizes) != len(grid):
        return [{} for _ in grid]
    restarts = int(settings.get("pgd_restarts", "1"))
    again: dict[str, Param] = {"restarts": restarts} if restarts != 1 else {}
    return [{"steps": settings["pgd_steps"], "step_size": size, **again} for size in sizes]


def _attack_params(name: str, settings: dict[str, str]) -> dict[str, Param]:
    """What one of AutoAttack's parts depends on; nothing where the file does not tell."""
    has = AUTOATTACK if name == "autoattack" else (name,)
    uses = {
        "steps": ("attack_steps", any(part != "square" for part in has)),
        "restarts": ("attack_restarts", any(part.startswith("apgd") for part in has)),
        "targets": ("attack_targets", any(part.endswith("-t") for part in has)),
        "queries": ("square_queries", "square" in has),
    }
    params: dict[str, Param] = {
        param: int(settings[key]) for param, (key, used) in uses.items() if used and key in settings
    }
    if params.get("restarts") == 1:
        del params["restarts"]
    if "apgd-ce" in has and settings.get("attack_loss") == "cross-entropy":
        params["loss"] = "cross-entropy"
    return params


def _occlusion(into: MetricSet, region: str, family: Family, own: NDArray[np.int64], fill: str) -> None:
    wrong = in_none_of(family.predicted, own)
    areas = wrong @ trapezoid_weights(family.grid)
    params: dict[str, Param] = {"region": region, "over": _area("hole side", family.grid)}
    if fill:
        params["fill"] = fill
    into.mean_rate(OCCLUSION, areas, params, outcome=areas, before="trapezoid rule")
    into.curves.append(_curve(f"{region.capitalize()} occlusion error", family.grid, wrong, _OVER_SIDE))
    for column, share in enumerate(family.grid):
        into.share(OCCLUSION_AT, wrong[:, column], {"region": region}, subset=f"hole side {share:.4g}")


def _patch_drop(into: MetricSet, family: Family, own: NDArray[np.int64], settings: dict[str, str]) -> None:
    wrong = in_none_of(family.predicted, own)
    areas = wrong @ trapezoid_weights(family.grid)
    params: dict[str, Param] = {"over": _area("share", family.grid)}
    if "patch_size" in settings:
        params["patch"] = int(settings["patch_size"])
    if settings.get("occlusion_fill"):
        params["fill"] = settings["occlusion_fill"]
    into.mean_rate(PATCH_DROP, areas, params, outcome=areas, before="trapezoid rule")
    into.curves.append(_curve("Patch drop error", family.grid, wrong, "share of patches covered"))
    for column, share in enumerate(family.grid):
        into.share(PATCH_DROP_AT, wrong[:, column], subset=f"share {share:.4g}")


def _patch_shuffle(into: MetricSet, family: Family, own: NDArray[np.int64]) -> None:
    wrong = in_none_of(family.predicted, own)
    names = [f"{grid:.0f} x {grid:.0f}" for grid in family.grid]
    mean = wrong.mean(axis=1)
    into.mean_rate(PATCH_SHUFFLE, mean, {"grids": ", ".join(names)}, outcome=mean, before="mean over grids")
    if len(family.grid) > 1:
        into.curves.append(_curve("Patch shuffle error", family.grid, wrong, "parts along a side"))
    for column, name in enumerate(names):
        into.share(PATCH_SHUFFLE_AT, wrong[:, column], subset=name)


def _shift(into: MetricSet, shifted: Shifted, clean: NDArray[np.bool_]) -> None:
    """The error on other images; they are no items of the task, so that nothing is paired by item."""
    params: dict[str, Param] = {"images": shifted.name}
    if shifted.reference is not None:
        params["outputs"] = shifted.outputs
    wrong = shifted.predicted != shifted.labels
    before = clean if shifted.reference is None else shifted.reference != shifted.reference_labels
    for kind, mistakes in ((SHIFT, wrong), (SHIFT_REFERENCE, before)):
        if len(mistakes):
            uncertainty = Bounds(wilson_interval(int(mistakes.sum()), len(mistakes)), "Wilson score")
            into.add(kind, float(mistakes.mean()), len(mistakes), params, uncertainty=uncertainty)
        else:
            into.missing(kind, 0, "none of the evaluated images is of these classes", params)


def _in_between(
    into: MetricSet,
    mix: str,
    family: Family,
    both: NDArray[np.int64],
    owner: NDArray[np.int64],
    items: int,
) -> None:
    wrong = in_none_of(family.predicted, both)
    areas = wrong @ trapezoid_weights(family.grid)
    x_name, x_label = ("λ", _OVER_LAMBDA) if mix == "mixup" else ("hole side", _OVER_SIDE)
    params: Params = {"mix": mix, "over": _area(x_name, family.grid)}
    per_item = mean_per_item(areas, owner, items)
    into.mean_rate(
        IN_BETWEEN, areas, params, outcome=per_item, before="neither class predicted; trapezoid rule"
    )
    into.mean_rate(
        IN_BETWEEN_ACCURACY,
        1 - areas,
        params,
        outcome=None if per_item is None else 1 - per_item,
        before="one of the two classes predicted; trapezoid rule",
    )
    into.curves.append(_curve(f"In-between error, {MIXES[mix]}", family.grid, wrong, x_label))
    for column, share in enumerate(family.grid):
        into.share(IN_BETWEEN_AT, wrong[:, column], {"mix": mix}, subset=f"{x_name} {share:.4g}")


def _area(over: str, grid: NDArray[np.float64]) -> str:
    """The variant of a mean over a grid: an area where it spans [0, 1], else the range in so many words."""
    if len(grid) == 1:
        return f"at {over} {grid[0]:g}"
    if (grid[0], grid[-1]) == (0, 1):
        return f"area over {over}"
    return f"mean over {over} {grid[0]:g} to {grid[-1]:g}"


def _with_truth(
    found: Predictions, path: Path, truth: str | None, split: str | None
) -> tuple[Predictions, list[str]]:
    """The predictions with labels, with what else the ground truth says where it is given, and what was assumed."""
    if truth is None:
        if found.labels is None:
            raise InputError(f"{path} holds no labels; give the ground truth as --truth KIND:PATH")
        return found, []
    given = true_labels(
        truth,
        split,
        ids=found.ids,
        items=len(found.clean),
        about=found.about,
        path=path,
        labels=found.labels,
        names=found.classes,
    )
    known = found._replace(labels=given.labels, ids=given.ids, classes=given.match.names, about=given.about)
    return known, given.assumptions
