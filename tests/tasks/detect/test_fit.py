"""Fine-tuning: what the Runner is told, one outcome however often it is stopped, and nothing said on the console."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import load_state
from eval_suite.core.errors import DivergenceError, InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.voc import open_voc
from eval_suite.tasks.detect import fit as fitting
from eval_suite.tasks.detect.fit import fit_detector, images_per_process, prepare
from eval_suite.tasks.detect.models import build_detector
from eval_suite.tasks.detect.options import DetectOptions, FasterRcnnOptions
from eval_suite.tasks.detect.predict import predict_detector
from eval_suite.training.fit_run import FitRun
from tests.killing import killed_after
from tests.tasks.detect.conftest import MEAN, make_backbone, small_options

RUNTIME = RuntimeOptions(device="cpu", threads=1, workers=0)


@pytest.fixture(scope="module")
def images(demo_world: Path) -> ObjectIndex:
    return open_voc(f"voc:{demo_world}", "VOC2007/trainval")


def fitted(
    detector: str,
    backbone: Backbone,
    images: ObjectIndex,
    options: DetectOptions,
    folder: Path,
    runtime: RuntimeOptions = RUNTIME,
) -> torch.nn.Module:
    built = build_detector(options.detector(detector), backbone, len(images.classes), seed=0)
    return fit_detector(
        built.model,
        options.detector(detector),
        images,
        runtime,
        card=backbone.card,
        seed=0,
        folder=folder,
        save_interval=options.save_interval,
    ).model


def fit(*arguments: Any) -> dict[str, torch.Tensor]:
    return fitted(*arguments).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("detector", ["ssd", "faster-rcnn-c4"])
def test_boxes_of_one_pixel_are_learnt_from(
    detector: str, tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path
) -> None:
    boxes = images.boxes.copy()
    boxes[:, 2] = boxes[:, 0]
    narrow = replace(images, boxes=boxes)
    weights = fit(detector, tiny_backbone, narrow, small_options(iterations=2), tmp_path)
    assert all(bool(value.isfinite().all()) for value in weights.values())


@pytest.mark.long
@pytest.mark.parametrize(
    ("detector", "arch"),
    [("ssd", ""), ("faster-rcnn-c4", ""), ("ssd", "test_vit")],
)
def test_killed_and_started_again_it_ends_with_the_same_weights(
    detector: str,
    arch: str,
    tiny_backbone: Backbone,
    images: ObjectIndex,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = small_options(save_interval=1e-9, iterations=12)
    backbone = make_backbone(arch) if arch else tiny_backbone
    whole = fit(detector, backbone, images, options, tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == [
        ".lock",
        "fitted.json",
        "log.jsonl",
        "model.safetensors",
    ]
    folder = tmp_path / "killed"
    endless = options.model_copy(update={"iterations": 12})
    assert killed_after(2, fit, detector, backbone, images, endless, folder) == -signal.SIGKILL
    assert (folder / "state.pt").is_file()
    assert not (folder / "fitted.json").is_file()
    state = load_state(folder / "state.pt")
    assert state is not None
    step = state["step"]
    assert 1 <= step < 12
    resumed = fit(detector, backbone, images, options, folder)
    assert same(whole, resumed)
    again = fit(detector, backbone, images, options, folder)
    assert same(whole, again)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_network_of_tokens_learns_and_is_read_back(images: ObjectIndex, tmp_path: Path) -> None:
    backbone = make_backbone("test_vit")
    trained = fit("faster-rcnn-fpn", backbone, images, small_options(iterations=1), tmp_path)
    before = backbone.net.state_dict()["patch_embed.proj.weight"]
    assert not torch.equal(trained["backbone.net.patch_embed.proj.weight"], before)
    assert same(trained, fit("faster-rcnn-fpn", backbone, images, small_options(iterations=1), tmp_path))


def test_other_options_start_anew(tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path) -> None:
    first = fit("ssd", tiny_backbone, images, small_options(iterations=1), tmp_path)
    other = fit("ssd", tiny_backbone, images, small_options(iterations=2), tmp_path)
    assert not same(first, other)


@pytest.mark.parametrize(
    "change", [{"mean": (0.0, 0.0, 0.0)}, {"std": (1.0, 1.0, 1.0)}, {"feature_layer": "layer2"}]
)
def test_the_same_weights_seen_otherwise_start_anew(
    tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path, change: dict[str, Any]
) -> None:
    options = small_options(iterations=1)
    first = fit("ssd", tiny_backbone, images, options, tmp_path)
    card = tiny_backbone.card.model_copy(update=change)
    other = fit("ssd", Backbone(tiny_backbone.net, card), images, options, tmp_path)
    assert not same(first, other)


def test_a_finished_fit_of_another_version_is_made_again(
    tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small_options(iterations=1)
    digests = []
    for version in (fitting.VERSION, fitting.VERSION + 1):
        monkeypatch.setattr(fitting, "VERSION", version)
        fit("ssd", tiny_backbone, images, options, tmp_path)
        digests.append(json.loads((tmp_path / "fitted.json").read_text())["digest"])
    assert digests[0] != digests[1]


def test_a_loss_out_of_bounds_stops_it(tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path) -> None:
    options = small_options(iterations=20)
    options = options.model_copy(update={"ssd": options.ssd.model_copy(update={"lr": 1e30})})
    with pytest.raises(
        DivergenceError, match=r"stopped being finite by step 20 of 20 \(fitting SSD\); no state was saved"
    ):
        fit("ssd", tiny_backbone, images, options, tmp_path)
    assert not (tmp_path / "fitted.json").exists()


def test_weights_out_of_bounds_are_not_kept(
    tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path
) -> None:
    options = small_options(iterations=1)
    options = options.model_copy(update={"ssd": options.ssd.model_copy(update={"lr": 3e38})})
    with pytest.raises(DivergenceError, match=r"a weight stopped being finite by step .* \(fitting SSD\)"):
        fit("ssd", tiny_backbone, images, options, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def _distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Between all weights and statistics of two models."""
    floating = [key for key, value in b.items() if value.is_floating_point()]
    return float(torch.stack([(a[key].float() - b[key].float()).norm() for key in floating]).norm())


