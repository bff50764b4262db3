"""The ood task from images to record, on the tiny demo world, and everything that can be wrong with its input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from eval_suite.backbones.backbone import finish
from eval_suite.backbones.building import build_net
from eval_suite.backbones.checkpoint import save_checkpoint
from eval_suite.backbones.sources import load_backbone
from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core import runtime
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.parts import parts
from eval_suite.core.records import GitState, Metric
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell
from eval_suite.data.images import open_images
from eval_suite.suite.preflight import require_inputs
from eval_suite.suite.suite import load_suite
from eval_suite.tasks.external import score_file
from eval_suite.tasks.ood.predictions import read_predictions
from eval_suite.tasks.ood.task import OodOptions, OodTask
from tests.report.fake_suite import id_of
from tests.tasks.running import Evaluated, evaluate

ARCH = {"blocks": 1, "channels": [4, 8, 16]}


@pytest.fixture(autouse=True)
def _no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_git_state", lambda: GitState(commit="abc", dirty=False))


@pytest.fixture(scope="module")
def source(demo_world: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of the demo's classes; its weights are random."""
    classes = open_images(f"folder:{demo_world / 'images'}").classes
    return checkpoint(tmp_path_factory.mktemp("checkpoint"), classes)


def checkpoint(folder: Path, classes: list[str], *, huge: bool = False, flip: bool = False) -> str:
    torch.manual_seed(0)
    net = build_net("resnet14_demo", len(classes), ARCH)
    if flip:
        for parameter in net.get_submodule("fc").parameters():
            parameter.data = parameter.data.flip(0)
    if huge:  # each finite, but not its sum with any other
        for parameter in net.get_submodule("fc").parameters():
            parameter.data.fill_(3e38)
    card = BackboneCard(
        name="c",
        source="",
        arch="resnet14_demo",
        arch_options=ARCH,
        classes=classes,
        input_size=(64, 64),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    save_checkpoint(folder, net.state_dict(), finish(net, card).card)
    return str(folder)


@pytest.fixture
def ood(demo_world: Path, source: str, tmp_path: Path) -> Callable[..., Evaluated]:
    def run(**options: Any) -> Evaluated:
        batch_size, chosen = options.pop("batch_size", 16), options.pop("source", source)
        loaded = options.pop("backbone_options", BackboneOptions())
        out = tmp_path / options.pop("out", "out")
        given: dict[str, Any] = {
            "data": f"folder:{demo_world / 'images'}",
            "outliers": [f"folder:{demo_world / 'ood' / 'textures'}", "uniform"],
            "noise_items": 20,
            **options,
        }
        return evaluate(
            OodTask(),
            OodOptions(**given),
            cell=Cell("s", "net", 0, out),
            source=chosen,
            backbone_options=loaded,
            runtime=RuntimeOptions(device="cpu", workers=0, batch_size=batch_size),
            expected=False,
        )

    return run


def find(metrics: list[Metric], name: str, subset: str | None = None) -> Metric:
    return next(metric for metric in metrics if (metric.name, metric.subset) == (name, subset))


def nothing_written(tmp_path: Path) -> bool:
    return not any((tmp_path / "out").rglob("*.*")) if (tmp_path / "out").exists() else True


def test_the_record_of_every_score(ood: Callable[..., Evaluated], demo_world: Path, source: str) -> None:
    result, path = ood(scores=list(parts("ood_score")), knn_k=5)
    assert result.status == "complete"
    assert result.data is not None
    assert (result.data.n_scored, result.data.n_available) == (30 + 8 + 20, 58)
    for score in parts("ood_score").values():
        for subset in (None, "textures", "uniform"):
            metric = find(result.metrics, f"AUROC, {score.title}", subset)
            assert metric.value is not None
            assert 0 <= metric.value <= 1
        find(result.metrics, f"TNR@TPR95 (ID positive), {score.title}, without noise")
    assert {"image size", "file size"} <= find(result.metrics, "AUROC, energy", "textures").controls.keys()
    saved = read_predictions(path.parent / "ood" / "predictions.npz")
    assert saved.settings == {
        "outlier_seed": "0",
        "skip_first": "0",
        **dict.fromkeys(
            ("knn", "react", "she", "dice", "klm", "fdbd", "nnguide", "vra", "gram"),
            "fitted to 60 images of 'train'",
        ),
        **dict.fromkeys(("mahalanobis", "rmd", "vim"), "fitted to 60 images of 'train', few for 16 features"),
        "odin": "temperature 1000, epsilon 0.0014, as given",
    }
    assert saved.outliers["uniform"].noise
    assert not saved.outliers["textures"].noise
    # The stored confidences are those of the logits of the network.
    backbone = load_backbone(source, name="c")
    assert saved.logits is not None
    exact = torch.from_numpy(saved.logits).double().softmax(dim=1).amax(dim=1)
    np.testing.assert_allclose(saved.scores["max-softmax"], exact)
    from eval_suite.data.noise import noise_image

    with torch.no_grad():
        logits = backbone(torch.stack([noise_image("uniform", 0, i, (64, 64)) for i in range(20)]))
    np.testing.assert_allclose(
        saved.outliers["uniform"].scores["max-logit"], logits.double().amax(dim=1), rtol=1e-4, atol=1e-5
    )
    assert saved.outliers["uniform"].ids[:2] == ["uniform-00000", "uniform-00001"]
    for title, said in (
        ("ODIN", "score: temperature 1000, epsilon 0.0014"),
        ("ViM", "score: fitted to 60 images"),
    ):
        assert said in (find(result.metrics, f"AUROC, {title}", "textures").method or "")
    again = score_file(OodTask(), path.parent / "ood" / "predictions.npz", None, None)
    assert again.metrics == result.metrics
    assert again.data == result.data
    with np.load(path.parent / "ood" / "outcomes.npz") as outcomes:
        assert outcomes[id_of("AUROC, KNN")].mean() == pytest.approx(find(result.metrics, "AUROC, KNN").value)


def test_scores_of_features_share_one_pass_over_each_set(
    ood: Callable[..., Evaluated], monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval_suite.backbones.backbone import Backbone

    seen: list[int] = []
    plain = Backbone.forward

    def counting(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(Backbone, "forward", counting)

    def images(scores: list[str], out: str) -> int:
        seen.clear()
        ood(scores=scores, out=out, knn_k=5)
        return sum(seen)

    of_logits = images(["energy"], "one")
    assert images(["energy", "max-softmax", "ash-s", "ash-b", "scale"], "two") == of_logits
    fitted = ["knn", "dice", "klm", "fdbd", "nnguide", "vra", "react", "she", "mahalanobis", "vim", "gram"]
    assert images([*fitted, "energy", "scale"], "three") == of_logits + 60  # the training images once
    # RankFeat runs the rest of the network from the last two stages.
    assert images(["energy", "rankfeat"], "four") == of_logits + 2 * (30 + 8 + 20)


def test_features_that_say_nothing_are_told_or_refused(
    ood: Callable[..., Evaluated], demo_world: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self, shift):\n        super().__init__()\n        self.fc, self.shift = nn.Linear(3, 10), shift\n"
        "    def forward(self, x):\n        return self.fc((x.mean((2, 3)) + self.shift).relu())\n\n\n"
        "def dead():\n    return Net(-1000.0)\n\n\ndef half():\n    return Net(torch.tensor(-0.3))\n\n\n"
        # The largest is below 0 and far smaller than the others: SCALE multiplies by exp(sum / sum of the largest).
        "class Raw(Net):\n    def forward(self, x):\n"
        "        return self.fc(0.0001 * x.mean((2, 3)) - torch.tensor([1.0, 1.0, 0.0005]))\n\n\n"
        "def raw():\n    return Raw(0)\n\n\n"
        "class Slightly(Net):\n    def forward(self, x):\n"
        "        return self.fc(0.01 * x.mean((2, 3)) + torch.tensor([1.0, 2.0, -0.1]))\n\n\n"
        "def slightly():\n    return Slightly(0)\n"
    )
    common = {"scores": ["nnguide", "scale"], "outliers": ["uniform"]}
    with pytest.raises(InputError, match="found 0 in all features of 60 images"):
        ood(source=f"{tmp_path / 'net.py'}:dead", **common)
    result, _ = ood(source=f"{tmp_path / 'net.py'}:half", **common)
    assert any("features that are all 0: nnguide, scale cannot" in line for line in result.warnings)
    with pytest.raises(InputError, match="numbers from the score 'scale'"):
        ood(source=f"{tmp_path / 'net.py'}:raw", out="raw", **common)
    result, _ = ood(source=f"{tmp_path / 'net.py'}:slightly", out="slightly", **common)
    assert any("below 0 in places: scale are defined" in line for line in result.warnings)


@pytest.mark.parametrize("name", list(parts("ood_score")))
def test_a_network_without_classes_takes_scores_of_features_alone(
    name: str, ood: Callable[..., Evaluated], tmp_path: Path
) -> None:
    if name in ("mahalanobis", "rmd", "knn"):
        assert not OodTask().needs_classes(OodOptions(data="folder:x", scores=[name]))
        return
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Identity())\n"
    )
    options = BackboneOptions(headless=True, input_size=(64, 64))
    with pytest.raises(InputError, match="a backbone with classes for ood") as caught:
        ood(source=f"{tmp_path / 'net.py'}:net", backbone_options=options, scores=["knn", name])
    assert "mahalanobis, rmd" in (caught.value.remedy or "") or "knn" in (caught.value.remedy or "")
    assert nothing_written(tmp_path)


