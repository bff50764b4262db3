"""From predicted classes to metrics, curves and outcomes, on four items worked out by hand."""

from typing import Any

import numpy as np
import pytest

from eval_suite.core.metrics import MetricSet
from eval_suite.core.predictions import About
from eval_suite.core.statistics import wilson_interval
from eval_suite.tasks.robustness.metrics import NO_GRADIENT, SATURATED
from eval_suite.tasks.robustness.predictions import Corruptions, Family, Predictions
from eval_suite.tasks.robustness.score import doubts, findings
from tests.report.fake_suite import id_of

LABELS = np.array([0, 1, 2, 0])
EPSILON = 8 / 255
SETTINGS = {"pgd_steps": "10", "pgd_step_sizes": "2/255", "pgd_restarts": "1", "occlusion_fill": "mean"}

CLEAN = "Top-1 error (clean)"


def predictions(**changes: Any) -> Predictions:
    fields: dict[str, Any] = {
        "ids": list("abcd"),
        "labels": LABELS,
        "classes": ["x", "y", "z"],
        "about": About("d", "val", 4, "", []),
        "clean": np.array([0, 1, 2, 1]),
        "families": {},
        "pairs": np.zeros((0, 2), np.int64),
        "notes": {},
        "corruptions": None,
        "settings": SETTINGS,
    }
    return Predictions(**(fields | changes))


def scored(**changes: Any) -> MetricSet:
    return findings(predictions(**changes), LABELS)


def values(found: MetricSet) -> dict[tuple[str, str | None], float | None]:
    return {(metric.name, metric.subset): metric.value for metric in found.metrics}


def test_the_clean_error_alone() -> None:
    found = scored()
    (metric,) = found.metrics
    assert (metric.name, metric.value, metric.n, metric.method) == (CLEAN, 0.25, 4, "Wilson score")
    assert metric.interval == wilson_interval(1, 4)
    assert found.outcomes[id_of(CLEAN)].tolist() == [0, 0, 0, 1]
    assert found.curves == []


def test_guessing_by_hand() -> None:
    mixed = Family(np.array([[0, 1], [1, 0]]), np.array([0.0, 1.0]))
    attack = Family(np.array([[0], [1], [2], [2]]), np.array([EPSILON]))
    found = scored(families={"fgsm": attack, "mixup": mixed}, pairs=np.array([[0, 1], [1, 2]]))
    reached = {metric.key: metric.controls for metric in found.metrics if metric.subset is None}
    guessed = {"chance": pytest.approx(2 / 3), "most frequent class": pytest.approx(1 / 2)}
    assert reached["clean_error"] == reached["fgsm_error"] == guessed
    assert reached["in_between_error"] == {"chance": pytest.approx(1 / 3)}
    assert reached["in_between_accuracy"] == {"chance": pytest.approx(2 / 3)}


def test_attacks_by_hand() -> None:
    fgsm = Family(np.array([[0, 1], [1, 0], [2, 2], [1, 2]]), np.array([2 / 255, EPSILON]))
    pgd = Family(np.array([[1], [0], [1], [2]]), np.array([EPSILON]))
    found = scored(families={"fgsm": fgsm, "pgd": pgd})
    assert [metric.name for metric in found.metrics] == [
        "Top-1 error under FGSM (ε=8/255)",
        "Top-1 error under FGSM (ε=2/255)",
        "Top-1 error under PGD (ε=8/255, 10 steps of 2/255)",
        CLEAN,
    ]
    assert [metric.value for metric in found.metrics] == [0.75, 0.25, 1.0, 0.25]
    (curve,) = found.curves
    assert (curve.name, curve.x, curve.y) == (
        "Top-1 error under FGSM",
        [0, 2 / 255, EPSILON],
        [0.25, 0.25, 0.75],
    )


def test_the_variant_of_an_attack_is_in_its_name() -> None:
    family = {"pgd": Family(np.zeros((4, 1), int), np.array([0.1]))}
    more = scored(families=family, settings=SETTINGS | {"pgd_restarts": "3", "attack_loss": "cross-entropy"})
    assert more.metrics[0].name == (
        "Top-1 error under PGD (ε=0.1, 10 steps of 2/255, 3 restarts, float32 cross entropy)"
    )
    assert scored(families=family, settings={}).metrics[0].name == "Top-1 error under PGD (ε=0.1)"


def test_occlusion_areas_by_hand() -> None:
    # Errors of the four items over the shares 0, 0.5, 1.
    predicted = np.array([[0, 0, 1], [1, 0, 0], [2, 0, 0], [1, 0, 1]])
    found = scored(families={"centre_occlusion": Family(predicted, np.array([0, 0.5, 1]))})
    name = "Centre occlusion error (area over hole side, mean fill)"
    assert found.outcomes[id_of(name)].tolist() == [0.25, 0.75, 0.75, 0.5]
    assert values(found)[name, None] == pytest.approx(0.5625)
    assert found.curves[0].y == pytest.approx([0.25, 0.5, 1.0])
    assert np.trapezoid([0.25, 0.5, 1.0], [0, 0.5, 1]) == pytest.approx(0.5625)
    point = next(metric for metric in found.metrics if metric.subset == "hole side 0.5")
    assert (point.name, point.value) == ("Top-1 error under centre occlusion", 0.5)
    assert point.interval == wilson_interval(2, 4)


