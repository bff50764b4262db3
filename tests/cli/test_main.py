"""The command line as a user meets it: exit codes, one-line errors, and what each verb leaves."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml

from eval_suite.cli import data as data_commands
from eval_suite.cli import main as entry
from eval_suite.cli.evaluate import TaskCommand, command_for
from eval_suite.cli.run import size_in_words
from eval_suite.core.parts import parts
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import read_record
from eval_suite.data import outliers
from eval_suite.data.kinds import ANNOTATED
from eval_suite.suite.suite import load_suite
from eval_suite.tasks.detect.metrics import detectors
from eval_suite.tasks.robustness.options import CORRUPTIONS, GROUPS, PUBLISHED_CORRUPTIONS
from eval_suite.tasks.wsol.hyperparameters import METHOD_SETTINGS
from eval_suite.tasks.wsol.options import MapName
from eval_suite.training.loop import train

Cli = Callable[..., Any]
FACTORY = Path(__file__).parents[1] / "backbones" / "akamaster_resnet20.py"
CPU = ("--device", "cpu", "--workers", "0", "--threads", "1")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images(demo_world: Path) -> str:
    return f"folder:{demo_world / 'images'}"


@pytest.fixture(scope="module")
def trained(demo_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished checkpoint folder of the tiny demo world."""
    from eval_suite.training.recipe import Recipe

    recipe = Recipe.model_validate(
        {
            "arch": "resnet14_demo",
            "arch_options": {"blocks": 1, "channels": [4, 8, 16]},
            "data": f"folder:{demo_world / 'images'}",
            "input_size": [64, 64],
            "epochs": 1,
            "batch_size": 20,
        }
    )
    folder = tmp_path_factory.mktemp("checkpoints") / "net-s3"
    runtime = RuntimeOptions(device="cpu", workers=0, threads=1)
    train(recipe, name="net", seed=3, folder=folder, runtime=runtime)
    return folder


def complaint(said: Any, code: int = 2) -> str:
    """The one line of an error that is no crash."""
    assert said.code == code, said
    lines = said.err.strip().splitlines()
    assert lines[-1].startswith("error: "), said.err
    assert "Traceback" not in said.err
    return str(lines[-1])


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    script = (
        "import sys; from eval_suite.cli.main import main; code = main(['--help'])\n"
        "heavy = {'torch', 'timm', 'sklearn', 'pandas'} & set(sys.modules); sys.exit(code or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in (*entry.VERBS, *parts("task")):
        assert f"\n  {verb} " in done.stdout


@pytest.mark.parametrize("verb", sorted(entry.VERBS))
def test_help_of_a_verb_leaves_torch_alone(verb: str) -> None:
    script = (
        "import sys; from eval_suite.cli.main import main\n"
        "try: code = main(sys.argv[1:])\nexcept SystemExit as stop: code = stop.code\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, verb, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: eval-suite" in done.stdout


def test_help_begins_with_what_is_needed_most_often(cli: Cli) -> None:
    shown = cli("classify", "--help").out.partition("needed most often:")[2].partition("\n\n")[0]
    assert re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE) == [
        *("--backbone", "--data", "--suite", "--name", "--out", "--limit"),
        *("--mean", "--std", "--input-size", "--device"),
    ]
    assert "%%" not in cli("ood", "--help").out
    assert "needed most often" not in cli("quickstart", "--help").out


def test_every_task_is_a_verb() -> None:
    assert all(entry._verb(task) for task in parts("task"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["clasify"], "unknown command 'clasify'. Did you mean 'classify'?"),
        (["data", "chek"], "unknown data command 'chek'. Did you mean 'check'?"),
        (["list", "regularisers"], "Did you mean 'regularizers'?"),
        (["run", "demmo"], "unknown suite 'demmo'. Did you mean 'demo'?"),
        (["run", "absent.yaml"], "expected a suite file at absent.yaml"),
        (["score", "clasify", "--predictions", "x.npz"], "unknown task 'clasify'. Did you mean 'classify'?"),
        (["score", "classify", "--predictions", "x.npz"], "expected a predictions file at x.npz, found none"),
        (["train"], "expected either --suite SUITE --backbone NAME or --recipe FILE"),
        (["train", "--suite", "demo", "--backbone", "cutmx"], "Did you mean 'cutmix'?"),
        (["train", "--recipe", "absent.yaml"], "cannot read absent.yaml"),
        (["report", "absent"], "absent"),
    ],
)
def test_wrong_words_end_in_one_line_and_code_2(cli: Cli, words: list[str], expected: str) -> None:
    assert expected in complaint(cli(*words))
    assert list(Path().iterdir()) == []