@pytest.mark.long
@pytest.mark.parametrize("detector", ["ssd", "faster-rcnn-c4"])
def test_bf16_fits_and_predicts_nearly_as_fp32_does(
    detector: str, tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path
) -> None:
    options = small_options()
    # Of few regions, another one drawn would weigh more than the arithmetic.
    regions = options.faster_rcnn.model_copy(update={"regions": 64})
    options = options.model_copy(update={"faster_rcnn": regions})
    half = RUNTIME.model_copy(update={"precision": "bf16"})
    ours = fitted(detector, tiny_backbone, images, options, tmp_path / "bf16", half)
    theirs = fit(detector, tiny_backbone, images, options, tmp_path / "fp32")
    assert not same(ours.state_dict(), theirs)
    if detector == "faster-rcnn-c4":
        for key, value in ours.state_dict().items():
            assert torch.allclose(value.float(), theirs[key].float(), atol=0.02, rtol=0.02), key
    start = build_detector(options.detector(detector), tiny_backbone, len(images.classes), seed=0).model
    # Of how far the steps moved the weights; single weights that hardly moved may differ by more than they did.
    assert _distance(ours.state_dict(), theirs) < 0.25 * _distance(start.state_dict(), theirs)
    some = images.subset(3)
    sure, rough = (
        predict_detector(ours, options.detector(detector), some, runtime, label="x").detections
        for runtime in (RUNTIME, half)
    )
    assert len(rough.scores) > 0
    assert np.sort(rough.scores)[-20:] == pytest.approx(np.sort(sure.scores)[-20:], abs=0.02)


def test_an_image_that_cannot_be_read_is_named(
    tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(images.paths[0].read_bytes()[:300])
    paths = [broken] * len(images)
    from dataclasses import replace

    with pytest.raises(
        InputError, match=r"cannot train on VOC2007/\d+ of voc:.*replace the image or remove it"
    ):
        fit("ssd", tiny_backbone, replace(images, paths=paths), small_options(), tmp_path / "fit")


def runner_of(
    detector: str, backbone: Backbone, images: ObjectIndex, options: DetectOptions, folder: Path
) -> Any:
    built = build_detector(options.detector(detector), backbone, len(images.classes), seed=0)
    run = FitRun(folder, {}, purpose="fitting")
    return prepare(built.model, options.detector(detector), images, RUNTIME, mean=MEAN, seed=0, fit=run)[0]


def test_the_papers_schedules(tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path) -> None:
    papers = DetectOptions(data="voc:x")
    ssd = runner_of("ssd", tiny_backbone, images, papers, tmp_path / "a")
    assert ssd._train_loop["max_iters"] == 120_000
    assert ssd._train_dataloader.batch_size == 32
    assert ssd.optim_wrapper["optimizer"] == {
        "type": "SGD",
        "lr": 1e-3,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }
    assert ssd.param_schedulers[1]["milestones"] == [80_000, 100_000]
    rcnn = runner_of("faster-rcnn-c4", tiny_backbone, images, papers, tmp_path / "b")
    assert rcnn._train_dataloader.batch_size == 8
    assert rcnn.optim_wrapper["optimizer"]["lr"] == 0.01
    assert rcnn.param_schedulers[1]["milestones"] == [100_000]
    norms = [m for m in rcnn.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    rcnn.model.train()
    assert norms
    assert not any(norm.training for norm in norms)
    scaled = papers.model_copy(update={"iterations": 600, "faster_rcnn": FasterRcnnOptions()})
    assert runner_of("ssd", tiny_backbone, images, scaled, tmp_path / "c").param_schedulers[1][
        "milestones"
    ] == [400, 500]


def test_processes_share_the_papers_batch(
    tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = DetectOptions(data="voc:x")
    for world, detector, share in ((1, "ssd", 32), (4, "ssd", 8), (4, "faster-rcnn-c4", 2)):
        monkeypatch.setenv("WORLD_SIZE", str(world))
        assert images_per_process(papers.detector(detector)) == share
    monkeypatch.setenv("WORLD_SIZE", "16")
    with pytest.raises(InputError, match="a batch of 8 images cannot be divided evenly into 16 processes"):
        runner_of("faster-rcnn-c4", tiny_backbone, images, papers, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_an_image_too_narrow_for_any_anchor_is_said_in_one_line(
    tiny_backbone: Backbone, images: ObjectIndex, tmp_path: Path
) -> None:
    options = small_options()
    wide = options.faster_rcnn.model_copy(update={"short_side": 300, "long_side": 24})
    options = options.model_copy(update={"faster_rcnn": wide})
    with pytest.raises(InputError, match=r"no anchor of Faster R-CNN C4 fits .* --faster-rcnn\.long-side 24"):
        fit("faster-rcnn-c4", tiny_backbone, images, options, tmp_path)
