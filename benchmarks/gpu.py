"""Whether everything works on a GPU, and as fast as it should: one run of at most eight minutes.

- detection: each detector's first step on the GPU against the same on the CPU, in float32 without TF32; then a few
  steps of fine-tuning and predictions, in float32 and in bfloat16.
- training: a step with each regularizer, in both precisions.
- evaluation: `classify` on the GPU against the CPU, both in float32 without TF32; then in bfloat16, compiled, and with the
  batch size it chooses itself.
- suite: `eval-suite run smoke` in an empty folder.
- ratios: those of the other benchmarks that have an aim on a GPU, as processes of their own.

Each figure is a line with its limit. The exit code is 0 if all were ok, 1 if one was not or was not run, 2 without a
GPU. With `--device cpu` the script itself can be tried, in settings that a CPU can bear; its verdict means nothing then.
"""

import argparse
import json
import math
import operator
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import eval_suite
from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net, native_config
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import first_line
from eval_suite.core.parts import parts
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.loading import Batch
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.voc import open_voc
from eval_suite.demo.world import make_demo
from eval_suite.tasks.detect.fit import fit_detector
from eval_suite.tasks.detect.metrics import detectors
from eval_suite.tasks.detect.models import build_detector
from eval_suite.tasks.detect.openmmlab import quiet
from eval_suite.tasks.detect.options import DetectOptions, FasterRcnnOptions, SsdOptions
from eval_suite.tasks.detect.pipeline import BoxData, training_loader, without_difficult
from eval_suite.tasks.detect.predict import predict_detector
from eval_suite.training.preparation import initial_state
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Shard
from eval_suite.training.step import TrainStep, accelerator_on

PARTS = ("detection", "training", "evaluation", "suite", "ratios")
PRECISIONS = ("fp32", "bf16")
BATCH, STEPS, IMAGES = 2, 3, 8
EVALUATIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "compiled": {"compile": True},
    "batch size chosen": {"batch_size": "auto"},
}
FINITE = "finite"
COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
RATIO = re.compile(r"^ *(\S.*?) *\bratio ([\d.]+) \(.*?\), aim ([<>]=?) ([\d.]+)", re.MULTILINE)


class Finding(NamedTuple):
    """A figure, what it is, and its limit: `finite`, or a comparison with a number, which nothing infinite passes."""

    what: str
    figure: float
    limit: str

    def ok(self) -> bool:
        if self.limit == FINITE or not math.isfinite(self.figure):
            return math.isfinite(self.figure)
        sign, number = self.limit.split()
        return bool(COMPARISONS[sign](self.figure, float(number)))


class Check(NamedTuple):
    """Something to run; ``find`` is told how many seconds are left."""

    part: str
    name: str
    find: Callable[[float], Iterator[Finding]]


class Ratios(NamedTuple):
    """A benchmark, its setting, which of its ratios count on a GPU, its flags there, and those that a CPU can bear."""

    script: str
    setting: str
    counted: str
    flags: str
    cpu_flags: str


MIXING = "--only cutmix mixup manifold-mixup feature-cutmix"
RATIOS = (
    Ratios(
        "training_step",
        "32 px",
        ".*",
        f"--sizes 32 --repeats 40 {MIXING}",
        f"--sizes 32 --repeats 2 {MIXING}",
    ),
    Ratios(
        "training_step",
        "224 px",
        ".*",
        f"--sizes 224 --repeats 20 {MIXING}",
        "--sizes 32 --repeats 1 --only cutmix",
    ),
    Ratios(
        "cifar_training",
        "PyramidNet, bf16",
        "against the limit",
        "--arch pyramidnet200_a240 --precision bf16 --repeats 2",
        "--images 256 --repeats 1",
    ),
    Ratios(
        "classify_throughput",
        "fp32",
        ".*",
        "--images 51200 --repeats 5",
        "--images 256 --repeats 1",
    ),
    Ratios(
        "classify_throughput",
        "bf16",
        ".*",
        "--precision bf16 --images 51200 --repeats 5",
        "--precision bf16 --images 256 --repeats 1",
    ),
    Ratios(
        "image_folder",
        "one core",
        "(speed|kept pixels) over (torchvision|decode and resize|memory)",
        "--repeats 3",
        "--images 64 --repeats 1",
    ),
    Ratios("caption_search", "beam 20", "speed", "--repeats 3", "--pictures 4 --steps 20 --repeats 1"),
    Ratios(
        "robustness_throughput",
        "occlusion and FGSM",
        "speed|time over forward.*",
        "--repeats 5",
        "--images 128 --repeats 1",
    ),
    Ratios("cam_extraction", "ResNet-50", "plain maps.*", "--repeats 10", "--batch 2 --repeats 2"),
)