WRONG_WORDS = {
    "classify": [
        ("--bach-size 3", "unknown option '--bach-size'. Did you mean '--batch-size'?"),
        ("--batch-size -1", "--batch-size: expected a number greater than or equal to 0, found '-1'"),
        ("--batch_size=x", "--batch-size: expected a whole number, found 'x'"),
        ("--limit 0", "--limit: expected a number greater than or equal to 1, found '0'"),
        ("--limit 2.5", "--limit: expected a whole number, found '2.5'"),
        ("--mean 0.5 0.5", "expected 3 values after --mean, found fewer"),
        ("--mean 1 1 1 1", "expected words that belong to an option, found also: 1"),
        ("--mean a b 0", "--mean: expected a number, found 'a'"),
        (
            "--mean 123 117 104",
            "--mean: expected values of images in [0, 1], found (123.0, 117.0, 104.0); divide those of 0..255 by 255",
        ),
        ("--precision fp16", "--precision: expected 'fp32' or 'bf16', found 'fp16'"),
        ("--split", "expected 1 value after --split, found fewer"),
        ("--strict yes", "expected words that belong to an option, found also: yes"),
        ("--limit x --seed -1", "--seed: expected a number greater than or equal to 0, found '-1'"),
    ],
    "wsol": [
        ("--method foo", "--method: foo: unknown key; known: acol, adl, cam, has, spg"),
        ("--method 3", "--method: expected one method, as in 'has: {sizes: [16]}', found 3"),
        ("--method {adl:{drop_rate:3}}", "--method: adl.drop_rate:3: unknown key; did you mean 'drop_rate'?"),
        ("--method {adl", "expected a name or inline YAML such as '{adl: {drop_rate: 0.75}}', found '{adl'"),
        ("--method has", "method has is trained, found fit none; choose a fit, such as preset paper-cub"),
        ("--cam-method foo", "--cam-method: unknown map 'foo'. Known: ablationcam, cam, "),
        ("--fit.preset foo", "--fit.preset: expected 'none', 'custom', 'paper-cub', "),
        ("--fit.lr x", "--fit.lr: expected a number, found 'x'"),
        ("--fit.milestones 0.5 2", "--fit.milestones: expected a number less than 1, found '2'"),
        ("--fit.nesterov maybe", "--fit.nesterov: expected True or False, found 'maybe'"),
        ("--fit.epochs 3", "--fit.*: preset none fits nothing, found epochs with it; choose preset custom"),
        ("--fit.regularizers cutmx", "--fit.regularizers: cutmx: unknown key; did you mean 'cutmix'?"),
        ("--fit.lerning 3", "unknown option '--fit.lerning'"),
    ],
    "robustness": [
        (
            "--fgsm-epsilons x",
            "--fgsm-epsilons: expected ε as a number in [0, 1] or a fraction such as 8/255",
        ),
        (
            "--corruptions fgo",
            "--corruptions: unknown corruption 'fgo'. Did you mean 'fog'? There are 26 in all; see",
        ),
        ("--severities 9", "--severities: expected a severity from 1 to 5, found 9"),
    ],
    "ood": [
        ("--outliers foo:x", "--outliers: unknown kind of outliers 'foo'. Known: folder, gaussian, "),
        ("--scores foo", "--scores: unknown score 'foo'. Known: ash-b, ash-p, "),
    ],
    "detect": [
        ("--detectors sdd", "--detectors: unknown detector 'sdd'. Did you mean 'ssd'?"),
        ("--ssd.input-size 3 4 5", "--ssd.input-size: expected height and width, or one number for both"),
        ("--ssd.input-size 3 x", "--ssd.input-size: expected a whole number, found 'x'"),
    ],
    "caption": [("--num-beams 0", "--num-beams: expected a number greater than or equal to 1, found '0'")],
    "train": [
        ("--seed -1", "--seed: expected a number greater than or equal to 0, found '-1'"),
        ("--recipe", "expected 1 value after --recipe, found fewer"),
    ],
    "run": [("demo --jobs x", "--jobs: expected a whole number, found 'x'")],
    "report": [
        ("", "expected FOLDER, found none"),
        ("x --basline y", "unknown option '--basline'. Did you mean '--baseline'?"),
    ],
    "score": [
        ("classify", "expected --predictions PATH, found none"),
        ("", "expected TASK and --predictions"),
    ],
    "data check": [("x --workers 0", "--workers: expected a number greater than or equal to 1, found '0'")],
    "data prepare": [("--size 3", "unknown option '--size'")],
    "data demo": [("--seed x", "--seed: expected a whole number, found 'x'")],
}