def test_labels_are_matched_with_the_outputs(
    ood: Callable[..., Evaluated], demo_world: Path, tmp_path: Path
) -> None:
    """Patterns are of the images that were right, whatever order the network has its classes in."""
    classes = open_images(f"folder:{demo_world / 'images'}").classes
    straight = checkpoint(tmp_path / "straight", classes)
    turned = checkpoint(tmp_path / "turned", classes[::-1], flip=True)
    scores = ["she", "gram"]
    one, _ = ood(source=straight, scores=scores, out="one")
    other, _ = ood(source=turned, scores=scores, out="other")
    for a, b in zip(one.metrics, other.metrics, strict=True):
        assert (a.id, a.subset) == (b.id, b.subset)
        assert a.value == pytest.approx(b.value, abs=1e-4)


def test_the_batch_size_does_not_matter(ood: Callable[..., Evaluated]) -> None:
    scores = ["max-softmax", "odin"]
    whole = ood(scores=scores, batch_size=64).result
    parts = ood(scores=scores, batch_size=7).result
    assert parts.data == whole.data
    for one, other in zip(parts.metrics, whole.metrics, strict=True):
        assert (one.name, one.subset) == (other.name, other.subset)
        assert one.value == pytest.approx(other.value, abs=0.02)


def test_the_pictures_are_the_same_items_with_what_was_said_of_them(ood: Callable[..., Evaluated]) -> None:
    result, path = ood()
    assert len(result.examples) == 5
    for example in result.examples:
        assert (path.parent / example.image).is_file()
        name, _, verdict = example.caption.partition(": ")
        wanted = {("✓", True), ("✗", False)}
        accepted = "accepted" in verdict
        assert (verdict[0], accepted == (name == "in-distribution")) in wanted
    assert [example.caption.partition(":")[0] for example in result.examples] == [
        *["in-distribution"] * 2,
        *["textures"] * 2,
        "uniform",
    ]


