"""The robustness task from images to record, on pictures whose answers can be worked out by hand."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core import runtime
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.records import GitState, Metric, Record
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell, read_record
from eval_suite.core.validation import problems
from eval_suite.report.protocols import mismatch
from eval_suite.tasks.evaluate import task_named
from eval_suite.tasks.external import score_file
from eval_suite.tasks.robustness import sweep
from eval_suite.tasks.robustness.options import (
    RobustnessOptions,
    epsilon_name,
    fraction,
    odd_epsilons,
)
from eval_suite.tasks.robustness.predictions import read_predictions
from eval_suite.tasks.robustness.task import RobustnessTask
from tests.conftest import Said
from tests.tasks.running import Evaluated, evaluate

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
# The logits of class i are the mean of colour channel 2 - i, so each picture is what its colour says.
FACTORY = """
import torch
from torch import nn

class Colours(nn.Module):
    def __init__(self, classes, gain):
        super().__init__()
        self.body = nn.Conv2d(3, classes, 1, bias=False)
        self.body.weight.data = gain * torch.eye(3)[[2, 1, 0]][:classes].view(-1, 3, 1, 1)

    def forward(self, x):
        return self.body(x).mean((2, 3))

def colours(num_classes=3):
    return Colours(3, 2.0)

def sure():
    return Colours(3, 60.0)

def two():
    return Colours(2, 2.0)

def constant():
    return Colours(3, 0.0)

def broken():
    return Colours(3, float("nan"))
"""
PLAIN = BackboneOptions(mean=(0, 0, 0), std=(1, 1, 1))
QUICK: dict[str, Any] = {
    "fgsm_epsilons": ["0.25", "0.6"],
    "pgd_epsilons": ["0.6"],
    "pgd_steps": 4,
    "occlusion_sizes": 3,
    "mixup_lambdas": [0, 0.5, 1],
    "cutmix_sizes": 3,
    "corruptions": ["contrast", "gaussian_noise"],
    "severities": [1, 3],
}


@pytest.fixture(autouse=True)
def _no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_git_state", lambda: GitState(commit="abc", dirty=False))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Twelve pictures in three classes; green/3 and red/2, red/3 are blue."""
    for name, colour in COLOURS.items():
        (tmp_path / "world" / "val" / name).mkdir(parents=True)
        for i in range(4):
            wrong = (name, i) in {("green", 3), ("red", 2), ("red", 3)}
            shown = COLOURS["blue"] if wrong else colour
            Image.new("RGB", (32, 32), shown).save(tmp_path / "world" / "val" / name / f"{i}.png")
    (tmp_path / "model.py").write_text(FACTORY)
    return tmp_path


def run(world: Path, *, factory: str = "colours", data: str = "world", **options: Any) -> Evaluated:
    batch_size = options.pop("batch_size", 5)
    backbone_options = options.pop("backbone_options", PLAIN)
    out, workers = options.pop("out", "out"), options.pop("workers", 0)
    precision = options.pop("precision", "fp32")
    chosen = RobustnessOptions(**{"data": f"folder:{world / data}", **QUICK, **options})
    return evaluate(
        RobustnessTask(),
        chosen,
        cell=Cell("s", "colours", 0, world / out),
        source=f"{world / 'model.py'}:{factory}",
        backbone_options=backbone_options,
        runtime=RuntimeOptions(device="cpu", workers=workers, batch_size=batch_size, precision=precision),
        expected=False,
    )


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    return {f"{metric.name} {metric.subset}" if metric.subset else metric.name: metric for metric in metrics}