@pytest.mark.parametrize(
    ("verb", "words", "expected"),
    [(verb, words, expected) for verb, cases in WRONG_WORDS.items() for words, expected in cases],
)
def test_wrong_flags_end_in_one_line_and_code_2(cli: Cli, verb: str, words: str, expected: str) -> None:
    needed = ["--backbone", "timm:resnet18", "--data", "folder:x"] if verb in parts("task") else []
    said = cli(*verb.split(), *needed, *words.split())
    line = complaint(said)
    assert line.startswith("error: ")
    assert expected in line
    assert line.endswith(f"(see eval-suite {verb} --help)")
    assert len(said.err.strip().splitlines()) == 1
    assert not [word for word in ("pydantic", "validation error", "helptext", "type=") if word in line]


def test_flags_reach_options_of_every_shape() -> None:
    from eval_suite.cli.parsing import parse
    from eval_suite.tasks.evaluate import task_named

    def read(verb: str, words: str, **default: Any) -> Any:
        kind = command_for(task_named(verb), TaskCommand)
        needed = ["--backbone", "b", "--data", "d"]
        given = kind(backbone="", **default) if default else None
        return parse(kind, verb, [*needed, *words.split()], given)

    plain = read("classify", "")
    assert (plain.task.limit, plain.network.mean, plain.runtime.workers) == (None, None, 2)
    some = read("classify", "--mean 0.1 0.2 1 --limit 3 --input-size 32 64 --out reports/x --strict")
    assert (some.network.mean, some.network.input_size) == ((0.1, 0.2, 1.0), (32, 64))
    assert (some.task.limit, some.out, some.task.strict) == (3, Path("reports/x"), True)
    fitted = read(
        "wsol", "--fit.preset custom --fit.lr 1e-4 --fit.nesterov False --fit.no-enlarge --method adl"
    )
    assert (fitted.task.fit.lr, fitted.task.fit.nesterov, fitted.task.fit.enlarge) == (1e-4, False, False)
    assert (fitted.task.fit.epochs, fitted.task.method.chosen.name) == (10, "adl")
    assert read("classify", "--input-size 32 --limit 3").network.input_size == (32, 32)
    detector = read("detect", "--detectors ssd-fpn --ssd.input-size 96 64 --ssd.no-l2-norm")
    assert (detector.task.detectors, detector.task.ssd.input_size) == (("ssd-fpn",), (96, 64))
    assert (detector.task.ssd.l2_norm, detector.task.faster_rcnn.batch_size) == (False, 8)
    odin = read("ood", "--odin-epsilon None --skip-first 9 --scores odin knn --outliers uniform a=folder:x")
    assert (odin.task.odin_epsilon, odin.task.odin_temperature) == (None, 1000.0)
    assert (odin.task.scores, odin.task.outliers) == (["odin", "knn"], ["uniform", "a=folder:x"])
    task = task_named("wsol").options(data="d", limit=7, fit={"preset": "custom", "epochs": 2})
    from_suite = read("wsol", "--fit.lr 0.5 --batch-size 3", task=task, runtime=RuntimeOptions(workers=0))
    assert (from_suite.task.limit, from_suite.task.fit.epochs, from_suite.task.fit.lr) == (7, 2, 0.5)
    assert from_suite.runtime == RuntimeOptions(workers=0, batch_size=3)


TOGETHER = {"train", "wsol", "detect", "classify", "ood", "robustness"}


