"""From a predictions file to metrics: each set, means with and without noise, intervals, outcomes, and bad files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.core.records import Metric, metric_id
from eval_suite.tasks.base import Score
from eval_suite.tasks.external import score_file
from eval_suite.tasks.ood import resamples
from eval_suite.tasks.ood.metrics import NON_NOISE
from eval_suite.tasks.ood.outcomes import auroc_outcomes
from eval_suite.tasks.ood.predictions import Facts, Outliers, Predictions, read_predictions, write_predictions
from eval_suite.tasks.ood.rates import detection, odin_reference_aupr, odin_reference_tnr
from eval_suite.tasks.ood.score import detection_metrics
from eval_suite.tasks.ood.task import OodTask

N, M = 300, 200
SETS = ("near", "far", "uniform")
ALL_RESAMPLES = resamples.RESAMPLES

ECE_NAME = "ECE (15 equal-width bins)"


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for all but what is said of intervals, which take nearly all of the time."""
    monkeypatch.setattr(resamples, "RESAMPLES", 30)


@pytest.fixture
def all_resamples(_few_resamples: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resamples, "RESAMPLES", ALL_RESAMPLES)


def detected(given: Predictions) -> list[Metric]:
    return detection_metrics(given).metrics


def logits_of(n: int, gain: float, seed: int) -> NDArray[np.float32]:
    return (gain * np.random.default_rng(seed).normal(size=(n, 4))).astype(np.float32)


