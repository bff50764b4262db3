"""Fitting: deterministic, resumable at any saved state, and honest about what it loads."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import BusyError, DivergenceError, InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import exclusive
from eval_suite.data.coco import CaptionSet
from eval_suite.tasks.caption import fit as fitting
from eval_suite.tasks.caption import storage
from eval_suite.tasks.caption.corpus import make_corpus
from eval_suite.tasks.caption.fit import fit_captioner
from eval_suite.tasks.caption.model import Captioner
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.vocabulary import END, PAD
from eval_suite.training import fit_run
from tests.killing import killed_after
from tests.logs import logged

RUNTIME = RuntimeOptions(device="cpu", workers=0, batch_size=16)
MakeOptions = Callable[..., CaptionOptions]
MakeBackbone = Callable[..., Backbone]


def fit(
    backbone: Backbone,
    captions: CaptionSet,
    options: CaptionOptions,
    folder: Path,
    seed: int = 0,
    **more: Any,
) -> Captioner:
    said: list[str] = more.pop("said", [])
    runtime = RUNTIME.model_copy(update=more)
    with logged(said.append):
        return fit_captioner(backbone, captions, options, runtime=runtime, seed=seed, folder=folder)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_corpus_holds_every_caption(captions: CaptionSet, make_options: MakeOptions) -> None:
    corpus = make_corpus(captions, make_options(longest_caption=6, min_count=1))
    assert len(corpus.words) == sum(map(len, captions.captions))
    assert corpus.words.shape[1] == 7
    assert ((corpus.words == END).sum(axis=1) == 1).all()
    last = (corpus.words != PAD).sum(axis=1)
    assert (corpus.words[range(len(last)), last - 1] == END).all()
    text = corpus.vocabulary.decode(corpus.words[5].tolist())
    assert text.split()[:2] == captions.captions[corpus.image[5]][0].lower().split()[:2]


def test_a_fit_learns_and_leaves_its_parts(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path
) -> None:
    said: list[str] = []
    fit(make_backbone(), captions, make_options(epochs=30, lr=0.02), tmp_path, said=said)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert said[-1].startswith("epoch 30/30  loss ")
    description = json.loads((tmp_path / "captioner.json").read_text())
    assert description["vocabulary"][:4] == ["<pad>", "<start>", "<end>", "<unk>"]
    assert description["history"] == rows
    assert description["unreadable"] == []
    assert not (tmp_path / "state.pt").exists()
    assert all(key.startswith("decoder.") for key in weights(tmp_path))


def test_the_seed_decides_everything(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(name) + seed)
        fit(make_backbone(), captions, make_options(), tmp_path / name, seed=seed)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


@pytest.fixture
def every_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Path]]:
    """Save after every step, and keep a copy of each state."""
    kept: list[Path] = []
    save = fit_run.save_state

    def save_and_copy(path: Path, state: dict[str, Any]) -> None:
        save(path, state)
        kept.append(tmp_path / f"state-{len(kept)}.pt")
        shutil.copy(path, kept[-1])

    with monkeypatch.context() as patch:
        patch.setattr(fit_run, "save_state", save_and_copy)
        patch.setattr(fit_run.FitRun, "due", lambda _fit: True)
        yield kept


@pytest.mark.parametrize("fine_tune", [False, True])
def test_every_saved_state_leads_to_the_same_weights(
    captions: CaptionSet,
    make_backbone: MakeBackbone,
    make_options: MakeOptions,
    tmp_path: Path,
    every_state: list[Path],
    fine_tune: bool,
) -> None:
    part = captions.subset(8)
    options = make_options(fit_batch_size=16, min_count=1, fine_tune=fine_tune)
    fit(make_backbone(), part, options, tmp_path / "whole")
    states = list(every_state)
    assert len(states) == 1 + 2 * (8 * 5 // 16)
    for state in states:
        folder = tmp_path / state.stem
        folder.mkdir()
        shutil.copy(state, folder / "state.pt")
        said: list[str] = []
        fit(make_backbone(), part, options, folder, said=said)
        assert said[0].startswith("continuing after")
        assert same(weights(folder), weights(tmp_path / "whole"))
        logs = [(folder / "log.jsonl"), (tmp_path / "whole" / "log.jsonl")]
        losses = [[json.loads(line)["loss"] for line in log.read_text().splitlines()] for log in logs]
        assert losses[0] == losses[1]


def test_a_continued_fit_remembers_the_unreadable_images(
    captions: CaptionSet,
    make_backbone: MakeBackbone,
    make_options: MakeOptions,
    tmp_path: Path,
    every_state: list[Path],
) -> None:
    part = captions.subset(4)
    for file in part.files[1:]:
        target = tmp_path / "coco" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(captions.root / file, target)
    moved = replace(part, root=tmp_path / "coco")
    options = make_options(fine_tune=True, min_count=1, fit_batch_size=10, epochs=1)
    fit(make_backbone(), moved, options, tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / "captioner.json").read_text())["unreadable"] == [part.files[0]]
    (tmp_path / "ended").mkdir()
    shutil.copy(every_state[-1], tmp_path / "ended" / "state.pt")
    fitted = fit(make_backbone(), moved, options, tmp_path / "ended")
    assert fitted.unreadable == [part.files[0]]


@pytest.mark.long
def test_a_killed_fit_continues_to_the_same_weights(
    captions: CaptionSet,
    make_backbone: MakeBackbone,
    make_options: MakeOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fit_run.FitRun, "due", lambda _fit: True)
    options, folder = make_options(epochs=8), tmp_path / "killed"
    assert killed_after(6, fit, make_backbone(), captions, options, folder) == -signal.SIGKILL
    assert not (folder / "captioner.json").exists()
    said: list[str] = []
    fit(make_backbone(), captions, options, folder, said=said)
    assert said[0].startswith("continuing after")
    fit(make_backbone(), captions, options, tmp_path / "whole")
    assert same(weights(folder), weights(tmp_path / "whole"))


def test_a_finished_fit_is_loaded_not_repeated(
    captions: CaptionSet,
    make_backbone: MakeBackbone,
    make_options: MakeOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = fit(make_backbone(), captions, make_options(), tmp_path)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(fitting, "_Run", None)
    # Options of search, and whether images may be unreadable, decide nothing here.
    again = fit(make_backbone(), captions, make_options(beam=9, limit=3), tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    assert same(first.state_dict(), again.state_dict())
    assert not again.training
    assert again.vocabulary == first.vocabulary


@pytest.mark.parametrize("change", ["options", "seed", "backbone", "arch", "data", "version"])
def test_anything_that_decides_the_fit_makes_another(
    captions: CaptionSet,
    make_backbone: MakeBackbone,
    make_options: MakeOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    def digest() -> str:
        return json.loads((tmp_path / "captioner.json").read_text())["digest"]

    fit(make_backbone(), captions, make_options(epochs=1), tmp_path)
    before = digest()
    backbone = make_backbone(1 if change == "backbone" else 0)
    if change == "arch":
        backbone.card = backbone.card.model_copy(update={"arch": "another_of_the_same_layers"})
    if change == "version":
        monkeypatch.setattr(storage, "VERSION", storage.VERSION + 1)
    fit(
        backbone,
        captions.subset(5) if change == "data" else captions,
        make_options(epochs=1, lr=0.02 if change == "options" else 1e-3),
        tmp_path,
        seed=1 if change == "seed" else 0,
    )
    assert digest() != before


@pytest.mark.parametrize("content", ["", "[]", '{"digest": 1}'])
def test_a_damaged_description_means_fitting_again(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path, content: str
) -> None:
    fit(make_backbone(), captions, make_options(epochs=1), tmp_path)
    before = weights(tmp_path)
    (tmp_path / "captioner.json").write_text(content)
    fit(make_backbone(), captions, make_options(epochs=1), tmp_path)
    assert same(weights(tmp_path), before)
    assert len(json.loads((tmp_path / "captioner.json").read_text())["digest"]) == 64


def test_an_unfinished_fit_of_other_options_is_not_continued(
    captions: CaptionSet,
    make_backbone: MakeBackbone,
    make_options: MakeOptions,
    tmp_path: Path,
    every_state: list[Path],
) -> None:
    fit(make_backbone(), captions, make_options(epochs=1), tmp_path / "other")
    (tmp_path / "mine").mkdir()
    shutil.copy(every_state[1], tmp_path / "mine" / "state.pt")
    said: list[str] = []
    fit(make_backbone(), captions, make_options(lr=0.02, epochs=1), tmp_path / "mine", said=said)
    assert "had other options or data: starting again" in said[0]


def test_fine_tuning_moves_the_backbone_and_keeps_its_statistics(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path
) -> None:
    options = make_options(fine_tune=True, epochs=1)
    before = make_backbone().state_dict()
    fitted = fit(make_backbone(), captions.subset(8), options, tmp_path)
    after = fitted.backbone.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert any(key.endswith("weight") for key in moved)
    assert not any("running" in key or "num_batches" in key for key in moved)
    # A later run gets the fitted backbone from the folder, not the one it brings.
    again = fit(make_backbone(), captions.subset(8), options, tmp_path)
    assert same(again.state_dict(), fitted.state_dict())


@pytest.mark.parametrize("fine_tune", [False, True])
def test_bf16_is_honoured(
    captions: CaptionSet,
    make_backbone: MakeBackbone,
    make_options: MakeOptions,
    tmp_path: Path,
    fine_tune: bool,
) -> None:
    options = make_options(fine_tune=fine_tune, epochs=1)
    for precision in ("fp32", "bf16"):
        fit(make_backbone(), captions.subset(8), options, tmp_path / precision, precision=precision)
    single, half = weights(tmp_path / "fp32"), weights(tmp_path / "bf16")
    assert single.keys() == half.keys()
    assert not same(single, half)
    assert all(bool(value.isfinite().all()) for value in half.values())
    # The arithmetic differs, not what is kept.
    assert all(value.dtype == single[key].dtype for key, value in half.items())
    decoder = [key for key in single if key.startswith("decoder.") and "running" not in key]
    assert all(torch.allclose(single[key].float(), half[key].float(), atol=0.05) for key in decoder)


def test_frozen_features_leave_the_backbone_alone(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path
) -> None:
    fitted = fit(make_backbone(), captions, make_options(epochs=1), tmp_path)
    assert same(make_backbone().state_dict(), fitted.backbone.state_dict())


def test_a_loss_that_stops_being_finite_is_told(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path
) -> None:
    with pytest.raises(
        DivergenceError, match=r"stopped being finite in epoch \d+ of the caption decoder .* lower --lr"
    ):
        fit(make_backbone(), captions, make_options(lr=1e30), tmp_path)
    assert not (tmp_path / "captioner.json").exists()


def test_a_folder_is_fitted_in_by_one_run_at_a_time(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path
) -> None:
    with exclusive(tmp_path, "fitting captions"), pytest.raises(BusyError, match="already fitting captions"):
        fit(make_backbone(), captions, make_options(), tmp_path)


def test_too_few_captions_and_a_damaged_state(
    captions: CaptionSet, make_backbone: MakeBackbone, make_options: MakeOptions, tmp_path: Path
) -> None:
    one = captions.subset(1)
    alone = type(one)(**{**vars(one), "captions": [["a dog"]]})
    with pytest.raises(InputError, match="two training captions of readable images or more, found fewer"):
        fit(make_backbone(), alone, make_options(min_count=1), tmp_path / "few")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "state.pt").write_bytes(b"no state")
    with pytest.raises(InputError, match=r"state\.pt.*; remove that file"):
        fit(make_backbone(), captions, make_options(), tmp_path / "broken")