@pytest.mark.parametrize("verb", sorted({*entry.VERBS, *parts("task")} - TOGETHER))
def test_what_cannot_share_its_work_refuses_several_processes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert f"{verb} runs in one process, found 2" in complaint(cli(verb, "--backbone", "timm:resnet18"))
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("verb", sorted(TOGETHER))
def test_what_shares_its_work_takes_several_processes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "in one process" not in complaint(cli(verb, "--no-such-flag"))


def test_classify_a_checkpoint_folder_and_score_its_file(cli: Cli, trained: Path, images: str) -> None:
    said = cli("classify", "--backbone", trained, "--data", images, *CPU)
    assert said.code == 0, said.err
    path = Path("reports/single/results/net-s3/classify.json")
    assert said.out.startswith("net-s3  Top-1 error ")
    assert str(path) in said.out
    record = json.loads(path.read_text())
    assert record["status"] == "complete"
    assert record["run"]["command"].startswith("eval-suite")
    scored = cli(
        "score",
        "classify",
        "--predictions",
        path.parent / "classify/predictions.npz",
        "--json-file",
        "m.json",
    )
    assert scored.code == 0
    assert json.loads(Path("m.json").read_text()) == record["metrics"]
    reported = cli("report", "reports/single")
    assert reported.code == 0, reported.err
    assert Path("reports/single/index.html").is_file()


def test_limit_announces_itself_and_marks_the_record(cli: Cli, trained: Path, images: str) -> None:
    said = cli("classify", "--backbone", trained, "--data", images, "--limit", 7, *CPU)
    assert "partial: scored 7 of 30 items" in said.err
    record = json.loads(Path("reports/single/results/net-s3/classify.json").read_text())
    assert (record["status"], record["data"]["n_scored"], record["data"]["n_available"]) == ("partial", 7, 30)


def test_a_truncated_image_is_counted_or_stops_with_strict(cli: Cli, trained: Path, demo_world: Path) -> None:
    shutil.copytree(demo_world / "images", "images")
    broken = sorted(Path("images/val").glob("*/*"))[3]
    broken.write_bytes(broken.read_bytes()[:300])
    said = cli("classify", "--backbone", trained, "--data", "folder:images", *CPU)
    assert said.code == 0
    assert broken.name in said.err
    record = json.loads(Path("reports/single/results/net-s3/classify.json").read_text())
    assert record["status"] == "partial"
    assert record["data"]["n_failed"] == 1
    assert record["data"]["failed"] == [str(broken.relative_to("images"))]
    before = Path("reports/single/results/net-s3/classify.json").read_bytes()
    line = complaint(cli("classify", "--backbone", trained, "--data", "folder:images", "--strict", *CPU))
    assert broken.name in line
    assert Path("reports/single/results/net-s3/classify.json").read_bytes() == before


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("checkpoints/absent", "no backbone at 'checkpoints/absent'"),
        ("timm:resnet5", "unknown timm architecture 'resnet5'. Did you mean 'resnet50'?"),
        ("torchvision:resnet_18@w.pth", "Did you mean 'resnet18'?"),
        ("timm:resnet18@absent.pth", "expected a weights file at absent.pth"),
        (f"{FACTORY}:resnet21", "Did you mean 'resnet20'?"),
        ("absent.py:make", "expected a Python file at absent.py"),
    ],
)
def test_wrong_backbones_leave_nothing_behind(cli: Cli, images: str, backbone: str, expected: str) -> None:
    assert expected in complaint(cli("classify", "--backbone", backbone, "--data", images, *CPU))
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("folder:absent", "absent"),
        ("foldr:x", "unknown data kind 'foldr'. Did you mean 'folder'?"),
        ("images", "expected data as KIND:PATH"),
        ("/", "a folder of class folders is folder:/"),
    ],
)
def test_wrong_data_leaves_nothing_behind(cli: Cli, trained: Path, data: str, expected: str) -> None:
    assert expected in complaint(cli("classify", "--backbone", trained, "--data", data, *CPU))
    assert list(Path().iterdir()) == []


def test_empty_data_folder(cli: Cli, trained: Path) -> None:
    Path("empty").mkdir()
    complaint(cli("classify", "--backbone", trained, "--data", "folder:empty", *CPU))