def test_the_record_of_twelve_pictures(world: Path) -> None:
    result, path = run(world)
    assert read_record(path) == result
    assert (result.status, result.task.name, result.task.version) == ("complete", "robustness", 1)
    assert result.task.options["fgsm_epsilons"] == ["0.25", "0.6"]
    found = by_name(result.metrics)
    assert found["Top-1 error (clean)"].value == 0.25
    # A pure colour c loses ε and the others gain ε: nothing happens up to ε = 1/2, and everything beyond.
    assert found["Top-1 error under FGSM (ε=0.25)"].value == 0.25
    assert found["Top-1 error under FGSM (ε=153/255)"].value == 1.0
    assert found["Top-1 error under PGD (ε=153/255, 4 steps of 0.375)"].value == 1.0
    # With the mean colour at 0, covering leaves the colour's share smaller, and at the end a tie of zeros.
    assert found["Centre occlusion error (area over hole side, mean fill)"].value == pytest.approx(
        (0.25 * 3 + 1) / 4
    )
    assert found["Boundary occlusion error (area over hole side, mean fill)"].value == pytest.approx(
        (0.25 * 3 + 1) / 4
    )
    assert found["Top-1 error under corruption contrast, severity 3"].value == 0.25
    assert found["Images without input gradient (share)"].value == 0
    assert {metric.n for metric in result.metrics} == {12}
    assert result.data is not None
    assert (result.data.n_available, result.data.n_scored) == (12, 12)
    # The headline of the command.
    assert result.metrics[0].name == "Top-1 error under FGSM (ε=0.25)"


def test_in_between_errors_follow_from_what_the_pictures_show(world: Path) -> None:
    _, path = run(world)
    found = read_predictions(path.parent / "robustness" / "predictions.npz")
    assert found.labels is not None
    shown = found.clean  # a picture is seen as the colour it shows
    labels = found.labels[found.pairs]
    assert (labels[:, 0] != labels[:, 1]).all()
    for name in ("mixup", "cutmix"):
        family = found.families[name]
        ends = (shown[found.pairs[:, 1]], shown[found.pairs[:, 0]])
        ends = ends if name == "mixup" else ends[::-1]
        assert (family.predicted[:, 0] == ends[0]).all()
        assert (family.predicted[:, -1] == ends[1]).all()
    # Half and half is a tie of the two colours shown: wrong only where a colour that is neither label ties.
    half = found.families["mixup"].predicted[:, 1]
    for (first, second), pair, said in zip(found.pairs, labels, half, strict=True):
        strangers = {shown[first], shown[second]} - set(pair)
        assert (said in strangers) == bool(strangers)


def test_predictions_do_not_depend_on_batches_or_their_order(world: Path) -> None:
    def found(batch_size: int, **options: Any) -> dict[str, np.ndarray]:
        path = run(world, batch_size=batch_size, out=f"out-{batch_size}", **options).path
        with np.load(path.parent / "robustness" / "predictions.npz") as archive:
            return {key: archive[key] for key in archive.files}

    one, twelve = found(1), found(12)
    assert one.keys() == twelve.keys()
    for key in one:
        assert (one[key] == twelve[key]).all(), key
    # A subset keeps its items' attacks and corruptions.
    some = found(4, limit=4)
    at = [one["ids"].tolist().index(item) for item in some["ids"]]
    for key in ("clean", "fgsm", "pgd", "centre_occlusion", "corruption"):
        assert (some[key] == one[key][at]).all()


def test_images_read_by_workers_and_bf16_give_the_same(world: Path) -> None:
    plain = by_name(run(world).result.metrics)
    large = BackboneOptions(mean=(0, 0, 0), std=(1, 1, 1), input_size=(100, 100))
    by_workers = by_name(run(world, out="w", workers=1, backbone_options=large).result.metrics)
    rough = by_name(run(world, out="b", precision="bf16").result.metrics)
    for name in (
        "Top-1 error (clean)",
        "Top-1 error under FGSM (ε=153/255)",
        "In-between error, Mixup (area over λ)",
    ):
        assert plain[name].value == by_workers[name].value == rough[name].value