def test_limit_and_skip_first(ood: Callable[..., Evaluated], demo_world: Path) -> None:
    partial, _ = ood(limit=20)
    assert partial.status == "partial"
    assert partial.data is not None
    assert (partial.data.n_scored, partial.data.n_available) == (20 + 8 + 20, 58)
    unseen = f"folder:{demo_world / 'ood' / 'unseen-creatures'}"
    result, path = ood(outliers=[unseen, "gaussian"], skip_first=3, noise_items=None, out="other")
    saved = read_predictions(path.parent / "ood" / "predictions.npz")
    everything = open_images(f"folder:{demo_world / 'images'}").ids
    assert saved.ids == everything[3:]
    assert saved.outliers["unseen-creatures"].ids == [f"{i:04d}.jpg" for i in range(4, 9)]
    assert saved.outliers["gaussian"].ids == [f"gaussian-{i:05d}" for i in range(3, 30)]
    assert result.status == "complete"


def test_odin_is_tuned_on_what_is_left_out(ood: Callable[..., Evaluated]) -> None:
    _, path = ood(scores=["max-softmax", "odin"], skip_first=3, odin_epsilon=None, odin_temperature=10.0)
    said = read_predictions(path.parent / "ood" / "predictions.npz").settings["odin"]
    assert said.startswith("temperature 10, epsilon ")
    assert said.endswith("chosen on the first 3 images of every set, which are not evaluated")
    with pytest.raises(ValidationError, match="expected skip_first to leave out images"):
        OodOptions(data="folder:x", scores=["odin"], odin_epsilon=None)
    assert OodOptions(data="folder:x", scores=["energy"], odin_epsilon=None).odin_epsilon is None