def confidences(logits: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    exact = logits.astype(float)
    probabilities = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    return {"max-softmax": probabilities.max(axis=1), "energy": np.log(np.exp(exact).sum(axis=1))}


def some_predictions(**changes: Any) -> Predictions:
    known = logits_of(N, 4, 0)
    outliers = {}
    for number, (name, gain) in enumerate(zip(SETS, (3.0, 1.0, 2.0), strict=True), start=1):
        found = logits_of(M, gain, number)
        outliers[name] = Outliers(
            ids=[f"{name}-{i}" for i in range(M)],
            scores=confidences(found),
            predicted=found.argmax(axis=1),
            noise=name == "uniform",
            about=About(name, "all", M, name, []),
        )
    fields: dict[str, Any] = {
        "ids": [f"image-{i}" for i in range(N)],
        "scores": confidences(known),
        "logits": known,
        "labels": known.argmax(axis=1),
        "classes": ["a", "b", "c", "d"],
        "about": About("demo", "val", N, "d" * 64, []),
        "outliers": outliers,
        "settings": {"outlier_seed": "0"},
    }
    return Predictions(**(fields | changes))


def by_key(metrics: list[Metric]) -> dict[tuple[str, str | None], Metric]:
    found = {(metric.name, metric.subset): metric for metric in metrics}
    assert len(found) == len(metrics)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        write_predictions(tmp_path / "p.npz", some_predictions(**changes))
        return tmp_path / "p.npz"

    return write


def scored(path: Path) -> Score:
    return score_file(OodTask(), path, None, None)


def test_each_set_their_mean_and_the_mean_without_noise() -> None:
    given = some_predictions()
    found = by_key(detected(given))
    fields = {
        "AUROC": "auroc",
        "TNR@TPR95 (ID positive)": "tnr",
        "Detection accuracy": "accuracy",
        "AUPR-In (average precision)": "aupr_in",
        "AUPR-Out (average precision)": "aupr_out",
        "FPR95 (OOD positive)": "fpr_outliers_positive",
    }
    for score, title in (("max-softmax", "max softmax"), ("energy", "energy")):
        for name, field in fields.items():
            values = {
                key: float(getattr(detection(given.scores[score], each.scores[score]), field))
                for key, each in given.outliers.items()
            }
            for key in SETS:
                metric = found[f"{name}, {title}", key]
                assert metric.value == pytest.approx(values[key], abs=1e-12)
                assert metric.n == N + M
            mean = found[f"{name}, {title}", None]
            assert mean.value == pytest.approx(np.mean(list(values.values())))
            assert mean.n == N + 3 * M
            assert "mean over 3 outlier sets" in (mean.method or "")
            natural = found[f"{name}, {title}, without noise", None]
            assert natural.value == pytest.approx((values["near"] + values["far"]) / 2)
            assert natural.n == N + 2 * M
            for metric in (mean, natural):
                assert metric.interval is not None
                assert metric.value is not None
                assert metric.interval[0] < metric.value < metric.interval[1]
                assert metric.higher_is_better == (field != "fpr_outliers_positive")


def test_the_reference_variant_stands_beside_the_exact_one() -> None:
    given = some_predictions()
    found = by_key(detected(given))
    name = "TNR@TPR95 (ODIN's reference code), max softmax"
    known, near = given.scores["max-softmax"], given.outliers["near"].scores["max-softmax"]
    assert found[name, "near"].value == odin_reference_tnr(known, near, 0.25)
    values = [found[name, key].value for key in SETS]
    assert found[name, None].value == pytest.approx(np.mean([value for value in values if value is not None]))
    # With 30 items no TPR lies in [0.9495, 0.9505].
    few = some_predictions()
    scores = {key: values[:30] for key, values in few.scores.items()}
    small = by_key(detected(few._replace(scores=scores)))
    assert small[name, None].value is None
    assert small[name, "near"].reason == "no threshold has a TPR in [0.9495, 0.9505]"


def test_areas_of_the_reference_code_stand_beside_the_average_precisions() -> None:
    given = some_predictions()
    found = by_key(detected(given))
    known = given.scores["max-softmax"]
    for place, name in enumerate(("AUPR-In", "AUPR-Out")):
        full = f"{name} (ODIN's reference code), max softmax"
        each = {
            key: odin_reference_aupr(known, given.outliers[key].scores["max-softmax"], 0.25)[place]
            for key in SETS
        }
        assert {key: found[full, key].value for key in SETS} == each
        assert found[full, None].value == pytest.approx(np.mean(list(each.values())))
        assert found[full, None].value != found[f"{name} (average precision), max softmax", None].value


def test_without_noise_or_with_noise_alone_there_is_one_mean() -> None:
    given = some_predictions()
    natural = {name: each for name, each in given.outliers.items() if not each.noise}
    noise = {"uniform": given.outliers["uniform"]}
    for outliers in (natural, noise):
        names = {metric.name for metric in detected(given._replace(outliers=outliers))}
        assert not any("without noise" in name for name in names)


def test_outcomes_average_to_their_metrics(file: Callable[..., Path]) -> None:
    score = scored(file())
    found = {metric.id: metric for metric in score.metrics if metric.subset is None}
    assert set(score.outcomes) == {
        metric_id("auroc", {"score": each, **sets})
        for each in ("max_softmax", "energy")
        for sets in ({}, {"sets": "non_noise"})
    } | {"ood_confidence"}
    total = N + sum(len(each.ids) for each in some_predictions().outliers.values())
    assert len(score.ids) == len(set(score.ids)) == total
    for name, values in score.outcomes.items():
        assert values.shape == (total,)
        assert values.mean() == pytest.approx(found[name].value)


def test_what_has_no_outcomes_is_resampled_with_the_same_items_for_every_network() -> None:
    given = some_predictions()
    found = detection_metrics(given)
    rates = ("tnr_at_95_tpr", "detection_accuracy", "aupr_in", "aupr_out", "fpr_at_95_tpr")
    assert set(found.resampled) == {
        metric_id(key, {"score": score, **sets})
        for key in rates
        for score in ("max_softmax", "energy")
        for sets in ({}, {"sets": "non_noise"})
    }
    # A network whose confidences stand in the same order ranks every resample alike.
    rescaled = given._replace(
        scores={name: 3 * values + 1 for name, values in given.scores.items()},
        outliers={
            name: each._replace(scores={score: 3 * values + 1 for score, values in each.scores.items()})
            for name, each in given.outliers.items()
        },
    )
    again = detection_metrics(rescaled).resampled
    assert all(np.array_equal(values, again[id_]) for id_, values in found.resampled.items())


def test_resampled_rates_are_those_of_the_chosen_items() -> None:
    near = some_predictions().outliers["near"]
    one = some_predictions(outliers={"near": near})
    draws = resamples.Draws(one)
    known, outside = one.scores["energy"], near.scores["energy"]
    resampled = detection_metrics(one).resampled
    for row in (0, 7, 29):
        alone = detection(np.repeat(known, draws.known[row]), np.repeat(outside, draws.outliers["near"][row]))
        for key, value in (("fpr_at_95_tpr", alone.fpr_outliers_positive), ("tnr_at_95_tpr", alone.tnr)):
            found = resampled[metric_id(key, {"score": "energy"})][row]
            assert found == pytest.approx(float(value), abs=1e-6)


def test_paired_differences_have_delongs_variance() -> None:
    near = some_predictions().outliers["near"]
    one = some_predictions(outliers={"near": near})
    moved = near._replace(scores=confidences(logits_of(M, 2.5, 8)))
    pair = [one, one._replace(scores=confidences(logits_of(N, 3, 7)), outliers={"near": moved})]
    a, b = (auroc_outcomes(given)[metric_id("auroc", {"score": "energy"})] for given in pair)
    sides = [(given.scores["energy"], given.outliers["near"].scores["energy"]) for given in pair]
    of_known = [np.array([(outside < k).mean() for k in known]) for known, outside in sides]
    of_near = [np.array([(known > o).mean() for o in outside]) for known, outside in sides]
    error = np.var(of_known[0] - of_known[1]) / N + np.var(of_near[0] - of_near[1]) / M
    assert np.var(a - b) / (N + M) == pytest.approx(error, rel=1e-9)
    assert (a - b).mean() == pytest.approx(of_known[0].mean() - of_known[1].mean())


@pytest.mark.usefixtures("all_resamples")
def test_bootstrap_errors_are_those_of_delong() -> None:
    given = some_predictions()
    known, near = given.scores["energy"], given.outliers["near"].scores["energy"]
    # Variance of the AUROC from the placements of both kinds.
    of_known = np.array([(near < k).mean() for k in known])
    of_near = np.array([(known > o).mean() for o in near])
    error = np.sqrt(of_known.var(ddof=1) / N + of_near.var(ddof=1) / M)
    metric = by_key(detected(given))["AUROC, energy", "near"]
    assert metric.interval is not None
    assert metric.interval[1] - metric.interval[0] == pytest.approx(2 * 1.96 * error, rel=0.12)


@pytest.mark.usefixtures("all_resamples")
def test_the_interval_of_a_mean_knows_that_sets_share_the_known_images() -> None:
    given = some_predictions()
    near = given.outliers["near"]
    twin = given._replace(outliers={"one": near, "two": near})
    found = by_key(detected(twin))
    mean, alone = found["AUROC, energy", None].interval, found["AUROC, energy", "one"].interval
    assert mean is not None
    assert alone is not None
    # Halving the variance of the outliers only: narrower, but by far less than the root of two.
    assert 0.75 < (mean[1] - mean[0]) / (alone[1] - alone[0]) < 1


def test_separate_sets_do_not_get_an_interval_of_no_width() -> None:
    given = some_predictions()
    apart = {"energy": given.scores["energy"] + 100}
    outliers = {
        "near": given.outliers["near"]._replace(scores={"energy": given.outliers["near"].scores["energy"]})
    }
    found = by_key(detected(given._replace(scores=apart, outliers=outliers)))
    for name in ("AUROC, energy", "TNR@TPR95 (ID positive), energy", "Detection accuracy, energy"):
        metric = found[name, "near"]
        assert metric.value == 1.0
        assert metric.interval is not None
        assert metric.interval == (pytest.approx(200 / (200 + 1.96**2), abs=1e-4), 1.0)
        assert "Wilson" in (metric.method or "")


def test_too_few_outliers_have_no_95_percent() -> None:
    given = some_predictions()
    near = given.outliers["near"]
    few = near._replace(scores={key: values[:8] for key, values in near.scores.items()})
    found = by_key(detected(given._replace(outliers={**given.outliers, "near": few})))
    name = "FPR95 (OOD positive), energy"
    assert found[name, "near"].value is None
    assert found[name, None].value is None
    assert (
        found[name, "near"].reason == "8 outliers are too few to find the threshold that rejects 95 % of them"
    )
    assert found[name, "far"].value is not None
    assert found["AUROC, energy", "near"].value is not None


def test_results_do_not_hang_on_the_size_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = detected(some_predictions())
    monkeypatch.setattr(resamples, "_PER_CHUNK", 1700)
    assert detected(some_predictions()) == whole


def test_over_confidence(file: Callable[..., Path]) -> None:
    score = scored(file())
    found = by_key(score.metrics)
    given = some_predictions()
    means = {name: each.scores["max-softmax"].mean() for name, each in given.outliers.items()}
    for name in SETS:
        assert found["Mean confidence on outliers", name].value == pytest.approx(means[name])
    assert found["Mean confidence on outliers", None].value == pytest.approx(np.mean(list(means.values())))
    # Of all that is scored the outliers alone vary, each set by itself.
    mean = score.outcomes["ood_confidence"]
    spread = sum(each.scores["max-softmax"].var() / len(each.ids) for each in given.outliers.values())
    assert mean.var() / len(mean) == pytest.approx(spread / len(SETS) ** 2)
    # All labels are what is predicted, so the error is how much surer the network should be.
    expected = 1 - given.scores["max-softmax"].mean()
    assert found[ECE_NAME, None].value == pytest.approx(expected)
    curves = {curve.name: curve for curve in score.curves}
    assert set(curves) == {
        "Confidence on in-distribution images",
        *(f"Confidence on outliers: {name}" for name in SETS),
    }
    curve = curves["Confidence on outliers: far"]
    assert sum(y for y in curve.y if y is not None) == pytest.approx(1.0)
    middle = np.dot(curve.x, np.array(curve.y, float))
    assert middle == pytest.approx(means["far"], abs=0.03)


def test_data_are_all_sets(file: Callable[..., Path]) -> None:
    far = some_predictions().outliers["far"]
    outliers = some_predictions().outliers
    partial = far._replace(about=About("far", "all", M + 5, "x", ["far/9.png", "far/10.png"]))
    data = scored(file(outliers={**outliers, "far": partial})).data
    assert (data.n_available, data.n_requested, data.n_scored, data.n_failed) == (
        N + 3 * M + 5,
        N + 3 * M + 2,
        N + 3 * M,
        2,
    )
    assert data.failed == ["far/9.png", "far/10.png"]
    assert data.name == "demo and 3 outlier sets (near, far, uniform)"
    hashes = {
        scored(file(outliers=chosen)).data.sha256 for chosen in (outliers, {**outliers, "far": partial})
    }
    assert len(hashes) == 2


# Groups and full spectrum.


def grouped(**changes: Any) -> Predictions:
    given = some_predictions(**changes)
    sets = {
        name: each._replace(group={"near": "near", "far": "far"}.get(name))
        for name, each in given.outliers.items()
    }
    more = logits_of(M, 2.5, 9)
    sets["second"] = sets["near"]._replace(scores=confidences(more), group="near")
    return given._replace(outliers=sets)


def test_each_group_has_means_of_its_own() -> None:
    given = grouped()
    found = {(metric.id, metric.subset): metric for metric in detected(given)}
    for kind in ("auroc", "fpr_at_95_tpr", "aupr_in", "tnr_at_95_tpr"):
        of = {name: found[metric_id(kind, {"score": "energy"}), name].value for name in given.outliers}
        near = found[metric_id(kind, {"score": "energy", "sets": "near"}), None]
        far = found[metric_id(kind, {"score": "energy", "sets": "far"}), None]
        assert near.value == pytest.approx(np.mean([of["near"], of["second"]]))
        assert far.value == pytest.approx(of["far"])
        assert (near.n, far.n) == (N + 2 * M, N + M)
        assert near.interval is not None
        assert near.interval[0] < near.value < near.interval[1]  # type: ignore[operator]
    assert near.name == "TNR@TPR95 (ID positive), energy, near-OOD"
    outcomes = auroc_outcomes(given)
    near = found[metric_id("auroc", {"score": "energy", "sets": "near"}), None]
    assert outcomes[near.id].mean() == pytest.approx(near.value)


def test_facts_of_the_files_are_controls_in_the_direction_that_suits_them() -> None:
    found = some_predictions()
    facts: dict[str, Facts] = {
        "near": {"pixels": np.full(M, 2.0), "bytes": np.full(M, 9.0)},
        "far": {"pixels": np.r_[np.ones(M // 4), np.full(M - M // 4, 3.0)]},
        "uniform": {},
    }
    outliers = {name: each._replace(facts=facts[name]) for name, each in found.outliers.items()}
    known = {"pixels": np.full(N, 2.0), "bytes": np.full(N, 5.0)}
    measured = detection_metrics(found._replace(outliers=outliers, facts=known)).metrics
    by = {(m.subset, m.params.get("sets")): m.controls for m in measured if m.key == "auroc"}
    assert by["near", None] == {"image size": 0.5, "file size": 1.0}
    assert by["far", None] == {"image size": 0.75}
    assert by["uniform", None] == {}
    assert by[None, None] == {"chance": 0.5}  # noise is in no files
    assert by[None, NON_NOISE] == {"chance": 0.5, "image size": 0.625}


def test_without_groups_nothing_changes() -> None:
    whole, groups = detected(some_predictions()), detected(grouped())
    ids = {(metric.id, metric.subset) for metric in groups}
    assert {(metric.id, metric.subset) for metric in whole} <= ids
    assert not any("sets=near" in metric.id for metric in whole)


def test_shifted_images_count_as_in_distribution_in_the_full_spectrum() -> None:
    given = grouped()
    more = confidences(logits_of(120, 2, 7))
    shifted = Outliers([], more, None, noise=False, about=About("c", "all", 120, "c", []))
    found = {(m.id, m.subset): m for m in detected(given._replace(shifted={"c": shifted}))}
    plain = {(m.id, m.subset): m for m in detected(given)}
    assert {key: found[key] for key in plain} == plain
    params = {"score": "energy", "known": "full_spectrum"}
    known = np.concatenate([given.scores["energy"], more["energy"]])
    expected = {
        name: float(detection(known, each.scores["energy"]).auroc) for name, each in given.outliers.items()
    }
    for name, value in expected.items():
        assert found[metric_id("auroc", params), name].value == pytest.approx(value)
        assert found[metric_id("auroc", params), name].n == N + 120 + M
    near = found[metric_id("auroc", {**params, "sets": "near"}), None]
    assert near.value == pytest.approx((expected["near"] + expected["second"]) / 2)
    assert near.name == "AUROC, energy, near-OOD, full spectrum"


def test_groups_and_shifted_sets_are_read_as_written(tmp_path: Path) -> None:
    given = grouped()
    given = given._replace(shifted={"c": given.outliers["far"]._replace(group=None)})
    write_predictions(tmp_path / "p.npz", given)
    found = read_predictions(tmp_path / "p.npz")
    assert found.groups() == given.groups() == {"near": ["near", "second"], "far": ["far"]}
    np.testing.assert_array_equal(found.shifted["c"].scores["energy"], given.outliers["far"].scores["energy"])
    data = scored(tmp_path / "p.npz").data
    assert data.n_scored == N + 5 * M
    for wrong in ("near", "absent=near"):
        arrays = dict(np.load(tmp_path / "p.npz"))
        np.savez(tmp_path / "wrong.npz", **(arrays | {"groups": np.array([wrong])}))
        with pytest.raises(InputError):
            read_predictions(tmp_path / "wrong.npz")


# The file.


def test_a_file_is_read_as_written(file: Callable[..., Path]) -> None:
    given, found = some_predictions(), read_predictions(file())
    assert (found.ids, found.classes, found.about, found.settings) == (
        given.ids,
        given.classes,
        given.about,
        given.settings,
    )
    assert list(found.outliers) == list(SETS)
    for name, each in found.outliers.items():
        assert (each.ids, each.noise, each.about) == (
            given.outliers[name].ids,
            given.outliers[name].noise,
            given.outliers[name].about,
        )
        np.testing.assert_array_equal(each.scores["energy"], given.outliers[name].scores["energy"])
    assert auroc_outcomes(found).keys() == auroc_outcomes(given).keys()


def test_a_file_made_elsewhere_needs_confidences_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known, others = rng.normal(1, 1, 100), rng.normal(0, 1, 50)
    np.savez(tmp_path / "theirs.npz", **{"known/theirs": known, "outliers/svhn/theirs": others})
    score = scored(tmp_path / "theirs.npz")
    found = by_key(score.metrics)
    assert found["AUROC, theirs", "svhn"].value == pytest.approx(float(detection(known, others).auroc))
    assert found[ECE_NAME, None].reason == "the predictions hold no logits and labels"
    assert (score.curves, score.ids) == ([], [])
    assert score.data.name == "theirs and 1 outlier set (svhn)"


def elsewhere(path: Path, **changes: Any) -> Path:
    arrays: dict[str, Any] = {
        "known/energy": np.linspace(1, 2, 30),
        "outliers/svhn/energy": np.linspace(0, 1, 10),
        "ids": np.array([f"i{i}" for i in range(30)]),
    }
    arrays |= {key.replace("__", "/"): value for key, value in changes.items()}
    np.savez(path / "p.npz", **{key: value for key, value in arrays.items() if value is not None})
    return path / "p.npz"


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"outliers__svhn__ids": np.array(list("abcdefghij"))}, False),
        ({"noise": np.array(["svhn"])}, False),
        ({"ids": None}, False),  # such a file is compared with none
    ],
)
def test_outliers_that_are_paired_by_their_place_are_warned_of(
    changes: dict[str, Any], warned: bool, tmp_path: Path
) -> None:
    assert (
        any("svhn have no ids" in line for line in scored(elsewhere(tmp_path, **changes)).warnings) == warned
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"known__energy": None}, "expected arrays 'known/<score>'"),
        ({"outliers__svhn__energy": None}, "expected arrays .*'outliers/<set>/<score>'"),
        ({"outliers__svhn__energy": None, "outliers__svhn__odin": np.ones(9)}, r"expected the scores \['energy'\] of set 'svhn' .* found \['odin'\]"),
        ({"outliers__svhn": np.ones(9)}, "expected arrays 'outliers/<set>/<score>' .* found 'outliers/svhn'"),
        ({"known__energy": np.full(30, np.nan)}, "expected finite numbers as 'known/energy' .* found 30 of 30 items"),
        ({"outliers__svhn__energy": np.array([*range(9), np.nan])}, "expected finite numbers as 'outliers/svhn/energy' .* found 1 of 10 items"),
        ({"outliers__svhn__energy": np.zeros(0)}, "expected at least 5 images of outlier set 'svhn', found 0"),
        ({"outliers__svhn__energy": np.zeros(4)}, "expected at least 5 images of outlier set 'svhn', found 4"),
        ({"ids": None, "known__energy": np.ones(19)}, "expected at least 20 in-distribution images .* found 19"),
        ({"ids": np.array(["a", "b"])}, "expected 30 items in 'ids'"),
        ({"labels": np.zeros(3, int)}, "expected 30 items in 'labels'"),
        ({"logits": np.zeros((30, 3)), "labels": np.full(30, 3)}, r"expected labels in 0\.\.2 .* found 3\.\.3"),
        ({"outliers__svhn__ids": np.array(["a"])}, "expected 10 items of 'svhn' in 'outliers/svhn/ids'"),
        ({"known__energy": np.ones((30, 2))}, r"expected an array 'known/energy' \(items\)"),
        ({"noise": np.array(["unifrm"])}, "expected sets of the file in its 'noise' .* found 'unifrm'"),
        ({"known__max-softmax": np.linspace(1, 2, 30), "outliers__svhn__max-softmax": np.ones(10)}, "expected probabilities as 'known/max-softmax' .* found 1 to 2"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_together(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        scored(elsewhere(tmp_path, **changes))


def test_notes_on_the_sets_reach_the_record(file: Callable[..., Path]) -> None:
    sets = some_predictions().outliers
    name, first = next(iter(sets.items()))
    sets[name] = first._replace(about=first.about._replace(notes=["1 file left out"]))
    about = About("demo", "val", N, "d" * 64, [], ["a class is empty"])
    assert scored(file(outliers=sets, about=about)).data.notes == [
        "a class is empty",
        f"{name}: 1 file left out",
    ]