class World(NamedTuple):
    """What detectors learn from and are run over."""

    train: ObjectIndex
    test: ObjectIndex
    options: DetectOptions
    backbone: Backbone


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="what would begin later is not run")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--out", type=Path, help="JSON file for all that is printed")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no usable GPU; --device cpu tries the script itself")
        return 2
    end = time.monotonic() + 60 * arguments.minutes
    device = torch.device(arguments.device)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{machine}, torch {torch.__version__}, at most {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as name:
        checks = [check for check in all_checks(device, Path(name)) if check.part in arguments.only]
        rows = [row for check in checks for row in run(check, end)]
    counts = Counter(row["state"] for row in rows)
    print(", ".join(f"{counts[state]} {state}" for state in ("ok", "FAILED", "not run")))
    if arguments.out:
        content = {"machine": machine, "torch": torch.__version__, "counts": counts, "checks": rows}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return 0 if counts["ok"] == len(rows) else 1


def all_checks(device: torch.device, folder: Path) -> list[Check]:
    """Those that say whether it works come first."""
    checks = []
    for detector in detectors():
        first = partial(same_first_step, detector, device, folder)
        checks.append(Check("detection", f"{detector}, first step against the CPU's", first))
        for precision in PRECISIONS:
            find = partial(fit_and_predict, detector, precision, device, folder)
            checks.append(Check("detection", f"{detector}, {precision}", find))
    for regularizer in parts("regularizer"):
        for precision in PRECISIONS:
            step = partial(training_step, regularizer, precision, device)
            checks.append(Check("training", f"step with {regularizer}, {precision}", step))
    for name, settings in EVALUATIONS.items():
        evaluated = partial(evaluation, settings, device, folder)
        checks.append(Check("evaluation", f"classify, {name}", evaluated))
    checks.append(Check("suite", "eval-suite run smoke", partial(smoke, device, folder)))
    checks += [
        Check("ratios", f"{each.script}, {each.setting}", partial(compare, each, device)) for each in RATIOS
    ]
    return checks


def run(check: Check, end: float) -> Iterator[dict[str, Any]]:
    """Print and give a row for each of a check's figures, or for what kept it from them."""
    begin = time.monotonic()

    def row(what: str, state: str, **more: Any) -> dict[str, Any]:
        name = f"{check.name}: {what}" if what else check.name
        made = {"name": name, "state": state, "seconds": round(time.monotonic() - begin, 1), **more}
        figure = f"{made['figure']:12.4g}  {made['limit']:<9}" if "figure" in made else ""
        reason = first_line(more["reason"]) if "reason" in more else ""
        print(f"{state:<8} {name:<64}{figure}{made['seconds']:7.1f} s  {reason}".rstrip(), flush=True)
        return made

    if begin >= end:
        yield row("", "not run", reason="no time left")
        return
    try:
        for found in check.find(end - begin):
            state, reason = ("ok", {}) if found.ok() else ("FAILED", {"reason": "outside of its limit"})
            yield row(found.what, state, figure=found.figure, limit=found.limit, **reason)
    except subprocess.TimeoutExpired:
        yield row("", "not run", reason="stopped, as no time was left")
    except Exception as error:  # whatever it is, the other checks are still wanted
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error}"
        where = f"{Path(place.filename).name}:{place.lineno}"
        yield row("", "FAILED", reason=f"{where} {reason}", traceback=traceback.format_exc())