def test_unreadable_outliers_are_counted_and_named(
    ood: Callable[..., Evaluated], demo_world: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_world / "ood" / "textures", tmp_path / "broken")
    (tmp_path / "broken" / "0003.jpg").write_bytes(b"")
    result, _ = ood(outliers=[f"folder:{tmp_path / 'broken'}"])
    assert result.status == "partial"
    assert result.data is not None
    assert (result.data.n_scored, result.data.n_failed, result.data.failed) == (37, 1, ["0003.jpg"])
    whole, _ = ood(outliers=[f"broken=folder:{demo_world / 'ood' / 'textures'}"], out="other")
    assert whole.data is not None
    assert whole.data.sha256 != result.data.sha256


# Bad input.


@pytest.mark.parametrize(
    ("outliers", "message"),
    [
        ([], "expected at least one outlier set, found none; give e.g. --outliers"),
        (["folder:absent"], "expected a folder with outliers at absent, found no such folder"),
        (["{tmp}/empty"], r"expected images \(.*found an empty folder"),
        (
            ["{tmp}/unreadable"],
            r"no image in split 'all' of .*unreadable can be read, first: 0\.jpg \(not an image\)",
        ),
        (["{tmp}/few"], "expected at least 5 images of outlier set 'few', found 3"),
        (["{tmp}/few-readable"], "expected at least 5 images of outlier set 'few-readable', found 4"),
        (["{world}/images/val"], "found 30 of 30 with the same pixels; choose another set"),
        (["{tmp}/copied"], "outlier set 'copied', found 30 of 30 with the same pixels"),
        (["{tmp}/mostly"], "outlier set 'mostly', found 5 of 8 with the same pixels"),
    ],
)
def test_wrong_outliers_are_one_line_and_leave_nothing(
    outliers: list[str], message: str, ood: Callable[..., Evaluated], demo_world: Path, tmp_path: Path
) -> None:
    known = sorted((demo_world / "images" / "val").rglob("*.jpg"))
    textures = sorted((demo_world / "ood" / "textures").glob("*.jpg"))

    def fill(name: str, files: list[Path], broken: int = 0) -> None:
        (tmp_path / name).mkdir()
        for i, file in enumerate(files):
            content = b"broken" if i < broken else file.read_bytes()
            (tmp_path / name / f"{i}.jpg").write_bytes(content)

    fill("empty", [])
    fill("unreadable", textures, broken=8)
    fill("few", textures[:3])
    fill("few-readable", textures, broken=4)
    fill("copied", known)
    fill("mostly", known[:5] + textures[:3])
    places = {"tmp": tmp_path, "world": demo_world}
    given = [text if text.startswith("folder:") else f"folder:{text.format(**places)}" for text in outliers]
    with pytest.raises(InputError, match=message) as caught:
        ood(outliers=given)
    assert "\n" not in str(caught.value)
    assert nothing_written(tmp_path)


def test_a_few_shared_images_are_told(
    ood: Callable[..., Evaluated], demo_world: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_world / "ood" / "textures", tmp_path / "mixed")
    shutil.copy(next((demo_world / "images" / "val").rglob("*.jpg")), tmp_path / "mixed" / "known.jpg")
    result, _ = ood(outliers=[f"folder:{tmp_path / 'mixed'}"])
    assert any("1 of 9 images of outlier set 'mixed'" in line for line in result.warnings)


def test_a_fit_to_the_evaluated_split_is_told(ood: Callable[..., Evaluated]) -> None:
    result, _ = ood(scores=["knn"], knn_k=5, fit_split="val", outliers=["uniform"])
    assert any("knn learnt from" in line for line in result.warnings)
    other, _ = ood(scores=["knn"], knn_k=5, outliers=["uniform"], out="other")
    assert not any("knn" in line for line in other.warnings)


