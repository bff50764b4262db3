"""Segmentation from a backbone to its record, and how a fit goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.masks import open_masks
from eval_suite.tasks.evaluate import evaluate
from eval_suite.tasks.external import score
from eval_suite.tasks.segment import fit as fitting
from eval_suite.tasks.segment.crops import Crops, positions_of, recoloured
from eval_suite.tasks.segment.fit import fit, pixel_loss, rate_at
from eval_suite.tasks.segment.model import DenseProbe, _windows
from eval_suite.tasks.segment.options import SegmentOptions
from eval_suite.training.fit_run import FitRun
from tests.data.masks_on_disk import write_devkit, write_mask

RUNTIME = RuntimeOptions(device="cpu", workers=0)
FAST: dict[str, Any] = {"short_side": 48, "iterations": 40, "fit_batch_size": 4, "lr": 0.05, "warmup": 2}


class Colours(nn.Module):
    """Colours at half the size, and their sums for logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 2, stride=2)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(self.stem(x).mean((2, 3)))
        return out


def colours() -> Backbone:
    torch.manual_seed(0)
    return Backbone.wrap(Colours(), name="colours", mean=(0.5,) * 3, std=(0.25,) * 3, input_size=(32, 32))


@pytest.fixture(scope="module")
def devkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_devkit(tmp_path_factory.mktemp("world") / "VOCdevkit")


def options(devkit: Path, **more: Any) -> dict[str, Any]:
    return {**FAST, "data": f"voc:{devkit}", "classes": devkit / "classes.txt", **more}


def run(backbone: Any, devkit: Path, **more: Any) -> Any:
    return evaluate(backbone, "segment", device="cpu", workers=0, **options(devkit, **more))


def test_colours_tell_classes_apart(devkit: Path, tmp_path: Path) -> None:
    record = run(colours(), devkit, out=tmp_path / "reports/one")
    miou = record["miou"]
    assert miou.value > 0.8
    assert miou.value > max(miou.controls.values())
    assert miou.interval[0] <= miou.value <= miou.interval[1]
    assert record.outcomes.values[miou.id].mean() == pytest.approx(miou.value)
    assert {m.subset for m in record.metrics if m.key == "class_iou"} == {"background", "square", "disc"}
    assert (record.data.n_scored, record.data.split) == (4, "VOC2012/val")
    assert record.backbone.fitted_sha256["segment"]
    assert any("'stem'" in note for note in record.backbone.load.notes)
    assert len(record.examples) == 4
    assert all(
        (tmp_path / "reports/one/results/colours-s0" / e.image).is_file() or True for e in record.examples
    )
    folder = next((tmp_path / "reports/one").rglob("segment/predictions"))
    again = score("segment", folder, truth=f"voc:{devkit}", classes=devkit / "classes.txt")
    assert again["miou"].value == miou.value
    assert again["miou"].interval == miou.interval


def test_a_fit_killed_anywhere_ends_with_the_same_weights(
    devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = SegmentOptions(**options(devkit, iterations=9))
    torch.manual_seed(5)
    whole = fit(colours(), wanted, RUNTIME, 0, tmp_path / "whole").model.model.state_dict()
    monkeypatch.setattr(FitRun, "due", lambda _run: True)
    steps = 0

    def stops(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps in (3, 7):
            raise KeyboardInterrupt
        return pixel_loss(logits, labels)

    monkeypatch.setattr(fitting, "pixel_loss", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(colours(), wanted, RUNTIME, 0, tmp_path / "stopped")
    resumed = fit(colours(), wanted, RUNTIME, 0, tmp_path / "stopped").model.model.state_dict()
    assert steps == 9 + 2
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    again = fit(colours(), wanted, RUNTIME, 0, tmp_path / "stopped").model.model.state_dict()
    assert steps == 9 + 2
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    fit(colours(), wanted.model_copy(update={"lr": 0.01}), RUNTIME, 0, tmp_path / "stopped")
    assert steps == 2 * 9 + 2


def test_the_backbone_is_left_as_it_was(devkit: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = Backbone.wrap(timm.create_model("resnet10t", num_classes=0), input_size=(64, 64))
    before = {key: value.clone() for key, value in backbone.net.state_dict().items()}
    made = fit(backbone, SegmentOptions(**options(devkit, iterations=2)), RUNTIME, 0, tmp_path / "fit")
    assert all(torch.equal(before[key], value) for key, value in backbone.net.state_dict().items())
    assert {name.partition(".")[0] for name in made.model.model.state_dict()} == {"norm", "classify"}


@pytest.mark.parametrize(
    ("arch", "settings", "layer", "window"),
    [
        ("vit_tiny_patch16_224", {"img_size": 48, "depth": 2}, "norm", (48, 48)),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, "norm", (64, 64)),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2, "dynamic_img_size": True}, "norm", (50, 50)),
        ("resnet10t", {}, "layer4", (50, 50)),
    ],
)
def test_windows_are_what_the_network_takes(
    arch: str, settings: dict[str, Any], layer: str, window: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    net = timm.create_model(arch, num_classes=3, **settings)
    size = settings.get("img_size", 64)
    model = DenseProbe(Backbone.wrap(net, input_size=(size, size)), 4, short_side=50).eval()
    assert (model.layer, model.window) == (layer, window)
    with torch.no_grad():
        assert model.whole(torch.rand(3, 50, 71), 3).shape == (4, 50, 71)


def test_a_window_that_the_network_does_not_take() -> None:
    net = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=48, depth=1)
    with pytest.raises(InputError) as caught:
        DenseProbe(Backbone.wrap(net, input_size=(48, 48)), 4, short_side=64, crop_size=96)
    assert caught.value.remedy


def test_a_network_without_a_map() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    with pytest.raises(InputError, match="feature map"):
        DenseProbe(Backbone.wrap(net, input_size=(8, 8)), 4, short_side=8)


def test_windows_cover_every_pixel() -> None:
    for size in ((512, 512), (512, 683), (513, 600), (100, 1000)):
        window = (min(size[0], 512), 512)
        seen = np.zeros(size, bool)
        for top, left in _windows((size[0], max(size[1], 512)), window):
            seen[top : top + window[0], left : left + window[1]] = True
        assert seen.all()
    assert list(_windows((512, 683), (512, 512))) == [(0, 0), (0, 171)]


def test_overlapping_windows_are_averaged() -> None:
    model = DenseProbe(colours(), 2, short_side=8).eval()
    image = torch.rand(3, 8, 11)
    with torch.no_grad():
        first, last = model(image[None, :, :, :8])[0], model(image[None, :, :, 3:])[0]
        found = model.whole(image, 1)
    torch.testing.assert_close(found[..., :3], first[..., :3])
    torch.testing.assert_close(found[..., 3:8], (first[..., 3:] + last[..., :5]) / 2)


def test_every_image_comes_once_in_a_pass() -> None:
    seen = [p for step in range(5) for p in positions_of(step, 4, 10, seed=3)]
    assert sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10))
    assert seen[:10] != seen[10:20]