def test_a_grid_that_is_not_whole_is_named() -> None:
    family = Family(np.zeros((4, 2), int), np.array([0.25, 0.5]))
    pairs = np.stack([np.arange(4), [1, 0, 0, 2]], axis=1)
    names = [metric.name for metric in scored(families={"mixup": family}, pairs=pairs).metrics]
    assert names[0] == "In-between error, Mixup (mean over λ 0.25 to 0.5)"
    one = {"mixup": Family(np.zeros((4, 1), int), np.array([0.5]))}
    assert scored(families=one, pairs=pairs).metrics[0].name == "In-between error, Mixup (at λ 0.5)"


def test_in_between_errors_by_hand() -> None:
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 1]])  # classes {0,1}, {1,2}, {2,0}, {0,1}
    predicted = np.array([[1, 2, 0], [1, 0, 2], [2, 1, 0], [2, 2, 2]])
    found = scored(families={"mixup": Family(predicted, np.array([0, 0.5, 1]))}, pairs=pairs)
    error, accuracy = (
        "In-between error, Mixup (area over λ)",
        "In-between accuracy, Mixup (either class, area over λ)",
    )
    assert found.outcomes[id_of(error)].tolist() == [0.5, 0.5, 0.5, 1.0]
    assert values(found)[error, None] == pytest.approx(0.625)
    assert values(found)[accuracy, None] == pytest.approx(0.375)
    assert found.outcomes[id_of(accuracy)].tolist() == [0.5, 0.5, 0.5, 0.0]
    assert {m.name: m.higher_is_better for m in found.metrics}[accuracy]
    assert found.curves[0].y == [0.25, 1.0, 0.25]


def test_pairs_that_do_not_cover_the_items_evenly_have_no_outcomes() -> None:
    family = {"cutmix": Family(np.array([[0, 1], [2, 2]]), np.array([0, 1.0]))}
    found = scored(families=family, pairs=np.array([[0, 1], [0, 2]]))
    assert list(found.outcomes) == [id_of(CLEAN)]
    assert found.metrics[0].n == 2


def test_corruption_errors_by_hand() -> None:
    predicted = np.zeros((4, 2, 2), int)  # right for the items of class 0 only
    predicted[1, 0, 0] = 1
    found = scored(corruptions=Corruptions(predicted, ["fog", "snow"], [1, 2]))
    mean = "Mean corruption error (2 corruptions, severities 1-2)"
    assert values(found)[mean, None] == pytest.approx(7 / 16)
    assert found.outcomes[id_of(mean)].tolist() == [0, 0.75, 1, 0]
    assert values(found)["Corruption error (severities 1-2)", "fog"] == pytest.approx(3 / 8)
    assert values(found)["Corruption error (severities 1-2)", "snow"] == pytest.approx(0.5)
    assert values(found)["Top-1 error under corruption", "fog, severity 1"] == 0.25
    assert values(found)["Top-1 error under corruption", "fog, severity 2"] == 0.5
    (curve,) = found.curves
    assert (curve.x, curve.y) == ([0, 1, 2], [0.25, 0.375, 0.5])
    one = scored(corruptions=Corruptions(predicted[:, :1, [0]], ["fog"], [3]))
    assert one.metrics[0].name == "Mean corruption error (fog, severity 3)"
    gaps = scored(corruptions=Corruptions(predicted, ["fog", "snow"], [1, 5]))
    assert gaps.metrics[0].name == "Mean corruption error (2 corruptions, severities 1, 5)"


def test_every_outcome_is_its_metric_item_by_item() -> None:
    rng = np.random.default_rng(0)
    n, labels = 60, rng.integers(0, 3, 60)
    grid = np.array([0, 0.3, 1])
    pairs = np.stack([np.arange(n), (np.arange(n) + 1) % n], axis=1)
    found = findings(
        predictions(
            clean=rng.integers(0, 3, n),
            families={
                name: Family(rng.integers(0, 3, (n, 3)), grid)
                for name in ("fgsm", "pgd", "centre_occlusion", "boundary_occlusion", "mixup", "cutmix")
            },
            pairs=pairs,
            corruptions=Corruptions(rng.integers(0, 3, (n, 2, 2)), ["fog", "snow"], [1, 4]),
            notes={"saturated": rng.random(n) < 0.5},
        ),
        labels,
    )
    whole = {metric.id: metric for metric in found.metrics if metric.subset is None}
    assert whole.keys() == found.outcomes.keys()
    for name, outcome in found.outcomes.items():
        assert outcome.mean() == pytest.approx(whole[name].value)
        interval = whole[name].interval
        assert interval is not None
        assert interval[0] <= (whole[name].value or 0) <= interval[1]


