"""Fine-tuning a detector with MMEngine's Runner: resumable at any moment, saying how long it takes."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.parts import is_file_spec, part_sha256
from eval_suite.core.runtime import RuntimeOptions, derive_seed, process_count, progress
from eval_suite.data.objects import ObjectIndex
from eval_suite.tasks.base import Fit
from eval_suite.tasks.detect.detectors.base import Detector
from eval_suite.tasks.detect.detectors.faster_rcnn import FasterRcnnOptions
from eval_suite.tasks.detect.models import build_detector
from eval_suite.tasks.detect.openmmlab import make_runner, optim_wrapper_at, quiet, runner_state
from eval_suite.tasks.detect.options import DetectOptions
from eval_suite.tasks.detect.pipeline import BoxData, training_loader, without_difficult
from eval_suite.tasks.detect.predict import FittedDetectors
from eval_suite.training.fit_run import FitRun, read_fitted

log = logging.getLogger(__name__)

VERSION = 2
"""Goes up whenever the same options fit another detector."""

_STEP = 0xDE7E57
_CHECK_EVERY_STEPS = 20
_WARM_FROM = 1e-3


class Row(NamedTuple):
    """One line of ``log.jsonl``: a step, counted from 1, its loss, and the seconds of all steps so far in this process."""

    step: int
    loss: float
    seconds: float


class Fitted(NamedTuple):
    """What fine-tuning left: the detector with its learnt weights, and the last value of its loss."""

    model: nn.Module
    loss: float


def fit(backbone: Backbone, options: DetectOptions, runtime: RuntimeOptions, seed: int, folder: Path) -> Fit:
    """Fine-tune each detector in a folder of its own; the backbone's card tells what it was given and what came of it."""
    # What could stop a later detector, or the predictions, is looked for before hours are spent on fitting.
    detectors = options.chosen()
    for detector in detectors:
        images_per_process(detector)
    evaluated = options.objects(options.split)
    index = options.objects(options.train_split, purpose="train")
    for each in (index, evaluated):
        for note in each.notes:
            log.warning("%s: %s", each.split, note)
    card = backbone.card
    # Likewise every detector is put together first: not each takes any backbone.
    built = [build_detector(detector, backbone, len(index.classes), seed=seed) for detector in detectors]
    models: list[tuple[Detector, nn.Module]] = []
    for spec, detector, made in zip(options.detectors, detectors, built, strict=True):
        card.load.notes.append(made.loaded)
        model = fit_detector(
            made.model,
            detector,
            index,
            runtime,
            card=card,
            seed=seed,
            folder=folder / detector.name,
            save_interval=options.save_interval,
            code=part_sha256(spec) if is_file_spec(spec) else "",
        ).model
        models.append((detector, model))
        card.fitted_sha256[detector.name] = state_sha256(model.state_dict())
    return Fit(FittedDetectors(models, card.name), index.about(index, []).info(len(index)))


def images_per_process(detector: Detector) -> int:
    """Each process's part of a batch, whose size is that of all processes together.

    Raises:
        InputError: if the batch cannot be divided evenly among the processes.
    """
    batch, world = detector.schedule.batch_size, process_count()
    if batch % world:
        flag = f"--{detector.settings.replace('_', '-')}" if detector.settings else detector.name
        raise InputError(
            f"a batch of {batch} images cannot be divided evenly into {world} processes; choose a {flag}.batch-size that "
            f"is a multiple of {world}"
        )
    return batch // world


def fit_detector(
    model: nn.Module,
    detector: Detector,
    index: ObjectIndex,
    runtime: RuntimeOptions,
    *,
    card: BackboneCard,
    seed: int,
    folder: Path,
    save_interval: float = 10.0,
    code: str = "",
) -> Fitted:
    """Fine-tune, continue a stopped fine-tuning, or load a finished one.

    A stopped fit continues with the draws the uninterrupted one would have made; see `FitRun` for its files.

    Args:
        model: the detector with the backbone's weights.
        detector: which one it is, with its settings.
        index: images to learn from.
        runtime: device, precision, workers.
        card: of the backbone that the detector starts from.
        seed: decides order and every random draw.
        folder: where its files go.
        save_interval: minutes between two saved states.
        code: hash of the user's file that the detector is from.

    Raises:
        DivergenceError: if the loss stops being finite; the last good state stays.
        InputError: if an image to learn from cannot be read, or the processes cannot share a batch.
    """
    digest = _digest(detector, index, runtime, seed, card, code)
    label = f"fitting {detector.title}"
    fit = FitRun(folder, {"digest": digest}, purpose=label, save_interval=save_interval)
    with fit.held():
        done = fit.finished()
        if done is not None:

            def taken(weights: dict[str, torch.Tensor]) -> Fitted:
                model.load_state_dict(weights)
                return Fitted(model, float(done["loss"]))

            return read_fitted(folder, done, taken)
        runner, watch = prepare(
            model, detector, index, runtime, mean=card.mean, seed=seed, fit=fit, state=fit.state()
        )
        try:
            with quiet():
                runner.train()
        except ValueError as error:
            schedule = detector.schedule
            if "no valid anchor" not in str(error) or not isinstance(schedule, FasterRcnnOptions):
                raise
            raise InputError(
                f"an image of {index.spec} is so narrow that no anchor of {detector.title} fits into it at "
                f"--faster-rcnn.long-side {schedule.long_side}; remove it, or raise that number"
            ) from None
        trained: nn.Module = getattr(runner.model, "module", runner.model)
        watch.require_good(runner)
        description = {"digest": digest, "loss": watch.loss, "seconds": round(watch.seconds, 1)}
        fit.finish(trained.state_dict(), description, watch.rows)
        if runner.rank == 0:
            shutil.rmtree(folder / "work", ignore_errors=True)
        return Fitted(trained, watch.loss)