def test_class_folders_that_differ_between_splits_are_named(
    cli: Cli, trained: Path, demo_world: Path
) -> None:
    shutil.copytree(demo_world / "images", "images")
    shutil.rmtree("images/val/ruby-newt")
    said = cli("classify", "--backbone", trained, "--data", "folder:images", *CPU)
    assert (said.code, "have no image in images/val: ruby-newt" in said.err) == (0, True)
    shutil.move("images/train/ruby-newt", "images/val/ruby-newt")
    line = complaint(cli("classify", "--backbone", trained, "--data", "folder:images", *CPU))
    assert "train lacks ruby-newt" in line


def test_a_backbone_of_other_classes_is_refused(cli: Cli, trained: Path, demo_world: Path) -> None:
    shutil.copytree(demo_world / "images", "images")
    for split in ("train", "val"):
        Path(f"images/{split}/ruby-newt").rename(f"images/{split}/emerald-newt")
    line = complaint(cli("classify", "--backbone", trained, "--data", "folder:images", *CPU))
    assert "emerald-newt" in line


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("as_torch_file", [True, False])
def test_weights_that_would_run_code_are_refused(cli: Cli, images: str, as_torch_file: bool) -> None:
    if as_torch_file:
        torch.save({"state_dict": Bomb()}, "bomb.pth")
    else:
        Path("bomb.pth").write_bytes(pickle.dumps(Bomb(), protocol=2))
    line = complaint(cli("classify", "--backbone", f"{FACTORY}:resnet20@bomb.pth", "--data", images, *CPU))
    assert "refused" in line
    assert not Path("exploded").exists()


def test_weights_that_do_not_fit_are_listed(cli: Cli, images: str) -> None:
    torch.save({"conv1.weight": torch.zeros(16, 3, 3, 3), "extra": torch.zeros(1)}, "few.pth")
    line = complaint(cli("classify", "--backbone", f"{FACTORY}:resnet20@few.pth", "--data", images, *CPU))
    assert "missing: bn1.weight" in line
    assert "left over in the file: extra" in line


def test_a_faulty_suite_names_all_its_problems(cli: Cli) -> None:
    suite = {
        "name": "bad",
        "recipe": {"arch": "resnet14_demo", "data": "folder:x", "lr": -1},
        "backbones": {"a": {"epoch": 3}, "b": {"regularizers": [{"cutmix": {"prob": 2}}]}},
        "tasks": {"clasify": {}},
        "sedes": [0],
    }
    Path("bad.yaml").write_text(yaml.safe_dump(suite))
    said = cli("run", "bad.yaml")
    assert said.code == 2
    for expected in (
        "sedes: unknown key; did you mean 'seeds'?",
        "recipe.lr: expected a number greater than 0, found -1",
        "backbones.a.epoch: unknown key; did you mean 'epochs'?",
        "backbones.b.regularizers.0.cutmix.prob: expected a number less than or equal to 1, found 2",
        "tasks.clasify: unknown task 'clasify'. Did you mean 'classify'? Known: "
        "classify, caption, detect, ood, probe, robustness, segment, wsol",
    ):
        assert expected in said.err
    assert said.err.count("recipe.lr") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["bad.yaml"]


@pytest.mark.parametrize(("short", "count"), [([], 5), (["--epochs", "1", "--limit", "3"], 5)])
def test_a_dry_run_says_what_would_run_and_writes_nothing(cli: Cli, short: list[str], count: int) -> None:
    suite = {
        "name": "mini",
        "demo": {"out": "world", "size": "tiny"},
        "recipe": {"arch": "resnet14_demo", "data": "folder:world/images"},
        "backbones": {"a": {}, "b": {"regularizers": ["cutmix"]}},
        "tasks": {"classify": {"data": "folder:world/images"}},
    }
    Path("mini.yaml").write_text(yaml.safe_dump(suite))
    said = cli("run", "mini.yaml", "--dry-run", *short)
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == f"0 done, {count} to run"
    assert "to run  train b-s0" in said.out
    assert [path.name for path in Path().iterdir()] == ["mini.yaml"]
    Path("mini.yaml").write_text(yaml.safe_dump(suite | {"tasks": {"classify": {"data": "folder:absent"}}}))
    lacking = cli("run", "mini.yaml", "--dry-run", *short)
    assert lacking.code == 2
    assert "tasks.classify.data" in lacking.err
    assert lacking.out.splitlines()[-1] == f"0 done, {count} to run"
    assert [path.name for path in Path().iterdir()] == ["mini.yaml"]