def test_a_network_without_names_needs_no_labels(ood: Callable[..., Evaluated], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    result, _ = ood(source=f"{tmp_path / 'net.py'}:net", outliers=["uniform"])
    assert (result["auroc"].value is not None, result["ece"].value) == (True, None)
    assert any("--classes" in line for line in result.warnings)


def test_a_known_set_that_is_too_small(ood: Callable[..., Evaluated], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected at least 20 in-distribution images .* found 19"):
        ood(limit=19)
    with pytest.raises(InputError, match=r"more than the 30 images that skip_first leaves out .* found 30"):
        ood(skip_first=30)
    assert nothing_written(tmp_path)


def test_a_backbone_of_other_classes(ood: Callable[..., Evaluated], tmp_path: Path) -> None:
    other = checkpoint(tmp_path / "other", [f"class-{i}" for i in range(10)])
    with pytest.raises(InputError, match="found none for 10 of 10 classes"):
        ood(source=other)
    fewer = checkpoint(tmp_path / "fewer", ["a", "b"])
    with pytest.raises(InputError, match=r"2 outputs .*found none for 10 of 10 classes"):
        ood(source=fewer)
    assert nothing_written(tmp_path)


def test_a_network_that_gives_infinite_logits_leaves_a_failed_record(
    ood: Callable[..., Evaluated], demo_world: Path, tmp_path: Path
) -> None:
    classes = open_images(f"folder:{demo_world / 'images'}").classes
    with pytest.raises(EvalSuiteError, match="gives NaN or infinite numbers on 'in-distribution'"):
        ood(source=checkpoint(tmp_path / "infinite", classes, huge=True))
    record = json.loads((tmp_path / "out/reports/s/results/net-s0/ood.json").read_text())
    assert record["status"] == "failed"


def test_scores_without_training_images(
    ood: Callable[..., Evaluated], demo_world: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_world / "images" / "val", tmp_path / "flat")
    with pytest.raises(InputError, match="has no split 'train'; it has: all"):
        ood(data=f"folder:{tmp_path / 'flat'}", scores=["knn"])
    with pytest.raises(
        InputError, match="expected at least 50 training images for the score 'knn', found 40"
    ):
        ood(scores=["knn"], fit_limit=40)
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scores", "max-softmx"], "unknown score 'max-softmx'. Did you mean 'max-softmax'?"),
        (["--outliers", "texture:x"], "unknown kind of outliers 'texture'. Did you mean 'textures'?"),
        (["--outliers", "folder:a/x", "folder:b/x"], "found 'x' twice; write NAME=KIND:PATH"),
        (["--noise-items", "2"], "greater than or equal to 5"),
    ],
)
def test_wrong_flags_end_in_one_line(
    words: list[str], expected: str, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("ood", "--backbone", "timm:resnet18", "--data", "folder:x", *words)
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1
    assert expected in said.err
    assert said.err.strip().endswith("(see eval-suite ood --help)")
    assert "input_type" not in said.err
    assert list(Path().iterdir()) == []


def test_the_command_line(
    cli: Callable[..., Any], demo_world: Path, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    textures = f"folder:{demo_world / 'ood' / 'textures'}"
    common = ("--device", "cpu", "--workers", "0", "--threads", "1")
    data = ("--data", f"folder:{demo_world / 'images'}", "--outliers", textures, "uniform")
    said = cli("ood", "--backbone", source, *data, "--scores", "energy", "max-softmax", *common)
    assert said.code == 0, said.err
    assert "AUROC, energy, without noise " in said.out
    file = next(Path("reports/single/results").rglob("ood/predictions.npz"))
    scored = cli("score", "ood", "--predictions", file)
    assert scored.code == 0, scored.err
    assert "AUROC, max softmax [textures] " in scored.out


def test_outliers_are_looked_for_before_a_suite_runs(tmp_path: Path) -> None:
    world = tmp_path / "world"
    (tmp_path / "mine.yaml").write_text(
        f"""
name: mine
demo: {{out: {world}, size: tiny}}
recipe: {{arch: resnet14_demo, data: "folder:{world}/images"}}
backbones: {{a: {{}}}}
tasks:
  ood:
    data: folder:{world}/images
    outliers: [folder:{world}/ood/textures, uniform, folder:{tmp_path}/absent]
"""
    )
    with pytest.raises(InputError) as found:
        require_inputs(load_suite(str(tmp_path / "mine.yaml")))
    lines = str(found.value).splitlines()[1:]
    assert len(lines) == 1
    assert lines[0].strip().startswith("tasks.ood.outliers.2: expected a folder with outliers at")