def prepare(
    model: nn.Module,
    detector: Detector,
    index: ObjectIndex,
    runtime: RuntimeOptions,
    *,
    mean: tuple[float, float, float],
    seed: int,
    fit: FitRun,
    state: Mapping[str, Any] | None = None,
) -> Any:
    """The Runner, ready to train from the beginning or a state that `fit` saved, and the hook that watches it."""
    device = runtime.resolve_device()
    torch.backends.cudnn.benchmark = False  # images come in many sizes
    schedule = detector.schedule
    steps = schedule.iterations
    fill = tuple(255 * value for value in mean)
    data = BoxData(without_difficult(index), detector.training_transforms(fill), seed)
    workers = 0 if device.type == "cpu" and runtime.threads == 1 else runtime.workers
    warm = min(schedule.warmup, steps // 2)
    watch = _watch(fit, seed, f"fitting {detector.title}", steps, state)
    warming = {"type": "LinearLR", "start_factor": _WARM_FROM, "by_epoch": False, "begin": 0, "end": warm}
    falling = {
        "type": "MultiStepLR",
        "by_epoch": False,
        "milestones": [round(share * steps) for share in schedule.milestones],
        "gamma": 0.1,
    }
    optimizer = {
        "type": "SGD",
        "lr": schedule.lr,
        "momentum": 0.9,
        "weight_decay": schedule.weight_decay,
    }
    optim_wrapper: dict[str, Any] = {
        "type": optim_wrapper_at(runtime.precision, device),
        "optimizer": optimizer,
    }
    if not detector.bias_decay:
        optim_wrapper["paramwise_cfg"] = {"bias_decay_mult": 0.0}
    with quiet():
        runner = make_runner(
            fit.folder / "work",
            device,
            state,
            fit.resuming,
            model=model,
            train_dataloader=training_loader(data, images_per_process(detector), workers),
            train_cfg={"type": "IterBasedTrainLoop", "max_iters": steps, "val_interval": steps + 1},
            optim_wrapper=optim_wrapper,
            param_scheduler=[*([warming] if warm else []), falling],
            default_hooks=dict.fromkeys(("timer", "logger", "checkpoint", "sampler_seed")),
            custom_hooks=[watch],
            randomness={"seed": derive_seed(seed, 0, _STEP) & 0x7FFFFFFF},
            env_cfg={"dist_cfg": {"backend": "nccl"}},
        )
    return runner, watch


def _watch(fit: FitRun, seed: int, label: str, steps: int, state: Mapping[str, Any] | None) -> Any:
    from mmengine.hooks import Hook

    class Watch(Hook):
        """Seeds every step by its number, shows progress, checks the loss, and saves the state in time."""

        priority = "VERY_LOW"

        def __init__(self) -> None:
            with fit.resuming():
                self.rows = [Row(*row) for row in (state or {}).get("rows", [])]
            # A state of the last step leaves no step to take the loss from.
            self.loss = self.rows[-1].loss if self.rows else float("nan")
            self.seconds = 0.0
            self._begin = time.monotonic()
            self._shown: Any = iter(())

        def before_train(self, runner: Any) -> None:
            self._begin = time.monotonic()
            if runner.rank == 0:
                self._shown = progress(range(runner.iter, steps), steps, label, first=runner.iter)
                next(self._shown, None)

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            # Samplers of regions draw from torch's global generator: a resumed step draws what it would have drawn.
            torch.manual_seed(derive_seed(seed, runner.iter, _STEP))

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            next(self._shown, None)
            step = runner.iter + 1
            self.seconds = time.monotonic() - self._begin
            if step % _CHECK_EVERY_STEPS == 0 or step == steps:
                self.loss = float(outputs["loss"])
                self.require_good(runner, weights=False)
                self.rows.append(Row(step, self.loss, round(self.seconds, 1)))
            if fit.due():
                self.loss = float(outputs["loss"])
                self.require_good(runner)
                # The loop counts a step after its hooks, so a state holds the step it was taken in.
                fit.save({**runner_state(runner, step), "rows": [tuple(row) for row in self.rows]}, self.rows)

        def require_good(self, runner: Any, *, weights: bool = True) -> None:
            """Check the loss, and before anything is kept also the weights."""
            fit.require_good(
                self.loss,
                runner.model.state_dict() if weights else None,
                where=f"by step {min(runner.iter + 1, steps)} of {steps} ({label})",
                remedy="lower the learning rate or check the boxes",
            )

    return Watch()


def _digest(
    detector: Detector, index: ObjectIndex, runtime: RuntimeOptions, seed: int, card: BackboneCard, code: str
) -> str:
    """A hash of all that decides the outcome."""
    settings = detector.schedule.model_dump(mode="json")
    decisive = [
        VERSION,
        detector.name,
        {name: value for name, value in settings.items() if name != "iterations"},
        detector.schedule.iterations,
        index.sha256(),
        index.split,
        runtime.precision,
        seed,
        card.deciding_features(),
        *([code] if code else []),
    ]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
