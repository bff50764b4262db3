"""Fitting the decoder: deterministic in (options, seed), resumable at any moment."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import load_state, save_state, state_sha256
from eval_suite.backbones.inference import autocast
from eval_suite.core.errors import DivergenceError
from eval_suite.core.runtime import RuntimeOptions, derive_seed
from eval_suite.core.store import atomic_write, exclusive
from eval_suite.data.coco import CaptionSet, open_captions
from eval_suite.tasks.base import Fit
from eval_suite.tasks.caption.corpus import (
    Corpus,
    FeatureBatches,
    FitBatch,
    FitBatches,
    PictureBatches,
    make_corpus,
)
from eval_suite.tasks.caption.features import cached_features
from eval_suite.tasks.caption.model import Captioner, pooled_features
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.splits import data_info, resolved, say, warn_of
from eval_suite.tasks.caption.storage import (
    fit_digest,
    fitted_weights,
    load_captioner,
    new_captioner,
    save_captioner,
    set_weights,
)

_INITIALISATION, _STEP = 0xCA9702, 0xCA9703
_SAVE_SECONDS = 60.0


class Row(NamedTuple):
    """One line of ``log.jsonl``: one epoch, counted from 1, with its mean loss per caption batch in nats a word."""

    epoch: int
    loss: float
    seconds: float


def fit(backbone: Backbone, options: CaptionOptions, runtime: RuntimeOptions, seed: int, folder: Path) -> Fit:
    """Fit the decoder to the captions of the training split, or load it where that was done before."""
    captions = open_captions(options.data, resolved(options).train_split)
    warn_of(captions)
    captioner = fit_captioner(
        backbone, captions, options, runtime=runtime, seed=seed, folder=folder, report=say
    )
    backbone.card.fitted_sha256["captioner"] = state_sha256(fitted_weights(captioner, options))
    return Fit(captioner, data_info(captions, captions, captioner.unreadable))


def fit_captioner(
    backbone: Backbone,
    captions: CaptionSet,
    options: CaptionOptions,
    *,
    runtime: RuntimeOptions,
    seed: int,
    folder: Path,
    report: Callable[[str], None] = print,
) -> Captioner:
    """Fit a decoder to a backbone's features, or continue where a stopped fit left off, or load a finished one.

    Leaves ``model.safetensors``, ``captioner.json`` (vocabulary, what it was fitted to, history) and ``log.jsonl``
    in the folder. While it runs, ``state.pt`` there holds the last good state, saved once a minute; a fit started
    again ends with the weights an uninterrupted one would have, bit for bit on a CPU with the same number of threads.

    Args:
        backbone: loaded; with ``fine_tune`` it is trained too.
        captions: the training split.
        options: decides the fit.
        runtime: device, workers, precision of the backbone; the decoder computes in fp32, as when it captions.
        seed: decides initialisation, order and every random draw.
        folder: where the fitted parts go.
        report: receives lines of progress.

    Raises:
        DivergenceError: if the loss or a weight stops being finite; the last good state stays.
        BusyError: if another run fits in the same folder.
        InputError: if the captions cannot be fitted to.
    """
    device = runtime.resolve_device()
    with exclusive(folder, "fitting captions"):
        digest = fit_digest(backbone, captions, options, runtime, seed)
        done = load_captioner(folder, digest, backbone, options)
        if done is not None:
            return done.to(device).eval()
        corpus = make_corpus(captions, options)
        run = _Run(backbone, captions, corpus, options, runtime, device, seed, folder, digest, report)
        return run.run()


class _Run:
    """One fit. What `_save` writes is all that options and seed do not already decide."""

    def __init__(
        self,
        backbone: Backbone,
        captions: CaptionSet,
        corpus: Corpus,
        options: CaptionOptions,
        runtime: RuntimeOptions,
        device: torch.device,
        seed: int,
        folder: Path,
        digest: str,
        report: Callable[[str], None],
    ) -> None:
        self.options, self.seed, self.folder, self.digest, self.report = options, seed, folder, digest, report
        self.device, self.precision = device, runtime.precision
        self.batches: FitBatches
        if options.fine_tune:
            self.features = _feature_length(backbone)
            self.batches = PictureBatches(
                corpus,
                captions,
                size=backbone.card.input_size,
                batch_size=options.fit_batch_size,
                seed=seed,
                device=device,
                workers=runtime.workers,
                strict=options.strict,
            )
        else:
            found = cached_features(backbone, captions, runtime, folder, strict=options.strict)
            self.features = found.values.shape[1]
            self.batches = FeatureBatches(
                corpus, found, batch_size=options.fit_batch_size, seed=seed, device=device
            )
        torch.manual_seed(derive_seed(seed, 0, 0, _INITIALISATION))
        self.captioner = new_captioner(backbone, corpus.vocabulary, self.features, options).to(device)
        groups: list[dict[str, Any]] = [
            {"params": list(self.captioner.decoder.parameters()), "lr": options.lr}
        ]
        if options.fine_tune:
            groups.append({"params": list(backbone.parameters()), "lr": options.fine_tune_lr})
        self.optimizer = torch.optim.Adam(groups)
        self.rows: list[Row] = []
        self.met_unreadable: list[str] = []
        self.epoch, self.step, self.loss_sum, self.seconds = 0, 0, 0.0, 0.0

    def run(self) -> Captioner:
        if not self._resume():
            self._save()
        # The backbone stays in evaluation mode, also where it is trained: batches are too small for its statistics.
        self.captioner.eval()
        self.captioner.decoder.train()
        begin = saved = shown = time.monotonic()
        while self.epoch < self.options.epochs:
            total = torch.tensor(self.loss_sum, dtype=torch.float64, device=self.device)
            for batch in self.batches.epoch(self.epoch, self.step):
                total += self._train_step(batch).double()
                self.step += 1
                now = time.monotonic()
                if now - saved > _SAVE_SECONDS:
                    self.loss_sum, self.seconds = float(total), self.seconds + now - begin
                    self._save()
                    begin = saved = now
            self.loss_sum = float(total)
            begin, shown = self._end_epoch(begin, shown)
        self._require_good()
        self._write_result()
        return self.captioner.eval()

    def _train_step(self, batch: FitBatch) -> Tensor:
        # Seeding every step by its place lets a resumed fit drop what the uninterrupted one would have dropped.
        torch.manual_seed(derive_seed(self.seed, self.epoch, self.step, _STEP))
        features = batch.pictures
        if self.options.fine_tune:
            with autocast(self.device, self.precision):
                features = pooled_features(self.captioner.backbone, batch.pictures)
        loss = self.captioner.decoder.loss(features, batch.words)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _end_epoch(self, begin: float, shown: float) -> tuple[float, float]:
        now = time.monotonic()
        row = Row(
            epoch=self.epoch + 1,
            loss=self.loss_sum / self.batches.steps_per_epoch,
            seconds=round(self.seconds + now - begin, 3),
        )
        if not math.isfinite(row.loss):
            raise self._diverged("the loss")
        self.rows.append(row)
        self.epoch, self.step, self.loss_sum, self.seconds = self.epoch + 1, 0, 0.0, 0.0
        if now - shown > 5 or self.epoch == self.options.epochs:
            shown = now
            self.report(f"epoch {row.epoch}/{self.options.epochs}  loss {row.loss:.3f} nats a word")
        return now, shown

    def _require_good(self) -> None:
        """Before anything is kept: a finite loss can still be followed by a step to infinity."""
        if not math.isfinite(self.loss_sum):
            raise self._diverged("the loss")
        if not all(bool(value.isfinite().all()) for value in self._weights().values()):
            raise self._diverged("a weight")

    def _diverged(self, what: str) -> DivergenceError:
        return DivergenceError(
            f"{what} of the caption decoder stopped being finite in epoch {self.epoch + 1} (lr {self.options.lr:g}); "
            f"the last good state is kept in {self.folder}; lower --lr, or check the backbone's features"
        )

    def _weights(self) -> dict[str, Tensor]:
        return fitted_weights(self.captioner, self.options)

    def _unreadable(self) -> list[str]:
        """Each once, whatever the number of its captions; with those that a stopped fit had met before."""
        return sorted({*self.met_unreadable, *self.batches.failed})

    def _save(self) -> None:
        self._require_good()
        state = {
            "digest": self.digest,
            "weights": self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "unreadable": self._unreadable(),
            "rows": [tuple(row) for row in self.rows],
        }
        save_state(self.folder / "state.pt", state)
        self._write_log()

    def _resume(self) -> bool:
        state = load_state(self.folder / "state.pt")
        if state is None:
            return False
        if state["digest"] != self.digest:
            self.report(f"the unfinished fit in {self.folder} had other options or data: starting again")
            return False
        set_weights(self.captioner, state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.loss_sum, self.seconds = state["loss_sum"], state["seconds"]
        self.rows = [Row(*row) for row in state["rows"]]
        self.met_unreadable = state.get("unreadable", [])
        self.report(f"continuing after {self.epoch} epochs and {self.step} steps")
        return True

    def _write_log(self) -> None:
        with atomic_write(self.folder / "log.jsonl") as stream:
            stream.writelines(json.dumps(row._asdict(), allow_nan=False) + "\n" for row in self.rows)

    def _write_result(self) -> None:
        self._write_log()
        description = {
            "digest": self.digest,
            "features": self.features,
            "options": self.options.deciding_fit(),
            "seed": self.seed,
            "history": [row._asdict() for row in self.rows],
        }
        self.captioner.unreadable = self._unreadable()
        save_captioner(self.folder, self.captioner, self.options, description)
        (self.folder / "state.pt").unlink(missing_ok=True)


def _feature_length(backbone: Backbone) -> int:
    height, width = backbone.card.input_size
    device = next(backbone.parameters()).device
    with torch.inference_mode():
        return pooled_features(backbone, torch.zeros(1, 3, height, width, device=device)).shape[1]