def test_images_without_gradient_and_flat_losses_are_counted_and_doubted() -> None:
    flags = np.array([True, False, False, False])
    found = scored(notes={"no_gradient": flags, "saturated": ~flags})
    assert values(found)[NO_GRADIENT.name({}), None] == 0.25
    assert values(found)[SATURATED.name({}), None] == 0.75
    (line,) = doubts(predictions(notes={"no_gradient": flags, "saturated": ~flags}), LABELS)
    assert line.startswith("1 of 4 images have no input gradient at all")
    plain = predictions(notes={"saturated": ~flags}, settings={"attack_loss": "cross-entropy"})
    assert doubts(plain, LABELS) == [
        "the float32 cross entropy of 3 of 4 images is flat, so the attacks partly miss their direction; "
        "--attack-loss log-odds has it"
    ]
    assert doubts(predictions(notes={"no_gradient": flags & False}), LABELS) == []


def test_pgd_that_does_less_than_fgsm_is_doubted() -> None:
    grid = np.array([EPSILON])
    wrong, right = Family(LABELS[:, None] + 1, grid), Family(LABELS[:, None], grid)
    (line,) = doubts(predictions(families={"fgsm": wrong, "pgd": right}), LABELS)
    assert line.startswith("PGD fools fewer images (0.0%) than FGSM (100.0%) at ε = 8/255")
    assert doubts(predictions(families={"fgsm": right, "pgd": wrong}), LABELS) == []
    other = right._replace(grid=np.array([0.5]))
    assert doubts(predictions(families={"fgsm": wrong, "pgd": other}), LABELS) == []


def test_attacks_of_autoattack_are_named_with_what_is_not_as_usual() -> None:
    family = Family(np.array([[1], [1], [1], [2]]), np.array([EPSILON]))
    usual = {
        "attack_steps": "100",
        "attack_restarts": "1",
        "attack_targets": "9",
        "square_queries": "5000",
        "attack_loss": "log-odds",
    }
    families = dict.fromkeys(("apgd_ce", "apgd_t", "square", "autoattack"), family)
    names = [metric.name for metric in scored(families=families, settings=usual).metrics]
    assert names[:4] == [
        f"Top-1 error under {attack} (ε=8/255)" for attack in ("APGD-CE", "APGD-T", "Square", "AutoAttack")
    ]
    other = usual | {
        "attack_steps": "20",
        "attack_restarts": "5",
        "attack_targets": "3",
        "square_queries": "10",
    }
    plain = scored(families=families, settings=other | {"attack_loss": "cross-entropy"})
    assert [metric.name for metric in plain.metrics[:4]] == [
        "Top-1 error under APGD-CE (ε=8/255, 20 steps, 5 restarts, float32 cross entropy)",
        "Top-1 error under APGD-T (ε=8/255, 20 steps, 3 target classes, 5 restarts)",
        "Top-1 error under Square (ε=8/255, 10 queries)",
        "Top-1 error under AutoAttack (ε=8/255, 20 steps, 3 target classes, 10 queries, 5 restarts, float32 cross entropy)",
    ]
    assert scored(families={"square": family}, settings={}).metrics[0].params == {
        "attack": "square",
        "epsilon": "8/255",
    }
    (metric,) = [m for m in plain.metrics if m.params.get("attack") == "square"]
    assert (metric.value, metric.interval) == (0.75, wilson_interval(3, 4))
    assert plain.outcomes[metric.id].tolist() == [1, 0, 1, 1]


def test_square_that_does_more_than_apgd_is_doubted() -> None:
    wrong = Family(1 - LABELS.clip(max=1)[:, None], np.array([EPSILON]))
    right = Family(LABELS[:, None], np.array([EPSILON]))
    (line,) = doubts(predictions(families={"square": wrong, "apgd_ce": right}), LABELS)
    assert line.startswith("Square, which sees no gradient, fools more images (100.0%) than APGD (0.0%)")
    assert doubts(predictions(families={"square": wrong, "apgd_ce": right, "apgd_t": wrong}), LABELS) == []
    assert doubts(predictions(families={"square": wrong}), LABELS) == []


def test_patch_errors_by_hand() -> None:
    drop = Family(np.array([[0, 1], [1, 1], [2, 0], [0, 0]]), np.array([0, 0.5]))
    shuffle = Family(np.array([[0, 1, 1], [1, 1, 0], [2, 0, 0], [0, 0, 1]]), np.array([2, 4, 8]))
    found = scored(families={"patch_drop": drop, "patch_shuffle": shuffle}, settings={"patch_size": "16"})
    dropped, shuffled = found.metrics[:2]
    assert dropped.name == "Patch drop error (mean over share 0 to 0.5, patches of 16 pixels)"
    assert found.outcomes[dropped.id].tolist() == [0.5, 0, 0.5, 0]
    assert shuffled.name == "Patch shuffle error (2 x 2, 4 x 4, 8 x 8)"
    assert found.outcomes[shuffled.id].tolist() == pytest.approx([2 / 3, 1 / 3, 2 / 3, 1 / 3])
    assert shuffled.value == pytest.approx(0.5)
    assert values(found)["Top-1 error with dropped patches", "share 0.5"] == 0.5
    assert values(found)["Top-1 error with shuffled patches", "4 x 4"] == 0.5