@cache
def world(folder: Path) -> World:
    """A tiny demo, and a ResNet-18 at random initialisation."""
    make_demo(folder / "demo", "tiny")
    spec = f"voc:{folder}/demo/VOCdevkit"
    options = DetectOptions(
        data=spec,
        iterations=STEPS,
        ssd=SsdOptions(batch_size=BATCH),
        faster_rcnn=FasterRcnnOptions(short_side=256, long_side=384, batch_size=BATCH),
    )
    train = open_voc(spec, "VOC2007/trainval")
    torch.manual_seed(0)
    net = build_net("resnet18", len(train.classes))
    card = BackboneCard(name="b", source="b", arch="resnet18", classes=[], **native_config("resnet18", net))
    return World(train, open_voc(spec, "VOC2007/test").subset(IMAGES), options, finish(net, card))


def same_first_step(detector: str, device: torch.device, folder: Path, _left: float) -> Iterator[Finding]:
    proposals: list[Any] = []
    # Convolutions take TF32 on a GPU unless told not to; matrix products do not.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False), quiet():
        loss, gradient = first_step(detector, torch.device("cpu"), world(folder), proposals)
        other_loss, other_gradient = first_step(detector, device, world(folder), proposals)
    yield Finding("loss", abs(other_loss - loss) / abs(loss), "<= 1e-4")
    yield Finding("gradient", float((other_gradient - gradient).norm() / gradient.norm()), "<= 1e-2")


def first_step(
    detector: str, device: torch.device, where: World, proposals: list[Any]
) -> tuple[float, Tensor]:
    """Loss and gradient, made anew from the same seeds.

    Args:
        detector: its name.
        device: where to compute.
        where: what to learn from.
        proposals: those of Faster R-CNN's first stage to use; an empty list is filled with its own.
    """
    chosen = where.options.detector(detector)
    model: Any = build_detector(chosen, where.backbone, len(where.train.classes), seed=0).model
    model.to(device).train()
    transforms = chosen.training_transforms((124.0, 116.0, 104.0))
    batch = next(iter(training_loader(BoxData(without_difficult(where.train), transforms, 0), BATCH, 0)))
    if hasattr(model, "rpn_head"):
        # Rounding alone changes the order of proposals that score alike, and with it which of them are drawn.
        own = model.rpn_head.predict_by_feat

        def predict(*arguments: Any, **keywords: Any) -> list[Any]:
            made = own(*arguments, **keywords)
            proposals.extend(() if proposals else made)
            return [each.to(device) for each in proposals]

        model.rpn_head.predict_by_feat = predict
    torch.manual_seed(0)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, training=True), mode="loss"))
    loss.backward()
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    require_on(device, [loss, *gradients])
    return float(loss), torch.cat([each.flatten().double().cpu() for each in gradients])


def fit_and_predict(
    detector: str, precision: str, device: torch.device, folder: Path, _left: float
) -> Iterator[Finding]:
    train, test, options, backbone = world(folder)
    runtime = RuntimeOptions.model_validate(
        {"device": device.type, "precision": precision, "batch_size": BATCH}
    )
    model = build_detector(options.detector(detector), backbone, len(train.classes), seed=0).model
    target = folder / detector / precision
    fitted = fit_detector(
        model, options.detector(detector), train, runtime, card=backbone.card, seed=0, folder=target
    )
    require_on(device, list(fitted.model.state_dict().values()))
    yield Finding(f"loss of step {STEPS}", fitted.loss, FINITE)
    found = predict_detector(
        fitted.model, options.detector(detector), test, runtime, label=detector
    ).detections
    yield Finding("detections", int(np.isfinite(found.scores).sum()), "> 0")