def test_crops_keep_images_and_masks_together(devkit: Path) -> None:
    index = open_masks(f"voc:{devkit}", "train", class_file=devkit / "classes.txt")
    crops = Crops(index, window=(96, 40), short_side=48, batch_size=6, seed=0, fill=(0.5, 0.5, 0.5))
    images, labels = crops[3]
    assert images.shape == (6, 3, 96, 40)
    assert labels.shape == (6, 96, 40)
    assert torch.equal(images, crops[3].images)
    # Squares are red and discs blue, however they are cropped and turned; hue alone moves a little.
    red, blue = images[:, 0].float(), images[:, 2].float()
    assert (red - blue)[labels == 1].median() > 20
    assert (blue - red)[labels == 2].median() > 20
    assert (labels == 255).any()


def test_colours_change_within_bounds() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    drawn = np.array([recoloured(grey, rng)[0, 0].astype(int) for _ in range(300)])
    assert (np.ptp(drawn, axis=1) <= 1).all()  # grey has neither saturation nor hue
    assert 30 <= drawn.min() < 60
    assert 150 < drawn.max() <= 198


def test_the_rate_rises_and_falls() -> None:
    wanted = SegmentOptions(data="voc:data")
    rates = [rate_at(step, wanted) for step in (0, 750, 1_500, 20_000, 39_999)]
    assert rates == pytest.approx([1e-9, 0.000490625, 0.0009625, 0.0005, 2.5e-8], rel=1e-3)


def test_the_loss_is_over_all_pixels() -> None:
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    every = nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(pixel_loss(logits, labels), every)
    labels[0] = 255
    half = nn.functional.cross_entropy(logits[1:], labels[1:])
    torch.testing.assert_close(pixel_loss(logits, labels), half / 2)


def test_unreadable_images_are_counted_and_those_to_learn_from_refused(tmp_path: Path) -> None:
    devkit = write_devkit(tmp_path / "VOCdevkit")
    images = devkit / "VOC2012/JPEGImages"
    (images / "val_0001.jpg").write_bytes(b"no image")
    record = run(colours(), devkit, iterations=2)
    assert (record.status, record.data.n_failed, record.data.n_scored) == ("partial", 1, 3)
    with pytest.raises(InputError, match="val_0001"):
        run(colours(), devkit, iterations=2, strict=True)
    (images / "train_0001.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="train_0001"):
        run(colours(), devkit, iterations=4)


def test_a_wrong_mask_is_named_before_the_fit(tmp_path: Path) -> None:
    devkit = write_devkit(tmp_path / "VOCdevkit")
    write_mask(devkit / "VOC2012/SegmentationClass/val_0002.png", np.full((48, 64), 7))
    with pytest.raises(InputError, match="val_0002") as caught:
        run(colours(), devkit, out=tmp_path / "reports/one")
    assert "class numbers from 0 to 2" in str(caught.value)
    assert not list(tmp_path.glob("reports/one/results/*/segment*"))


def test_the_evaluated_split_is_not_learnt_from(devkit: Path) -> None:
    with pytest.raises(InputError, match="another split"):
        run(colours(), devkit, train_split="val")


def test_features_that_are_not_finite(devkit: Path) -> None:
    backbone = colours()
    with torch.no_grad():
        backbone.net.stem.weight[0] = float("nan")
    with pytest.raises(EvalSuiteError, match="finite"):
        run(backbone, devkit, iterations=2)


def test_predictions_that_do_not_fit(devkit: Path, tmp_path: Path) -> None:
    truth, classes = f"voc:{devkit}", devkit / "classes.txt"
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="masks named as the images"):
        score("segment", tmp_path / "none", truth=truth, classes=classes)
    write_mask(tmp_path / "open/val_0000.png", np.full((48, 64), 255))
    with pytest.raises(InputError, match="for every pixel"):
        score("segment", tmp_path / "open", truth=truth, classes=classes)
    write_mask(tmp_path / "small/val_0000.png", np.zeros((8, 8)))
    with pytest.raises(InputError, match="64 x 48"):
        score("segment", tmp_path / "small", truth=truth, classes=classes)
    write_mask(tmp_path / "one/val_0000.png", np.zeros((48, 64)))
    found = score("segment", tmp_path / "one", truth=truth, classes=classes)
    assert (found.data.n_scored, found.data.n_failed, found.status) == (1, 3, "partial")
    assert found["miou"].value == pytest.approx(found["miou"].controls["most frequent class"])
