"""The training loop: deterministic in (recipe, seed), resumable at any moment."""

import logging
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.inference import predict_logits
from eval_suite.core.cards import BackboneCard
from eval_suite.core.runtime import RuntimeOptions, first_process, ordinary_arithmetic
from eval_suite.core.statistics import topk_correct
from eval_suite.core.store import read_finished
from eval_suite.data.images import open_images
from eval_suite.training.batch_norm import require_varying_values
from eval_suite.training.cost import forget_peak, peak_memory, processor_of
from eval_suite.training.distributed import pad_batch, share_buffers
from eval_suite.training.fit_run import FitRun
from eval_suite.training.history import Row, best_row
from eval_suite.training.objective import TrainInit
from eval_suite.training.preparation import (
    digest_of,
    initial_state,
    training_data,
)
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Shard
from eval_suite.training.replacing import images_now, require_no_other_backbone
from eval_suite.training.step import TrainStep, accelerator_on
from eval_suite.training.tracking import Tracking, require_trackers

log = logging.getLogger(__name__)

_CHECK_EVERY_STEPS = 50
_INITIAL_SHARE = 0.01  # of the initial weights in the final average, above which their average is warned of


class Trained(NamedTuple):
    """What training left, and whether it had to do anything."""

    card: BackboneCard
    folder: Path
    already_done: bool


@ordinary_arithmetic()
def train(
    recipe: Recipe,
    *,
    name: str,
    seed: int,
    folder: Path,
    runtime: RuntimeOptions,
    strict: bool = False,
    start: TrainInit | None = None,
    overwrite: bool = False,
) -> Trained:
    """Train a backbone, or continue where a stopped run left off.

    Leaves ``model.safetensors``, ``card.json`` and ``log.jsonl`` in the folder. While it runs, ``state.pt`` there
    holds the last good state; a run started again continues from it and ends with the weights an uninterrupted run
    would have, bit for bit on a CPU with the same number of threads.

    Args:
        recipe: how to train.
        name: the backbone's name.
        seed: decides initialisation, order and every random draw.
        folder: where the checkpoint goes.
        runtime: device, workers and threads; the recipe decides precision and batch size of training.
        strict: stop at the first unreadable image.
        start: what to train instead of the recipe's architecture at its initialisation; the work of another such start in
            the folder is replaced.
        overwrite: replace a backbone that another recipe has trained in the folder.

    Raises:
        DivergenceError: if the loss stops being finite; the last good state stays.
        BusyError: if another run trains in the same folder.
        InputError: if data, architecture or recipe do not fit together, or the folder holds another recipe's backbone.
    """
    device = runtime.resolve_device()
    digest, data = digest_of(recipe, start), images_now(recipe)
    fit = FitRun(
        folder,
        {"digest": digest, "seed": seed, "data_sha256": data},
        purpose="training",
        description="card.json",
        save_interval=recipe.save_interval,
    )
    with fit.held():
        done = read_finished(folder, digest, seed)
        learnt_from = ((done and done.training) or {}).get("data_sha256")
        if done is not None and (data is None or learnt_from in (None, data)):
            return Trained(done, folder, already_done=True)
        if start is None and not overwrite:
            require_no_other_backbone(recipe, seed, folder, changed=done is not None)
        return _Run(recipe, name, seed, fit, runtime, device, strict, start, digest).run()