def test_two_classes_are_always_between(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(world / "world" / "val" / "red")
    result, _ = run(world, factory="two")
    assert by_name(result.metrics)["In-between error, CutMix (area over hole side)"].value == 0
    assert "warning: with two classes no in-between sample can be wrong" in capsys.readouterr().err


def test_the_outcomes_are_kept_for_paired_comparison(world: Path) -> None:
    result, path = run(world)
    with np.load(path.parent / "robustness" / "outcomes.npz", allow_pickle=False) as archive:
        outcomes = {key: archive[key] for key in archive.files}
    ids = outcomes.pop("ids").tolist()
    whole = {metric.id: metric.value for metric in result.metrics if metric.subset is None}
    assert outcomes.keys() == whole.keys()
    for name, values in outcomes.items():
        assert len(values) == len(ids) == 12
        assert values.mean() == pytest.approx(whole[name])


def test_parts_can_be_left_out(world: Path) -> None:
    nothing = {
        "fgsm_epsilons": [],
        "pgd_epsilons": [],
        "occlusion_sizes": 0,
        "pairs_per_image": 0,
        "corruptions": [],
    }
    result, path = run(world, **nothing)
    assert [metric.name for metric in result.metrics] == ["Top-1 error (clean)"]
    assert (result.curves, result.examples) == ([], [])
    assert list((path.parent / "robustness").glob("examples/*")) == []


def test_the_same_strips_whatever_the_backbone(world: Path) -> None:
    result, path = run(world)
    names = [Path(example.image).name for example in result.examples]
    assert len(names) == 12  # two items in six families
    assert all((path.parent / example.image).is_file() for example in result.examples)
    (path.parent / "robustness.json").unlink()
    again, _ = run(world, factory="constant")
    assert [Path(example.image).name for example in again.examples] == names
    first = result.examples[0]
    assert first.alt.endswith("image, perturbation enhanced, image under FGSM")
    assert first.caption.startswith("✓ ")
    assert first.caption.endswith("under FGSM (ε=153/255)")
    assert " → ✗ " in first.caption


def test_a_constant_output_earns_nothing_and_has_no_gradient(world: Path) -> None:
    result, _ = run(world, factory="constant")
    found = by_name(result.metrics)
    assert found["Top-1 error (clean)"].value == 1.0
    assert found["In-between error, Mixup (area over λ)"].value == 1.0
    assert found["Images without input gradient (share)"].value == 1.0
    assert [line.partition(",")[0] for line in result.warnings] == [
        "12 of 12 images have no input gradient at all"
    ]


def test_a_sure_network_is_attacked_all_the_same(world: Path) -> None:
    exact, path = run(world, factory="sure")
    path.unlink()
    plain, _ = run(world, factory="sure", attack_loss="cross-entropy")
    name = "Top-1 error under FGSM (ε=153/255"
    assert by_name(exact.metrics)[f"{name})"].value == 1.0
    assert by_name(plain.metrics)[f"{name}, float32 cross entropy)"].value == 0.25
    assert "9 of 12 images is flat" in plain.warnings[0]


def test_scoring_the_saved_predictions_gives_the_record_again(world: Path) -> None:
    result, path = run(world)
    saved = path.parent / "robustness" / "predictions.npz"
    score = score_file(RobustnessTask(), saved, None, None)
    assert score.metrics == result.metrics
    assert score.curves == result.curves
    from_truth = score_file(RobustnessTask(), saved, f"folder:{world / 'world'}", None)
    assert from_truth.metrics == result.metrics
    assert from_truth.data == score.data == result.data


def test_predictions_made_elsewhere_need_labels_or_a_truth(world: Path) -> None:
    path, truth = world / "mine.npz", f"folder:{world / 'world'}"
    np.savez(path, clean=np.repeat([0, 1, 2], 4), fgsm=np.zeros((12, 1), int), fgsm_grid=np.array([8 / 255]))
    with pytest.raises(InputError, match="holds no labels; give the ground truth as --truth KIND:PATH"):
        score_file(RobustnessTask(), path, None, None)
    found = by_name(score_file(RobustnessTask(), path, truth, "val").metrics)
    assert found["Top-1 error (clean)"].value == 0
    assert found["Top-1 error under FGSM (ε=8/255)"].value == pytest.approx(2 / 3)
    (assumed,) = score_file(RobustnessTask(), path, truth, "val").warnings
    assert assumed.startswith("the outputs are assumed to be in the order of the classes")
    np.savez(path, clean=np.zeros(5, int))
    with pytest.raises(InputError, match=r"holds 5 items without ids, but .* has 12"):
        score_file(RobustnessTask(), path, truth, None)
    np.savez(path, clean=np.zeros(1, int), ids=np.array(["val/red/77.png"]))
    with pytest.raises(InputError, match=r"ids of folder:.*, found 1 others, first 'val/red/77.png'"):
        score_file(RobustnessTask(), path, truth, None)
    np.savez(path, clean=np.zeros(12, int), classes=np.array(["a", "b", "c"]))
    with pytest.raises(InputError, match="found none for 3 of 3 classes: blue"):
        score_file(RobustnessTask(), path, truth, None)


def test_an_unreadable_picture_is_counted_and_is_in_no_pair(world: Path) -> None:
    (world / "world" / "val" / "blue" / "9.png").write_bytes(b"no picture")
    result, path = run(world)
    assert result.status == "partial"
    assert result.data is not None
    assert (result.data.n_scored, result.data.failed) == (12, ["val/blue/9.png"])
    found = read_predictions(path.parent / "robustness" / "predictions.npz")
    assert len(found.pairs) == 12
    assert "val/blue/9.png" not in found.ids


def test_weights_that_give_nan_are_told(world: Path) -> None:
    with pytest.raises(EvalSuiteError, match="gives NaN or infinite logits"):
        run(world, factory="broken")


# Wrong input.


def test_other_classes_than_the_datas_are_refused(world: Path) -> None:
    with pytest.raises(InputError, match=r"as many classes as .* 2, .*found 3 classes"):
        run(world, factory="two")
    assert not (world / "out" / "reports").exists()


def test_one_class_makes_no_pairs(world: Path) -> None:
    for name in COLOURS:
        (world / "one" / "val" / name).mkdir(parents=True)
    source = world / "world" / "val" / "blue"
    for name in COLOURS:
        (world / "one" / "val" / name / "0.png").write_bytes((source / "0.png").read_bytes())
    with pytest.raises(InputError, match=r"at least two classes, found only 'blue' .*--pairs-per-image 0"):
        run(world, data="one", limit=1)
    result, _ = run(world, data="one", limit=1, pairs_per_image=0)
    assert result.metrics[0].n == 1


def test_an_input_too_small_for_the_corruptions_is_refused(world: Path) -> None:
    small = BackboneOptions(mean=(0, 0, 0), std=(1, 1, 1), input_size=(16, 16))
    with pytest.raises(InputError, match="at least 32 x 32 pixels, found an input of 16 x 16"):
        run(world, backbone_options=small)


def refused(**options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        RobustnessOptions(data="folder:x", **options)
    (line,) = problems(caught.value, RobustnessOptions)
    return line


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"fgsm_epsilons": [8]},
            "fgsm_epsilons.0: expected ε in [0, 1], the range of pixels, found 8; did you mean 8/255?",
        ),
        (
            {"fgsm_epsilons": ["4/255", "8.0"]},
            "fgsm_epsilons.1: expected ε in [0, 1], the range of pixels, found 8.0; did you mean 8.0/255?",
        ),
        ({"pgd_epsilons": [-0.1]}, "pgd_epsilons.0: expected ε in [0, 1], the range of pixels, found -0.1"),
        ({"pgd_epsilons": ["nan"]}, "pgd_epsilons.0: expected ε in [0, 1], the range of pixels, found nan"),
        ({"pgd_epsilons": ["300"]}, "pgd_epsilons.0: expected ε in [0, 1], the range of pixels, found 300"),
        (
            {"pgd_step_size": 2},
            "pgd_step_size: expected ε in [0, 1], the range of pixels, found 2; did you mean 2/255?",
        ),
        ({"pgd_step_size": "0"}, "pgd_step_size: expected a step above 0, found 0"),
        (
            {"fgsm_epsilons": ["8/0"]},
            "fgsm_epsilons.0: expected ε as a number in [0, 1] or a fraction such as 8/255, found '8/0'",
        ),
        ({"mixup_lambdas": [0, 1.5]}, "mixup_lambdas.1: expected λ in [0, 1], found 1.5"),
        ({"mixup_lambdas": [-0.1]}, "mixup_lambdas.0: expected λ in [0, 1], found -0.1"),
        ({"severities": [1, 6]}, "severities.1: expected a severity from 1 to 5, found 6"),
        ({"severities": [0]}, "severities.0: expected a severity from 1 to 5, found 0"),
        (
            {"occlusion_sizes": 1},
            "occlusion_sizes: expected at least 2 sizes, from nothing to the whole side, or 0 for none, found 1",
        ),
    ],
)
def test_options_that_cannot_be_are_told(options: dict[str, Any], line: str) -> None:
    assert refused(**options) == line


