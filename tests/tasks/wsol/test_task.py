"""The wsol task from images to record, on pictures whose maps are the squares they show; and its command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core import runtime
from eval_suite.core.errors import InputError
from eval_suite.core.records import GitState, Record
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.schema1 import identity
from eval_suite.core.store import Cell, read_card
from eval_suite.report.printed import published_numbers
from eval_suite.tasks.wsol.options import WsolOptions
from eval_suite.tasks.wsol.predictions import read_predictions
from eval_suite.tasks.wsol.report import _CURVES, SECTION
from eval_suite.tasks.wsol.task import WsolTask
from tests.tasks.running import evaluate
from tests.tasks.wsol.world import square, write_world

PLAIN = BackboneOptions(mean=(0, 0, 0), std=(1, 1, 1))
Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_git_state", lambda: GitState(commit="abc", dirty=False))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write_world(tmp_path)
    return tmp_path


def localise(
    world: Path,
    *,
    factory: str = "colours",
    batch_size: int = 5,
    backbone: BackboneOptions = PLAIN,
    **options: Any,
) -> Record:
    settings = {"data": f"cub:{world / 'birds'}", "transform": "evaluation-paper", **options}
    return evaluate(
        WsolTask(),
        WsolOptions.model_validate(settings),
        cell=Cell("s", "colours", 0, world / "out"),
        source=f"{world / 'model.py'}:{factory}",
        backbone_options=backbone,
        runtime=RuntimeOptions(device="cpu", workers=0, batch_size=batch_size),
        expected=False,
    ).result


def value(result: Record, name: str) -> float:
    key, params = identity(name)
    metric = result.metric(key, **params)
    assert metric is not None
    assert metric.value is not None, metric.reason
    return metric.value


def test_the_record_of_twelve_pictures(world: Path) -> None:
    result = localise(world)
    assert (result.status, result.task.name, result.backbone.name) == ("complete", "wsol", "colours")
    assert result.backbone.fitted_sha256 == {}
    assert result.task.protocol["transform"] == result.task.protocol["map_class"] == []
    # Eleven maps are the squares; that of red/3, which shows green, is empty.
    for name in ("Top-1 Loc (σ=0.15)", "GT-known Loc (σ=0.15)", "MaxBoxAcc", "MaxBoxAccV2 (IoU 30/50/70)"):
        assert value(result, name) == pytest.approx(11 / 12), name
    assert value(result, "Top-1 error") == pytest.approx(1 / 12)
    assert value(result, "Empty maps") == 1
    assert [curve.name for curve in result.curves][:1] == ["Top-1 Loc over σ"]
    assert result.data is not None
    assert (result.data.name, result.data.split, result.data.n_scored) == ("birds", "test", 12)


def test_what_the_report_shows_is_what_the_record_holds(world: Path) -> None:
    result = localise(world)
    for pick in (*SECTION.headline, *SECTION.metrics):
        assert any(metric.matches(pick.key, pick.params) for metric in result.metrics), pick
    ids = {metric.id for metric in result.metrics}
    assert {p.id for p in published_numbers() if p.task == "wsol"} <= ids
    assert set(_CURVES) <= {curve.name for curve in result.curves}


def test_the_predictions_are_the_maps_of_each_pictures_class(world: Path) -> None:
    localise(world)
    found = read_predictions(world / "out/reports/s/results/colours-s0/wsol/predictions.npz")
    assert found.maps.shape == (12, 32, 32)
    assert found.transform.size == (32, 32)
    assert found.map_class == "ground-truth"
    place = {name: i for i, name in enumerate(found.ids)}
    for name, number in (("blue", 0), ("green", 2), ("red", 1)):
        x0, y0, x1, y1, _ = square(name, number)
        expected = np.zeros((32, 32), np.float32)
        expected[y0 : y1 + 1, x0 : x1 + 1] = 8
        assert np.allclose(found.maps[place[f"test/{name}/{number}.png"]], expected)
    assert not found.maps[place["test/red/3.png"]].any()


def test_maps_of_the_predicted_class(world: Path) -> None:
    result = localise(world, map_class="predicted")
    assert value(result, "Top-1 Loc (σ=0.15)") == pytest.approx(11 / 12)
    known = result.metric("gt_known_loc", sigma=0.15)
    assert known is not None
    assert known.value is None
    assert value(result, "Empty maps") == 0


def test_results_do_not_hang_on_the_batch_size(world: Path) -> None:
    one, other = localise(world, batch_size=1), localise(world, batch_size=12)
    assert one.metrics == other.metrics


def test_the_papers_transform_enlarges_and_crops_with_its_boxes(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = localise(world, transform="paper")
    assert "resized to 37x37 whatever their shape, centre crop of 32x32" in capsys.readouterr().err
    found = read_predictions(world / "out/reports/s/results/colours-s0/wsol/predictions.npz")
    assert found.transform.resized == (37, 37)
    assert value(result, "GT-known Loc (σ=0.15)") == pytest.approx(11 / 12)
    _, y0, _, _, _ = square("blue", 0)
    rows = np.flatnonzero(found.maps[found.ids.index("test/blue/0.png")].max(1) > 4)
    assert abs(rows[0] - (y0 * 37 / 32 - 2)) < 1.5


@pytest.mark.parametrize("name", ["gradcam", "layercam", "eigencam"])
def test_maps_of_the_package_find_the_squares_too(world: Path, name: str) -> None:
    result = localise(world, maps=name)
    assert value(result, "Top-1 Loc (σ=0.15)") == pytest.approx(11 / 12)


def test_the_fixed_threshold_is_an_option_in_the_metrics_names(world: Path) -> None:
    assert value(localise(world, sigma=0.4), "Top-1 Loc (σ=0.4)") == pytest.approx(11 / 12)


def test_pictures_and_what_is_said_of_them(world: Path) -> None:
    result = localise(world)
    by_alt = {example.alt: example for example in result.examples}
    assert by_alt["test/blue/0.png"].caption == "✓ blue, IoU 0.84"
    assert by_alt["test/red/3.png"].caption == "✗ green, not red, IoU 0.00"
    files = {Path(example.image).name for example in result.examples}
    folder = world / "out/reports/s/results/colours-s0"
    assert files == {path.name for path in (folder / "wsol/examples").iterdir()}
    assert {"mixed-originals.png", "mixed-mixup.png", "mixed-cutout.png", "mixed-cutmix.png"} < files
    for example in result.examples:
        with Image.open(folder / example.image) as picture:
            assert picture.height in (120, 160)


def test_a_part_of_the_data_is_partial(world: Path) -> None:
    result = localise(world, limit=5)
    assert result.status == "partial"
    assert result.data is not None
    assert (result.data.n_scored, result.data.n_available) == (5, 12)


def test_an_unreadable_image_is_counted_and_named(world: Path) -> None:
    (world / "birds/test/blue/0.png").write_bytes(b"no image")
    result = localise(world)
    assert result.data is not None
    assert result.data.failed == ["test/blue/0.png"]
    assert value(result, "Top-1 Loc (σ=0.15)") == pytest.approx(10 / 11)


def test_a_network_of_further_classes_answers_among_those_of_the_data(world: Path) -> None:
    with (world / "model.py").open("a") as file:
        file.write(
            "def more():\n    net = four()\n    net.fc.weight.data = net.fc.weight.data[[2, 3, 0, 1]]\n    return net\n"
        )
    (world / "names.txt").write_text("red\nextra\nblue\ngreen\n")
    backbone = BackboneOptions(mean=(0, 0, 0), std=(1, 1, 1), classes=world / "names.txt")
    whole = localise(world)
    record = world / "out/reports/s/results/colours-s0/wsol.json"
    record.unlink()
    among = localise(world, factory="more", backbone=backbone)
    top1_loc = among.metric("top1_loc", sigma=0.15, outputs=3)
    assert top1_loc is not None
    assert top1_loc.value == value(whole, "Top-1 Loc (σ=0.15)")
    assert value(among, "GT-known Loc (σ=0.15)") == value(whole, "GT-known Loc (σ=0.15)")
    top1 = among.metric("top1_error", outputs=3)
    assert top1 is not None
    assert top1.value == pytest.approx(1 / 12)
    record.unlink()
    with pytest.raises(InputError, match="--map-class ground-truth"):
        localise(world, factory="more", backbone=backbone, map_class="predicted")


# Bad input


def test_a_backbone_of_other_classes_is_refused_where_no_fit_replaces_its_last_layer(world: Path) -> None:
    with pytest.raises(
        InputError, match=r"as many classes as .* 4, .*found 3 classes.* or let a fit replace the last layer"
    ):
        localise(world, factory="four")
    assert not (world / "out/reports").exists()


def test_a_network_without_average_and_linear_layer_is_refused_with_the_way_out(world: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"plain maps are read off, found another end.*another --cam-method, such as gradcam, or let a fit",
    ):
        localise(world, factory="pooled_twice")
    assert localise(world, factory="pooled_twice", maps="gradcam").status == "complete"


def test_data_without_boxes_are_refused(world: Path) -> None:
    with pytest.raises(InputError, match="'folder' sets have no boxes"):
        localise(world, data=f"folder:{world / 'birds'}")


def test_boxes_that_are_missing_are_told_before_the_fit(world: Path) -> None:
    boxes = world / "birds/bounding_boxes.txt"
    boxes.write_text("\n".join(boxes.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match=r"bounding_boxes\.txt"):
        localise(world, fit={"epochs": 1, "augmentation": "none"})
    assert not (world / "out/checkpoints").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"maps": "gradcm"}, "unknown map 'gradcm'. Did you mean 'gradcam'"),
        ({"method": "acol"}, "method acol is trained, found fit none"),
        (
            {"method": "acol", "fit": "custom", "maps": "gradcam"},
            "acol reads the maps of its two classifiers",
        ),
        ({"method": {"cam": {}, "has": {}}}, "expected one method"),
        ({"fit": {"preset": "none", "epochs": 3}}, "preset none fits nothing, found epochs"),
        ({"fit": {"milestones": [0.5, 0.5]}}, "milestones must rise"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        WsolOptions.model_validate({"data": "cub:x", **options})


def test_the_record_tells_which_network_was_scored(world: Path) -> None:
    steps = {"epochs": 1, "batch_size": 4, "augmentation": "flip"}
    fitted = localise(world, factory="four", fit=steps).backbone
    card = read_card(world / "out/checkpoints/s/colours-s0/wsol")
    assert card.load.notes[0].startswith("fitted for localisation from ")
    assert "four keeps its last feature map of 32x32" in card.load.notes[1]
    assert fitted.load.notes[-2:] == card.load.notes
    assert fitted.fitted_sha256 == {"localiser": card.weights_sha256}
    assert fitted.weights_sha256 not in (None, card.weights_sha256)
    again = localise(world, factory="four", fit=steps).backbone
    assert (again.load, again.fitted_sha256) == (fitted.load, fitted.fitted_sha256)


# The command line


def call(cli: Cli, world: Path, *words: object, factory: str = "colours") -> Any:
    return cli(
        *("wsol", "--backbone", f"{world / 'model.py'}:{factory}", "--data", f"cub:{world / 'birds'}"),
        *("--mean", 0, 0, 0, "--std", 1, 1, 1, "--device", "cpu", "--workers", 0, "--name", "colours"),
        *("--out", world / "out/reports/single", *words),
    )


def test_the_command_ends_with_the_headline(cli: Cli, world: Path) -> None:
    said = call(cli, world, "--transform", "evaluation-paper")
    assert said.code == 0, said.err
    assert said.out.startswith("colours-s0  Top-1 Loc (σ=0.15) 91.67 % [64.61 %, 98.51 %] (n = 12)  → ")
    assert said.out.endswith("/wsol.json\n")
    assert "wsol: images resized to 32x32 whatever their shape (transform evaluation-paper)" in said.err
    record = json.loads((world / "out/reports/single/results/colours-s0/wsol.json").read_text())
    assert record["task"]["options"]["fit"]["preset"] == "none"


def test_scoring_the_predictions_again_gives_the_same_metrics(cli: Cli, world: Path) -> None:
    call(cli, world, "--transform", "evaluation-paper")
    predictions = world / "out/reports/single/results/colours-s0/wsol/predictions.npz"
    said = cli("score", "wsol", "--predictions", predictions, "--truth", f"cub:{world / 'birds'}")
    assert said.code == 0, said.err
    assert said.out.splitlines()[0] == "Top-1 Loc (σ=0.15) 91.67 % [64.61 %, 98.51 %] (n = 12)"
    said = cli("score", "wsol", "--predictions", predictions)
    assert said.code == 2
    assert "holds no boxes; give the ground truth as --truth KIND:PATH" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cam-method", "gradcm"), "gradcm"),
        (("--method", "hass"), "did you mean 'has'?"),
        (("--method", "{has: {size: 3}}"), "has.size: unknown key; did you mean 'sizes'?"),
        (("--method", "acol"), "method acol is trained, found fit none"),
        (("--fit.epochs", "3"), "preset none fits nothing, found epochs with it; choose preset custom"),
        (("--fit.preset", "custom", "--fit.regularizers", "cutmx"), "did you mean 'cutmix'?"),
        (("--fit.preset", "custom", "--fit.regularizers", "cutmix", "mixup"), "only one regularizer may mix"),
        (
            ("--cam-method", "gradcam", "--precision", "bf16"),
            "maps gradcam are computed in single precision, found --precision bf16; leave that out, or take --cam-method cam",
        ),
        (("--feature-layer", "bodi"), "unknown feature layer 'bodi'. Did you mean 'body'?"),
        (
            ("--fit.preset", "custom", "--method", "{adl: {layers: [bodi]}}"),
            "unknown layer 'bodi'. Did you mean 'body'?",
        ),
        (("--fit.preset", "custom", "--method", "adl"), "not known behind which layers ADL stands"),
    ],
)
def test_wrong_words_are_one_line_and_leave_nothing(
    cli: Cli, world: Path, words: tuple[str, ...], said: str
) -> None:
    found = call(cli, world, *words)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert len([line for line in found.err.splitlines() if line.startswith("error:")]) == 1
    assert not (world / "out/reports").exists()


def test_help_names_methods_maps_and_fit(cli: Cli) -> None:
    said = cli("wsol", "--help")
    assert said.code == 0
    for word in (
        "--method",
        "--cam-method",
        "--map-class",
        "--transform",
        "--sigma",
        "--fit.preset",
        "--fit.head-lr",
    ):
        assert word in said.out
    assert "--batch-size" in said.out
    assert "--fit.batch-size" in said.out


@pytest.mark.long
def test_a_fit_of_a_few_steps_through_the_command(cli: Cli, world: Path) -> None:
    words = (
        *("--fit.preset", "custom", "--fit.epochs", 2, "--fit.batch-size", 4, "--fit.augmentation", "flip"),
        *("--transform", "evaluation-paper", "--method", "{has: {sizes: [8]}}"),
    )
    said = call(
        cli, world, *words, factory="four"
    )  # another number of classes: the fit replaces the last layer
    assert said.code == 0, said.err
    assert "epoch 2/2" in said.err
    assert said.out.endswith(f"wsol.json; fine-tuned: {world / 'out/checkpoints/single/colours-s0/wsol'}\n")
    assert "note: " in said.err  # that this network's map is not enlarged
    folder = world / "out/checkpoints/single/colours-s0/wsol"
    card = json.loads((folder / "card.json").read_text())
    assert card["classes"] == ["blue", "green", "red"]
    assert card["recipe"]["regularizers"] == [{"has": {"sizes": [8], "prob": 0.5}}]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    again = call(cli, world, *words, factory="four")
    assert again.out == said.out
    assert "epoch" not in again.err
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