def test_a_dry_run_leaves_torch_alone() -> None:
    recipe = {"arch": "resnet14_demo", "data": "folder:world/images"}
    suite = {"name": "mini", "demo": {"out": "world"}, "backbones": {"a": recipe}}
    Path("mini.yaml").write_text(yaml.safe_dump(suite | {"tasks": {"classify": {"data": recipe["data"]}}}))
    script = (
        "import sys; from eval_suite.cli.main import main\n"
        "code = main(['run', 'mini.yaml', '--dry-run']); sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 done, 3 to run"


def test_an_output_that_cannot_be_written(cli: Cli, trained: Path, images: str) -> None:
    Path("reports").write_text("a file where the folder should be")
    line = complaint(cli("classify", "--backbone", trained, "--data", images, *CPU), code=1)
    assert "cannot write" in line


def test_score_takes_predictions_made_elsewhere(cli: Cli, demo_world: Path, images: str) -> None:
    from eval_suite.data.images import open_images

    index = open_images(images)
    logits = np.eye(len(index.classes), dtype=np.float32)[index.labels]
    logits[:3] = np.roll(logits[:3], 1, axis=1)
    np.savez("theirs.npz", logits=logits, ids=np.asarray(index.ids))
    said = cli("score", "classify", "--predictions", "theirs.npz", "--truth", images)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "Top-1 error 10.00 % [3.46 %, 25.62 %] (n = 30)"
    assert lines[-1] == f"scored 30 items of theirs.npz: {lines[0]}"
    assert not [line for line in lines if "fraction" in line]
    assert "give the ground truth as --truth" in complaint(
        cli("score", "classify", "--predictions", "theirs.npz")
    )


def test_data_demo_and_check(cli: Cli) -> None:
    assert cli("data", "demo", "--out", "world", "--size", "tiny").code == 0
    said = cli("data", "check", "folder:world/images")
    assert said.code == 0, said.err
    assert "train" in said.out
    broken = sorted(Path("world/images/val").glob("*/*"))[0]
    broken.write_bytes(b"")
    said = cli("data", "check", "folder:world/images")
    assert said.code == 1
    assert broken.name in said.out
    assert "Did you mean 'small'?" in complaint(cli("data", "demo", "--out", "other", "--size", "smal"))
    assert "no such folder" in complaint(cli("data", "check", "folder:absent"))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", METHOD_SETTINGS),
        ("maps", get_args(MapName)),
        ("detectors", detectors()),
        ("corruptions", [*CORRUPTIONS, *GROUPS, *(n for own in PUBLISHED_CORRUPTIONS.values() for n in own)]),
        ("scores", parts("ood_score")),
        ("data", [*parts("data"), *ANNOTATED]),
        ("outliers", [*(f"{name}:PATH" for name in outliers.KINDS), *outliers.NOISE]),
    ],
)
def test_what_an_option_takes_by_name_is_listed(cli: Cli, kind: str, names: Iterable[str]) -> None:
    said = cli("list", kind)
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == list(names)


def test_lists(cli: Cli) -> None:
    said = cli("list", "tasks", "regularizers", "scores", "suites")
    assert said.code == 0
    for word in ("classify", "cutmix", "mixup", "cutout", "mahalanobis", "demo"):
        assert word in said.out
    [smoke] = [line for line in said.out.splitlines() if line.startswith("smoke ")]
    assert Path(smoke[smoke.rindex("[") + 1 : -1]).read_text().startswith("name: smoke\n")
    said = cli("list", "architectures", "--filter", "resnet14_demo")
    assert said.out.split() == ["timm:resnet14_demo"]