def test_an_unknown_corruption_gets_the_nearest() -> None:
    with pytest.raises(
        ValidationError, match=r"unknown corruption 'gausian_noise'\. Did you mean 'gaussian_noise'"
    ):
        RobustnessOptions(data="folder:x", corruptions=["gausian_noise"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fgsm-epsilons", "8"], "found 8; did you mean 8/255?"),
        (["--mixup-lambdas", "1.5"], "expected λ in [0, 1], found 1.5"),
        (["--severities", "9"], "expected a severity from 1 to 5, found 9"),
        (["--corruptions", "fgo"], "Did you mean 'fog'?"),
    ],
)
def test_the_command_says_it_in_one_line(
    words: list[str], said: str, cli: Callable[..., Said], tmp_path: Path
) -> None:
    done = cli("robustness", "--backbone", "x.py:f", "--data", f"folder:{tmp_path}", *words)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert said in done.err


def test_the_command_evaluates(
    world: Path, cli: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    done = cli(
        *("robustness", "--backbone", "model.py:colours", "--data", "folder:world", "--device", "cpu"),
        *("--mean", 0, 0, 0, "--std", 1, 1, 1, "--fgsm-epsilons", "2/255", "0.6", "--pgd-epsilons"),
        *("--pairs-per-image", 0, "--occlusion-sizes", 2, "--workers", 0),
    )
    assert done.code == 0, done.err
    assert "Top-1 error under FGSM (ε=2/255) 25.00 %" in done.out
    assert "warning: ε = 0.6 is 153 of 255 grey levels, which no longer is a small change" in done.err
    assert (world / "reports/single/results/colours-s0/robustness.json").is_file()


def test_odd_strengths_are_questioned() -> None:
    assert odd_epsilons(["8/255", "0.1", "0"]) == []
    (line,) = odd_epsilons(["1"])
    assert line.endswith("did you mean 1/255?")


def test_strengths_are_read_sorted_and_named() -> None:
    options = RobustnessOptions(data="folder:x", fgsm_epsilons=["8/255", 0.01, "2/255", "0.0100"])
    assert [fraction(text) for text in options.fgsm_epsilons] == pytest.approx([2 / 255, 0.01, 8 / 255])
    assert [epsilon_name(value) for value in (8 / 255, 0.5, 0.03, 0.0, 1.0, 1 / 255)] == [
        *("8/255", "0.5", "0.03", "0", "1", "1/255"),
    ]
    assert options.step_sizes() == pytest.approx([2 / 255])
    assert RobustnessOptions(data="folder:x", pgd_step_size="1/255").step_sizes() == [1 / 255]


def test_the_task_is_known() -> None:
    assert isinstance(task_named("robustness"), RobustnessTask)


def test_several_restarts_never_fool_less(demo_world: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch, timm\n"
        "from eval_suite.backbones import architectures\n"
        "def net(num_classes):\n"
        "    torch.manual_seed(0)\n"
        "    return timm.create_model('resnet14_demo', num_classes=num_classes, blocks=1, channels=[4, 8, 16])\n"
    )

    def predicted(restarts: int, **options: Any) -> np.ndarray:
        chosen = RobustnessOptions(
            data=f"folder:{demo_world / 'images'}",
            pgd_epsilons=["2/255"],
            pgd_steps=2,
            pgd_restarts=restarts,
            occlusion_sizes=0,
            pairs_per_image=0,
            **options,
        )
        done = evaluate(
            RobustnessTask(),
            chosen,
            cell=Cell(f"s{restarts}", "net", 0, tmp_path),
            source=f"{tmp_path / 'net.py'}:net",
            backbone_options=PLAIN,
            runtime=RuntimeOptions(device="cpu", workers=0, batch_size=8),
            expected=False,
        )
        found = read_predictions(done.path.parent / "robustness" / "predictions.npz")
        assert found.labels is not None
        return found.families["pgd"].predicted[:, 0] != found.labels

    one, three = predicted(1), predicted(3)
    assert (three >= one).all()


def starts_of(monkeypatch: pytest.MonkeyPatch, world: Path, **options: Any) -> dict[int, Any]:
    """Where PGD starts, by the seed of the item and restart."""
    found: dict[int, Any] = {}
    draw = sweep.random_starts

    def kept(shape: Any, seeds: Any) -> Any:
        starts = draw(shape, seeds)
        found.update(zip(seeds, starts.tolist(), strict=True))
        return starts

    monkeypatch.setattr(sweep, "random_starts", kept)
    run(
        world,
        **{**QUICK, "corruptions": [], "pgd_restarts": 2, "out": f"out-{sorted(options.items())}", **options},
    )
    monkeypatch.setattr(sweep, "random_starts", draw)
    return found


def test_the_seed_of_pgd_decides_its_starts_and_nothing_else_does(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same seed gives the same bits whatever else has drawn before, in whatever batches and order the items come."""
    first = starts_of(monkeypatch, world)
    assert len(first) == 12 * 2  # no two items, nor restarts, share a start
    torch.manual_seed(5)
    assert starts_of(monkeypatch, world, batch_size=3) == first
    some = starts_of(monkeypatch, world, limit=5, batch_size=4)
    assert len(some) == 5 * 2
    assert some.items() <= first.items()
    other = starts_of(monkeypatch, world, pgd_seed=1)
    assert len(other) == 12 * 2
    assert not first.keys() & other.keys()
    assert not any(start in other.values() for start in first.values())


def test_the_seed_of_pgd_is_kept_and_decides_what_is_compared(world: Path) -> None:
    records = [run(world, pgd_seed=seed, out=f"out{seed}", corruptions=[]).result for seed in (0, 0, 1)]
    pgd = next(metric for metric in records[0].metrics if metric.key == "pgd_error")
    fgsm = next(metric for metric in records[0].metrics if metric.key == "fgsm_error")
    assert [record.task.options["pgd_seed"] for record in records] == [0, 0, 1]
    assert [mismatch(records[0], other, pgd) for other in records] == ["", "", "pgd_seed differs"]
    assert not any(mismatch(records[0], other, fgsm) for other in records)


FOUR = """
import torch
from torch import nn

class Four(nn.Module):
    # Outputs red, green and blue as the channels say, and violet, which blue pictures reach a little more.
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 1, bias=False)
        rows = [[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.2], [0, 0, 2.0]]
        self.body.weight.data = torch.tensor(rows).view(4, 3, 1, 1)

    def forward(self, x):
        return self.body(x).mean((2, 3))

def four():
    return Four()
"""


def test_a_network_of_more_classes_answers_among_the_datas_and_among_all(world: Path) -> None:
    """Among the data's three it is the network of three; among four, all that is shown in blue, 7 of 12, is violet."""
    (world / "model.py").write_text(FACTORY + FOUR)
    (world / "names.txt").write_text("red\ngreen\nviolet\nblue\n")
    named = PLAIN.model_copy(update={"classes": world / "names.txt"})
    options = {"severities": [1], "corruptions": ["fog"], "corrupted": f"imagenetc:{_fog(world)}"}
    three = run(world, **options).result
    result, path = run(world, factory="four", out="4", backbone_options=named, **options)

    def values(found: Record, outputs: int | None) -> dict[Any, float | None]:
        chosen = [metric for metric in found.metrics if metric.params.get("outputs") == outputs]
        plain = [
            {key: value for key, value in metric.params.items() if key != "outputs"} for metric in chosen
        ]
        return {
            (metric.key, str(params), metric.subset): metric.value
            for metric, params in zip(chosen, plain, strict=True)
        }

    assert values(result, 3) == values(three, None)
    every = values(result, 4)
    assert every.keys() == values(three, None).keys()
    assert every["clean_error", "{}", None] == pytest.approx(7 / 12)
    assert every["corruption_error_at", "{'images': 'ImageNet-C'}", "fog, severity 1"] == pytest.approx(
        7 / 12
    )
    # Nothing is hidden at 0, and both images are blue or neither is where λ is 0 or 1.
    assert every["occlusion_error_at", "{'region': 'centre'}", "hole side 0"] == pytest.approx(7 / 12)
    assert result["clean_error"].params == {"outputs": 3}
    assert [curve.name for curve in result.curves] == [curve.name for curve in three.curves]
    saved = path.parent / "robustness" / "predictions.npz"
    read = read_predictions(saved)
    assert read.among_all is not None
    assert (read.among_all.ids, read.among_all.about) == (read.ids, read.about)
    assert (read.among_all.pairs == read.pairs).all()
    assert score_file(RobustnessTask(), saved, None, None).metrics == result.metrics


def test_an_attack_among_all_outputs_is_one_on_all_of_them(world: Path) -> None:
    """Among all, FGSM is that on the same network where the data have a folder for each output."""
    (world / "model.py").write_text(FACTORY + FOUR)
    (world / "names.txt").write_text("red\ngreen\nviolet\nblue\n")
    named = PLAIN.model_copy(update={"classes": world / "names.txt"})
    options = {"corruptions": [], "severities": [], "occlusion_sizes": 0, "pairs_per_image": 0}
    result = run(world, factory="four", backbone_options=named, **options).result
    (world / "world" / "val" / "violet").mkdir()
    whole = run(world, factory="four", out="4", backbone_options=named, **options).result
    assert {(m.key, m.value) for m in whole.metrics} == {
        (m.key, m.value) for m in result.metrics if m.params.get("outputs") == 4
    }


def _fog(world: Path) -> Path:
    if not (world / "c").exists():
        shutil.copytree(world / "world" / "val", world / "c" / "fog" / "1")
    return world / "c"


def test_attacks_of_autoattack_and_patches_are_in_the_record(world: Path) -> None:
    """A pure colour turns at ε = 1/2: no attack gets it below, every one above."""
    off = {
        "fgsm_epsilons": [],
        "pgd_epsilons": [],
        "occlusion_sizes": 0,
        "pairs_per_image": 0,
        "corruptions": [],
    }
    result, path = run(
        world,
        **off,
        attacks=["square", "apgd-ce", "apgd-dlr", "fab-t"],
        attack_epsilons=["0.25", "0.6"],
        attack_steps=5,
        square_queries=30,
        patch_drop_shares=[0, 0.5, 1],
        patch_size=8,
        patch_shuffle_grids=[1, 4],
    )
    assert read_record(path) == result
    errors = {
        (m.params["attack"], m.params["epsilon"]): m.value for m in result.metrics if m.key == "attack_error"
    }
    for attack in ("apgd-ce", "apgd-dlr", "fab-t", "square"):
        assert errors[attack, "0.25"] == 0.25
        assert errors[attack, "153/255"] == 1.0
    found = by_name(result.metrics)
    assert found["Top-1 error under APGD-CE (ε=0.25, 5 steps)"].interval is not None
    assert found["Top-1 error under Square (ε=0.25, 30 queries)"].n == 12
    # Each patch is of one colour: half of them covered with black leaves the order of the means, all a tie.
    drops = {m.subset: m.value for m in result.metrics if m.key == "patch_drop_error_at"}
    assert drops == {"share 0": 0.25, "share 0.5": 0.25, "share 1": 1.0}
    assert result["patch_drop_error"].value == pytest.approx((0.25 * 3 + 1) / 4)
    assert result["patch_drop_error"].params == {"over": "area over share", "patch": 8, "fill": "mean"}
    assert result["patch_shuffle_error"].value == 0.25
    assert {curve.name for curve in result.curves} >= {"Patch drop error", "Patch shuffle error"}
    assert result.outcomes is not None
    assert result["patch_drop_error"].id in result.outcomes.values
    strips = {Path(example.image).name.partition("-")[0] for example in result.examples}
    assert {"patch_drop", "patch_shuffle"} <= strips


def test_a_loss_that_needs_more_classes_is_refused(world: Path) -> None:
    for attack, others in (("apgd-t", "apgd-ce"), ("autoattack", "square")):
        with pytest.raises(InputError) as refused:
            run(world, attacks=[attack])
        assert refused.value.found == "3"
        assert others in refused.value.remedy
        assert attack not in refused.value.remedy.split()
    with pytest.raises(InputError, match="patches"):
        run(world, patch_drop_shares=[0.5], patch_size=5)
    assert not (world / "out" / "reports").exists()


def test_the_names_of_attacks_are_checked_and_in_the_papers_order() -> None:
    options = RobustnessOptions(data="x", attacks=["square", "apgd-ce", "square"])
    assert options.attacks == ["apgd-ce", "square"]
    for wrong in ({"attacks": ["pgd"]}, {"patch_drop_shares": [1.5]}, {"patch_shuffle_grids": [0]}):
        with pytest.raises(ValidationError):
            RobustnessOptions(data="x", **wrong)
