"""Detection: a fine-tuning step against the path of MMDetection's tools/train.py with the same model and augmentation.

The peer is a Runner with MMEngine's default hooks and log, MMDetection's XML data set, image reader and InfiniteSampler;
ours has this suite's data, seeding, checks and progress. Both run one process with data in the same process. A step is
reading a batch, augmenting, forward, backward, SGD and all hooks.
"""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import options, ratios, report, spread, take_turns, waiter

from eval_suite.backbones.backbone import finish
from eval_suite.backbones.building import build_net, native_config
from eval_suite.core.cards import BackboneCard
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.voc import open_voc
from eval_suite.demo.world import make_demo
from eval_suite.tasks.detect.detectors.base import Detector
from eval_suite.tasks.detect.fit import prepare
from eval_suite.tasks.detect.models import build_detector
from eval_suite.tasks.detect.openmmlab import quiet
from eval_suite.tasks.detect.options import DetectOptions, FasterRcnnOptions, SsdOptions
from eval_suite.training.fit_run import FitRun

AIM = "<= 1.05"
STEPS = 1_000_000
MEAN = (0.485, 0.456, 0.406)


def main() -> None:
    parser = options(__doc__, repeats=10)
    parser.add_argument("--detector", choices=("ssd", "faster-rcnn-c4"), default="ssd")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument(
        "--size", type=int, default=300, help="SSD's input, or the shorter side of Faster R-CNN's"
    )
    parser.add_argument("--batch-size", type=int, default=4)
    arguments = parser.parse_args()
    runtime = RuntimeOptions(device=arguments.device, threads=arguments.threads, workers=0)
    device = runtime.resolve_device()
    with tempfile.TemporaryDirectory() as folder:
        make_demo(Path(folder) / "demo", "tiny")
        spec = f"voc:{folder}/demo/VOCdevkit"
        chosen = DetectOptions(
            data=spec,
            iterations=STEPS,
            ssd=SsdOptions(input_size=(arguments.size,) * 2, batch_size=arguments.batch_size, warmup=0),
            faster_rcnn=FasterRcnnOptions(
                short_side=arguments.size,
                long_side=2 * arguments.size,
                batch_size=arguments.batch_size,
                warmup=0,
            ),
        )
        index = open_voc(spec, "VOC2007/trainval")
        net = build_net(arguments.arch, 10)
        native = native_config(arguments.arch, net)
        card = BackboneCard(name="b", source="b", arch=arguments.arch, classes=[], **native)
        detector = chosen.detector(arguments.detector)
        model = build_detector(detector, finish(net, card), 10, seed=0).model
        contestants = {
            "eval_suite": ours(copy.deepcopy(model), detector, index, runtime, Path(folder) / "ours"),
            "tools/train": theirs(copy.deepcopy(model), detector, index, Path(folder)),
        }
        seconds = take_turns(contestants, arguments.repeats, finish=waiter(device.type))
    print(
        f"fine-tuning step, {arguments.detector} on {arguments.arch}, {arguments.size} px, batch {arguments.batch_size}, "
        f"{device.type}, {torch.get_num_threads()} threads: {arguments.repeats} steps"
    )
    for name, found in seconds.items():
        print(f"  {name:<11} {spread(found).scaled(1000).text('ms')}")
    print(f"  time {report(ratios(seconds['eval_suite'], seconds['tools/train']), AIM)}")


def ours(
    model: Any, detector: Detector, index: ObjectIndex, runtime: RuntimeOptions, folder: Path
) -> Callable[[], object]:
    """The step of `fit_detector`'s Runner."""
    fit = FitRun(folder, {}, purpose="timing", save_interval=1e6)
    runner, _ = prepare(model, detector, index, runtime, mean=MEAN, seed=0, fit=fit)
    return train_step(runner)


def theirs(model: Any, detector: Detector, index: ObjectIndex, folder: Path) -> Callable[[], object]:
    """The step of the Runner that tools/train.py builds from a config with the same model, data and schedule."""
    from mmengine.runner import Runner

    schedule = detector.schedule
    data = {
        "type": "XMLDataset",
        "metainfo": {"classes": tuple(index.classes)},
        "data_root": f"{folder}/demo/VOCdevkit/",
        "ann_file": "VOC2007/ImageSets/Main/trainval.txt",
        "data_prefix": {"sub_data_root": "VOC2007/"},
        "img_subdir": "JPEGImages",
        "ann_subdir": "Annotations",
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True},
            *detector.training_transforms(tuple(255 * value for value in MEAN)),
        ],
    }
    with quiet():
        runner = Runner(
            model=model,
            work_dir=f"{folder}/theirs",
            train_dataloader={
                "batch_size": schedule.batch_size,
                "num_workers": 0,
                "sampler": {"type": "InfiniteSampler"},
                "dataset": data,
            },
            train_cfg={"type": "IterBasedTrainLoop", "max_iters": STEPS, "val_interval": STEPS},
            optim_wrapper={
                "type": "OptimWrapper",
                "optimizer": {
                    "type": "SGD",
                    "lr": schedule.lr,
                    "momentum": 0.9,
                    "weight_decay": schedule.weight_decay,
                },
            },
            param_scheduler=[
                {"type": "MultiStepLR", "by_epoch": False, "milestones": [STEPS // 2], "gamma": 0.1}
            ],
            default_hooks={"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": STEPS}},
            custom_hooks=[{"type": "CheckInvalidLossHook", "interval": 50, "priority": "VERY_LOW"}],
            default_scope="mmdet",
            experiment_name="theirs",
        )
    return train_step(runner)


def train_step(runner: Any) -> Callable[[], object]:
    """One step of a Runner's own loop, after all that `Runner.train` sets up."""
    with quiet():
        loop = (
            runner.train_loop
            if not isinstance(runner._train_loop, dict)
            else runner.build_train_loop(runner._train_loop)
        )
        runner._train_loop = loop
        loop.run = lambda: runner.model
        runner.train()
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")

    def step() -> None:
        with quiet():
            runner.model.train()
            loop.run_iter(next(loop.dataloader_iterator))

    return step


if __name__ == "__main__":
    main()