def training_step(regularizer: str, precision: str, device: torch.device, _left: float) -> Iterator[Finding]:
    recipe = Recipe.model_validate(
        {"preset": "cifar", "arch": "resnet20_cifar", "data": "cifar10:", "precision": precision}
        | {"regularizers": [regularizer], "epochs": 1}
    )
    classes = [str(number) for number in range(10)]
    start = initial_state(recipe, name="b", seed=0, folder=Path(), classes=classes)
    train_step = TrainStep(recipe, start, accelerator_on(device, recipe.precision), Shard(), 0)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(recipe.batch_size, 3, 32, 32, generator=generator).to(device)
    labels = torch.randint(10, (recipe.batch_size,), generator=generator).to(device)
    train_step.begin(0)
    before = weights(train_step.model)
    # The last step of an epoch, where regularizers that grow are at their strongest.
    loss = train_step.step(Batch(images, labels, torch.arange(len(labels))), 0, 99, 100)
    after = weights(train_step.model)
    momenta = [state["momentum_buffer"] for state in train_step.optimizer.state.values()]
    require_on(device, [loss, *train_step.model.state_dict().values(), *momenta])
    if train_step.network is not None:
        train_step.network.release()
    yield Finding("loss", float(loss), FINITE)
    yield Finding("change of the weights, relative", float((after - before).norm() / before.norm()), "> 0")


def evaluation(
    settings: dict[str, Any], device: torch.device, folder: Path, _left: float
) -> Iterator[Finding]:
    _, _, _, backbone = world(folder)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        logits = classified(backbone, folder, device.type, **settings)
    reference = classified(backbone, folder, "cpu")
    limit = "<= 1e-3" if settings.get("precision", "fp32") == "fp32" else "<= 3e-2"
    yield Finding("logits", float(np.linalg.norm(logits - reference) / np.linalg.norm(reference)), limit)


def classified(backbone: Backbone, folder: Path, device: str, **settings: Any) -> "np.ndarray[Any, Any]":
    """What `classify` predicts for the tiny demo's validation images."""
    with tempfile.TemporaryDirectory() as out:
        eval_suite.evaluate(
            backbone,
            "classify",
            data=f"folder:{folder}/demo/images",
            device=device,
            out=Path(out) / "reports" / "gpu",
            **settings,
        )
        (path,) = Path(out).glob("reports/gpu/results/*/classify/predictions.npz")
        with np.load(path) as arrays:
            return arrays["logits"].astype(np.float64)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([each.detach().flatten() for each in model.parameters()])


def require_on(device: torch.device, tensors: list[Tensor]) -> None:
    strange = {str(each.device) for each in tensors if each.device.type != device.type}
    if strange:
        raise RuntimeError(f"expected every tensor on {device.type}, found some on {', '.join(strange)}")


def smoke(device: torch.device, folder: Path, left: float) -> Iterator[Finding]:
    # A suite's jobs take the GPU wherever there is one.
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device.type == "cpu" else {}
    home = folder / "smoke"
    home.mkdir()
    in_process([sys.executable, "-m", "eval_suite", "run", "smoke"], left, home, hidden)
    records = [json.loads(path.read_text("utf-8")) for path in home.glob("reports/*/results/*/*.json")]
    there = [record for record in records if record["run"]["device"].startswith(device.type)]
    yield Finding(f"records made on {device.type}", len(there), f"== {max(1, len(records))}")


def compare(ratios: Ratios, device: torch.device, left: float) -> Iterator[Finding]:
    script = Path(__file__).with_name(f"{ratios.script}.py")
    flags = (ratios.flags if device.type == "cuda" else ratios.cpu_flags).split()
    printed = in_process([sys.executable, str(script), *flags, "--device", device.type], left)
    found = [
        Finding(re.split(r" +\d[\d,.]* ms|:", what)[0], float(ratio), f"{sign} {aim}")
        for what, ratio, sign, aim in RATIO.findall(printed)
    ]
    counted = [each for each in found if re.fullmatch(ratios.counted, each.what)]
    if not counted:
        raise RuntimeError(f"expected ratios in what {script.name} prints, found none: {printed[-500:]}")
    yield from counted


def in_process(
    command: list[str], left: float, folder: Path | None = None, variables: dict[str, str] | None = None
) -> str:
    """What a command prints; it is stopped when no time is left."""
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, **(variables or {})}
    done = subprocess.run(command, cwd=folder, env=environment, timeout=left, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or [""]
        raise RuntimeError("\n".join([f"exit code {done.returncode}: {lines[-1]}", *lines[-40:]]))
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
