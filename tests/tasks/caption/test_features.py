"""Features computed once, and never another backbone's or another set's."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.coco import CaptionSet
from eval_suite.data.sizing import EvaluationTransform
from eval_suite.tasks.caption import features
from eval_suite.tasks.caption.features import cached_features
from eval_suite.tasks.caption.model import pooled_features

RUNTIME = RuntimeOptions(device="cpu", workers=0, batch_size=4)


@pytest.fixture
def few(captions: CaptionSet, tmp_path: Path) -> CaptionSet:
    """Seven images in a folder of their own."""
    part = captions.subset(7)
    for file in part.files:
        target = tmp_path / "coco" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(captions.root / file, target)
    return replace(part, root=tmp_path / "coco")


def test_the_features_are_the_maps_mean(
    few: CaptionSet, make_backbone: Callable[..., Backbone], tmp_path: Path
) -> None:
    backbone = make_backbone()
    found = cached_features(backbone, few, RUNTIME, tmp_path, strict=False)
    assert isinstance(found.values, np.memmap)
    assert found.positions.tolist() == list(range(7))
    assert found.failed == []
    prepare = EvaluationTransform((64, 64), backbone.card.crop_fraction, backbone.card.interpolation)
    for file, values in zip(few.files, found.values, strict=True):
        with Image.open(few.root / file) as image:
            pixels = torch.from_numpy(np.asarray(prepare.apply(image)).copy()).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            expected = pooled_features(backbone, pixels)[0]
        assert torch.allclose(torch.from_numpy(values.copy()), expected, atol=1e-5)


def test_they_are_computed_once(
    few: CaptionSet, make_backbone: Callable[..., Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_features(make_backbone(), few, RUNTIME, tmp_path, strict=False)

    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(features, "pooled_features", never)
    again = cached_features(make_backbone(), few, RUNTIME, tmp_path, strict=False)
    assert np.array_equal(first.values, again.values)
    for other in (
        lambda: cached_features(make_backbone(1), few, RUNTIME, tmp_path, strict=False),
        lambda: cached_features(make_backbone(), few.subset(6), RUNTIME, tmp_path, strict=False),
        lambda: cached_features(
            make_backbone(), few, RUNTIME.model_copy(update={"precision": "bf16"}), tmp_path, strict=False
        ),
    ):
        with pytest.raises(AssertionError, match="computed again"):
            other()
        # What was interrupted leaves no description that could stand beside the wrong file.
        assert not (tmp_path / "features.json").exists()
        monkeypatch.undo()
        cached_features(make_backbone(), few, RUNTIME, tmp_path, strict=False)
        monkeypatch.setattr(features, "pooled_features", never)


def test_unreadable_images_are_left_out_and_named(
    few: CaptionSet,
    make_backbone: Callable[..., Backbone],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = np.array(cached_features(make_backbone(), few, RUNTIME, tmp_path / "whole", strict=False).values)
    (few.root / few.files[2]).write_bytes(b"no image")
    (few.root / few.files[5]).unlink()
    found = cached_features(make_backbone(), few, RUNTIME, tmp_path, strict=False)
    assert found.positions.tolist() == [0, 1, 3, 4, 6]
    assert found.failed == [few.files[2], few.files[5]]
    assert np.allclose(found.values, whole[found.positions], atol=1e-6)
    assert "2 of 7 images cannot be read" in capsys.readouterr().err
    with pytest.raises(InputError, match="drop --strict"):
        cached_features(make_backbone(), few, RUNTIME, tmp_path, strict=True)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_description_is_as_none(
    few: CaptionSet, make_backbone: Callable[..., Backbone], tmp_path: Path, content: str
) -> None:
    first = cached_features(make_backbone(), few, RUNTIME, tmp_path, strict=False)
    (tmp_path / "features.json").write_text(content)
    again = cached_features(make_backbone(), few, RUNTIME, tmp_path, strict=False)
    assert np.array_equal(first.values, again.values)
    assert json.loads((tmp_path / "features.json").read_text())["positions"] == list(range(7))
