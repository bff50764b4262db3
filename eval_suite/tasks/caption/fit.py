"""Fitting the decoder: deterministic in (options, seed), resumable at any moment."""

import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.inference import autocast
from eval_suite.core.runtime import RuntimeOptions, derive_seed
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
from eval_suite.tasks.caption.splits import data_info, resolved, warn_of
from eval_suite.tasks.caption.storage import (
    captioner_from,
    fit_digest,
    fitted_weights,
    new_captioner,
    set_weights,
)
from eval_suite.training.fit_run import FitRun

_INITIALISATION, _STEP = 0xCA9702, 0xCA9703

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One line of ``log.jsonl``: one epoch, counted from 1, with its mean loss per caption batch in nats a word."""

    epoch: int
    loss: float
    seconds: float


def fit(backbone: Backbone, options: CaptionOptions, runtime: RuntimeOptions, seed: int, folder: Path) -> Fit:
    """Fit the decoder to the captions of the training split, or load it where that was done before."""
    captions = open_captions(options.data, resolved(options).train_split)
    warn_of(captions)
    captioner = fit_captioner(backbone, captions, options, runtime=runtime, seed=seed, folder=folder)
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

    Raises:
        DivergenceError: if the loss or a weight stops being finite; the last good state stays.
        BusyError: if another run fits in the same folder.
        InputError: if the captions cannot be fitted to.
    """
    device = runtime.resolve_device()
    digest = fit_digest(backbone, captions, options, runtime, seed)
    with FitRun(
        folder, {"digest": digest}, purpose="fitting captions", description="captioner.json"
    ).held() as run:
        done = run.finished()
        if done is not None:
            return captioner_from(done, folder, backbone, options).to(device).eval()
        corpus = make_corpus(captions, options)
        return _Run(backbone, captions, corpus, options, runtime, device, seed, run, digest).run()


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
        fit: FitRun,
        digest: str,
    ) -> None:
        self.options, self.seed, self.fit, self.digest = options, seed, fit, digest
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
            found = cached_features(backbone, captions, runtime, fit.folder, strict=options.strict)
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
        begin = shown = time.monotonic()
        while self.epoch < self.options.epochs:
            total = torch.tensor(self.loss_sum, dtype=torch.float64, device=self.device)
            for batch in self.batches.epoch(self.epoch, self.step):
                total += self._train_step(batch).double()
                self.step += 1
                if self.fit.due():
                    now = time.monotonic()
                    self.loss_sum, self.seconds = float(total), self.seconds + now - begin
                    self._save()
                    begin = now
            self.loss_sum = float(total)
            begin, shown = self._end_epoch(begin, shown)
        self._require_good(self.loss_sum)
        self._finish()
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
        self._require_good(row.loss, weights=False)
        self.rows.append(row)
        self.epoch, self.step, self.loss_sum, self.seconds = self.epoch + 1, 0, 0.0, 0.0
        if now - shown > 5 or self.epoch == self.options.epochs:
            shown = now
            log.info(f"epoch {row.epoch}/{self.options.epochs}  loss {row.loss:.3f} nats a word")
        return now, shown

    def _require_good(self, loss: float, *, weights: bool = True) -> None:
        self.fit.require_good(
            loss,
            self._weights() if weights else None,
            where=f"in epoch {self.epoch + 1} of the caption decoder (lr {self.options.lr:g})",
            remedy="lower --lr, or check the backbone's features",
        )

    def _weights(self) -> dict[str, Tensor]:
        return fitted_weights(self.captioner, self.options)

    def _unreadable(self) -> list[str]:
        """Each once, whatever the number of its captions; with those that a stopped fit had met before."""
        return sorted({*self.met_unreadable, *self.batches.failed})

    def _save(self) -> None:
        self._require_good(self.loss_sum)
        state = {
            "weights": self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "unreadable": self._unreadable(),
            "rows": [tuple(row) for row in self.rows],
        }
        self.fit.save(state, self.rows)

    def _resume(self) -> bool:
        state = self.fit.state()
        if state is None:
            return False
        with self.fit.resuming():
            set_weights(self.captioner, state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.step = state["epoch"], state["step"]
            self.loss_sum, self.seconds = state["loss_sum"], state["seconds"]
            self.rows = [Row(*row) for row in state["rows"]]
            self.met_unreadable = state.get("unreadable", [])
        log.info(f"continuing after {self.epoch} epochs and {self.step} steps")
        return True

    def _finish(self) -> None:
        self.captioner.unreadable = self._unreadable()
        description = {
            "digest": self.digest,
            "features": self.features,
            "options": self.options.deciding_fit(),
            "seed": self.seed,
            "history": [row._asdict() for row in self.rows],
            "unreadable": self.captioner.unreadable,
            "vocabulary": list(self.captioner.vocabulary.words),
        }
        self.fit.finish(self._weights(), description, self.rows)


def _feature_length(backbone: Backbone) -> int:
    height, width = backbone.card.input_size
    device = next(backbone.parameters()).device
    with torch.inference_mode():
        return pooled_features(backbone, torch.zeros(1, 3, height, width, device=device)).shape[1]