def test_an_unexpected_error_is_one_line_with_a_way_to_see_more(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What fails has no frame in a file of the user's, which would be named instead.
    monkeypatch.setattr(data_commands, "main", int)
    line = complaint(cli("data", "demo"), code=1)
    assert line.startswith("error: TypeError: int() argument")
    assert line.endswith("(set EVAL_SUITE_TRACEBACK=1 to see where)")
    monkeypatch.setenv("EVAL_SUITE_TRACEBACK", "1")
    with pytest.raises(TypeError):
        cli("data", "demo")


ODD = """
import torch
from torch import nn

class Softmax(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3))).softmax(1)

def make(num_classes):
    torch.manual_seed(0)
    return Softmax(num_classes)
"""


def test_an_odd_network_is_evaluated_with_a_warning_in_log_and_record(cli: Cli, images: str) -> None:
    Path("odd.py").write_text(ODD)
    half = ["--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5"]
    said = cli("classify", "--backbone", "odd.py:make", "--data", images, *half, *CPU)
    assert said.code == 0
    assert "warning: probabilities: " in said.err
    (warning,) = read_record("reports/single/results/make-s0/classify.json").backbone.load.warnings
    assert warning.startswith("probabilities: ")


def test_one_of_several_sets_of_weights_is_evaluated_by_its_entry(cli: Cli, images: str) -> None:
    import torch

    Path("odd.py").write_text(ODD)
    namespace: dict[str, Any] = {}
    exec(ODD, namespace)
    classes = len(list(Path(images.partition(":")[2], "val").iterdir()))
    states = [
        {key: value + n for key, value in namespace["make"](classes).state_dict().items()} for n in (0, 1)
    ]
    torch.save({"student": states[0], "teacher": states[1]}, "w.pth")
    call = ("classify", "--backbone", "odd.py:make@w.pth", "--data", images, *CPU)
    assert "under 'student' and 'teacher'" in complaint(cli(*call))
    said = cli(*call, "--weights-entry", "teacher")
    assert said.code == 0
    assert "note: took the weights under 'teacher'" in said.err


def test_a_finished_backbone_is_replaced_only_with_overwrite(cli: Cli, images: str) -> None:
    recipe = (
        f"{{arch: resnet14_demo, arch_options: {{blocks: 1, channels: [4, 8, 16]}}, data: '{images}', "
        "input_size: [64, 64], epochs: 1, limit: 20, batch_size: 10"
    )
    Path("mine.yaml").write_text(recipe + "}")
    call = ("train", "--recipe", "mine.yaml", *CPU)
    assert cli(*call).code == 0
    card = Path("checkpoints/single/mine-s0/card.json")
    before = card.read_bytes()
    assert cli(*call).out.startswith("already trained")
    Path("mine.yaml").write_text(recipe + ", lr: 0.01}")
    line = complaint(cli(*call))
    assert "with other lr;" in line
    assert "--overwrite" in line
    assert card.read_bytes() == before
    assert cli(*call, "--overwrite").code == 0
    assert card.read_bytes() != before


def test_a_network_that_closes_what_it_prints_to_leaves_its_record(
    cli: Cli, images: str, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(
        "import os, sys\n"
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def forward(self, images):\n"
        "        os.write(1, b'\\xff\\xfe\\0')\n"
        "        sys.stdout.close()\n"
        "        sys.stderr.close()\n"
        "        return super().forward(images)\n"
        "def make():\n"
        "    return Net(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))\n"
    )
    words = ("--mean", 0, 0, 0, "--std", 1, 1, 1, "--input-size", 64, 64)
    done = cli("classify", "--backbone", "net.py:make", "--data", images, *words, *CPU)
    assert done.code == 0
    assert "Top-1 error" in done.out
    (record,) = tmp_path.glob("reports/single/results/*/classify.json")
    assert read_record(record).status == "complete"


@pytest.mark.parametrize(
    ("seeds", "row", "records"),
    [
        ([0, 1], {"epochs": 2}, ""),
        ([0, 1], {"source": "timm:resnet18"}, "3 records"),
        ([0], {"source": "timm:resnet18"}, ""),
    ],
)
def test_the_size_of_a_suite_counts_rows_of_one_seed_once(
    tmp_path: Path, seeds: list[int], row: dict[str, Any], records: str
) -> None:
    recipe = {"arch": "resnet20_cifar", "data": "cifar10:x", "epochs": 3}
    content = {"name": "x", "recipe": recipe, "seeds": seeds, "tasks": {"classify": {"data": "cifar10:x"}}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**content, "backbones": {"a": None, "b": row}}))
    line = size_in_words(load_suite(str(tmp_path / "x.yaml")))
    assert (records in line, "records" in line) == (True, bool(records))