class _Run:
    """One training run. What `_save` writes is all that the recipe and the seed do not already decide."""

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        seed: int,
        fit: FitRun,
        runtime: RuntimeOptions,
        device: torch.device,
        strict: bool,
        start: TrainInit | None,
        digest: str,
    ) -> None:
        self.recipe, self.seed, self.fit, self.digest = recipe, seed, fit, digest
        require_trackers(recipe)
        trackers = fit.folder / "trackers"
        self.accelerator = accelerator_on(device, recipe.precision, recipe.trackers, trackers)
        self.device = self.accelerator.device
        forget_peak(self.device)
        images = open_images(recipe.data, "train", purpose="train")
        self.data_sha256 = images.sha256()
        start = start or initial_state(
            recipe, name=name, seed=seed, folder=fit.folder, classes=images.classes
        )
        self.objective, self.backbone = start.objective, start.objective.backbone
        self.share = Shard(self.accelerator.process_index, self.accelerator.num_processes)
        self.data = training_data(
            recipe,
            images,
            self.backbone.card,
            seed=seed,
            runtime=runtime,
            device=self.device,
            strict=strict,
            share=self.share,
        )
        parts = recipe.batch_norm_groups or self.share.world * recipe.accumulate
        together = self.data.rows * self.share.world // parts
        require_varying_values(
            self.backbone.net, together, recipe.train_size or self.backbone.card.input_size
        )
        self.train_step = TrainStep(recipe, start, self.accelerator, self.share, seed)
        self.rows: list[Row] = []
        self.best_model: dict[str, Tensor] | None = None
        self.epoch, self.step, self.loss_sum, self.seen, self.seconds = 0, 0, 0.0, 0, 0.0
        self.passed = 0

    def run(self) -> Trained:
        self._warn_of_slow_average()
        self.tracking = Tracking(self.accelerator, self.recipe, self.fit.folder)
        if not self._resume():
            self._save()
        while self.epoch < self.recipe.epochs:
            self._train_epoch()
            self._end_epoch()
        self.tracking.finish()
        card = self._card()
        self.fit.finish(self._kept_weights(), card.model_dump(mode="json"), self.rows)
        if self.train_step.network is not None:
            self.train_step.network.release()
        self.accelerator.wait_for_everyone()
        return Trained(card, self.fit.folder, already_done=False)

    def _warn_of_slow_average(self) -> None:
        if self.recipe.ema is None:
            return
        left = self.recipe.ema ** (self.recipe.epochs * self.data.train.steps_per_epoch)
        if left > _INITIAL_SHARE and first_process():
            log.warning(
                f"the average of the weights, which is judged and kept, will still be to {left:.0%} the initial weights after the "
                f"last step; a smaller ema than {self.recipe.ema:g} suits so short a training"
            )

    def _train_epoch(self) -> None:
        self.train_step.begin(self.epoch)
        begin = time.monotonic()
        total = torch.tensor(self.loss_sum, dtype=torch.float64, device=self.device)
        for batch in self.data.train.epoch(self.epoch, self.step):
            if self.share.world > 1:
                batch = pad_batch(batch, self.data.rows)  # noqa: PLW2901
            loss = self.train_step.step(batch, self.epoch, self.step, self.data.train.steps_per_epoch)
            total += loss.double() * len(batch.labels)
            self.seen += len(batch.labels)
            self.passed += self.train_step.passed
            self.step += 1
            if self.fit.due():
                self._require_good(total)
                now = time.monotonic()
                self.loss_sum, self.seconds = float(total), self.seconds + now - begin
                self._save()
                begin = now
            elif self.step % _CHECK_EVERY_STEPS == 0:
                self._require_good(total, weights=False)
        self._require_good(total)
        self.loss_sum, self.seconds = float(total), self.seconds + time.monotonic() - begin

    def _end_epoch(self) -> None:
        begin = time.monotonic()
        self.train_step.model.eval()
        share_buffers(self.objective)
        average = self.train_step.average
        with nullcontext() if average is None else average.applied():
            share_buffers(self.objective)
            top1_error, top5_error = self._errors() if self._judged() else (None, None)
            row = Row(
                epoch=self.epoch + 1,
                lr=self.recipe.learning_rate(self.epoch),
                train_loss=self.loss_sum / max(1, self.seen),
                top1_error=top1_error,
                top5_error=top5_error,
                seconds=round(self.seconds + time.monotonic() - begin, 3),
                step_seconds=round(self.seconds / max(1, self.step), 6),
                passes=self.passed / max(1, self.seen),
                memory=peak_memory(self.device),
            )
            self.rows.append(row)
            keeps_best = self.recipe.checkpoint == "best" and row.top1_error is not None
            if keeps_best and row is best_row(self.rows):
                self.best_model = {k: v.detach().cpu().clone() for k, v in self.backbone.state_dict().items()}
        self.epoch, self.step, self.loss_sum, self.seen, self.seconds = self.epoch + 1, 0, 0.0, 0, 0.0
        self.passed = 0
        self._save()
        self.tracking.log(row)
        error = "" if row.top1_error is None else f"top-1 error {row.top1_error:.1%}  "
        self._say(
            f"epoch {row.epoch}/{self.recipe.epochs}  loss {row.train_loss:.3f}  "
            f"{error}lr {row.lr:g}  {row.seconds:.1f} s"
        )

    def _judged(self) -> bool:
        """Whether the epoch that ends is judged on the validation split."""
        done = self.epoch + 1
        return done % self.recipe.validate_every == 0 or done == self.recipe.epochs

    def _errors(self) -> tuple[float, float]:
        """Top-1 and top-5 error on the validation images of all processes."""
        found = predict_logits(self.backbone, self.data.validation, precision=self.recipe.precision)
        counts = [float(topk_correct(found.logits, found.labels, k).sum()) for k in (1, 5)]
        correct = torch.tensor([*counts, len(found.labels)], dtype=torch.float64)
        if self.share.world > 1:
            # In single precision as a GPU may have no other; counts up to 2^24 are exact.
            correct = self.accelerator.reduce(correct.float().to(self.device), "sum").double().cpu()
        return 1.0 - float(correct[0] / correct[2]), 1.0 - float(correct[1] / correct[2])

    def _require_good(self, total: Tensor, *, weights: bool = True) -> None:
        self.fit.require_good(
            float(total),
            self.objective.state_dict() if weights else None,
            where=f"in epoch {self.epoch + 1} by step {self.step} (lr {self.recipe.learning_rate(self.epoch):g})",
            remedy="lower the learning rate or check the data",
        )

    def _save(self) -> None:
        state = {
            "model": self.objective.state_dict(),
            "optimizer": self.train_step.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "seen": self.seen,
            "passed": self.passed,
            "average": None if self.train_step.average is None else self.train_step.average.values,
            "seconds": self.seconds,
            "rows": [tuple(row) for row in self.rows],
            "best_model": self.best_model,
        }
        self.fit.save(state, self.rows)

    def _resume(self) -> bool:
        state = self.fit.state()
        if state is None:
            return False
        with self.fit.resuming():
            self.objective.load_state_dict(state["model"])
            self.train_step.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.step, self.seen = state["epoch"], state["step"], state["seen"]
            self.loss_sum, self.seconds = state["loss_sum"], state["seconds"]
            self.passed = state.get("passed", self.seen)
            if self.train_step.average is not None:
                self.train_step.average.load(state["average"])
            self.rows = [Row(*row) for row in state["rows"]]
            self.best_model = state["best_model"]
        self._say(f"continuing after {self.epoch} epochs and {self.step} steps")
        return True

    def _kept_weights(self) -> dict[str, Tensor]:
        average = self.train_step.average
        if self.best_model is not None:
            state = self.best_model
        elif average is not None:
            prefix = "backbone."
            state = {k.removeprefix(prefix): v for k, v in average.values.items() if k.startswith(prefix)}
        else:
            state = self.backbone.state_dict()
        if self.train_step.network is not None:
            state = self.train_step.network.plain_state(state, f"{self.objective.network}.")
        return {key.removeprefix("net."): value for key, value in state.items()}

    def _card(self) -> BackboneCard:
        last, best = self.rows[-1], best_row(self.rows)
        training = {
            "seed": self.seed,
            "digest": self.digest,
            "epochs": self.recipe.epochs,
            "kept": self.recipe.checkpoint,
            "last": last._asdict(),
            "best": best._asdict(),
            "history": [row._asdict() for row in self.rows],
            "validation": self.data.validated_on,
            "seconds": round(sum(row.seconds for row in self.rows), 1),
            "processor": processor_of(self.device),
            "unreadable": sorted(self.data.train.failed),
            "data_sha256": self.data_sha256,
        }
        return self.backbone.card.model_copy(
            update={
                "weights_sha256": state_sha256(self._kept_weights()),
                "behaviour": None,  # that was of the first weights; wherever these are loaded it is found anew
                "training": training,
            }
        )

    @staticmethod
    def _say(line: str) -> None:
        if first_process():
            log.info(line)
