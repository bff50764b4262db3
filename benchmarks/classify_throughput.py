"""Classification: images/s of the predict step against a bare loop of forward passes.

The step is `predict_logits` over `ImageBatches` in memory. The bare loop has its float batches ready on the device
and only calls the network under inference_mode and keeps the logits. Both run the same channels-last Backbone, which
owns the normalisation, so that is in both.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import options, ratios, report, spread, take_turns, waiter

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net, native_config
from eval_suite.backbones.inference import autocast, predict_logits, to_device
from eval_suite.core.cards import BackboneCard
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.images import ImageIndex
from eval_suite.data.loading import ImageBatches
from eval_suite.data.sizing import EvaluationTransform

ARCH, SIZE, BATCH, CLASSES = "resnet20_cifar", 32, 128, 10
AIM = ">= 0.97"


def main() -> None:
    parser = options(__doc__, repeats=10)
    parser.add_argument("--images", type=int, default=2_560)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    backbone = to_device(make_backbone(), device)
    batches = ImageBatches(
        make_index(arguments.images),
        EvaluationTransform((SIZE, SIZE)),
        batch_size=BATCH,
        device=device,
    )
    assert batches.in_memory
    contestants = {
        "eval_suite": lambda: predict_logits(backbone, batches, precision=arguments.precision),
        "bare loop": make_bare_loop(backbone, batches, device, arguments.precision),
    }
    seconds = take_turns(contestants, arguments.repeats, finish=waiter(device.type))
    print(
        f"classification, {ARCH}, {SIZE} px, batch {BATCH}, {device.type}, {torch.get_num_threads()} threads, "
        f"{arguments.precision}: {arguments.repeats} passes over {arguments.images:,} images"
    )
    for name, found in seconds.items():
        print(f"  {name:<11} {spread([arguments.images / value for value in found]).text('images/s', 0)}")
    print(f"  speed {report(ratios(seconds['bare loop'], seconds['eval_suite']), AIM)}")


def make_backbone() -> Backbone:
    """A randomly initialised network in its Backbone."""
    net = build_net(ARCH, CLASSES)
    return finish(
        net, BackboneCard(name=ARCH, source=ARCH, arch=ARCH, classes=[], **native_config(ARCH, net))
    )


def make_index(images: int) -> ImageIndex:
    """Random images, as an index of a CIFAR layout holds them."""
    rng = np.random.default_rng(0)
    return ImageIndex(
        name="random",
        spec="cifar10:random",
        split="test",
        classes=[str(label) for label in range(CLASSES)],
        ids=[str(position) for position in range(images)],
        labels=np.arange(images) % CLASSES,
        root=Path(),
        paths=None,
        pixels=rng.integers(0, 256, (images, SIZE, SIZE, 3), dtype=np.uint8),
    )


def make_bare_loop(
    backbone: Backbone, batches: ImageBatches, device: torch.device, precision: str
) -> Callable[[], object]:
    """Forward passes over tensors that are already there."""
    ready = [batch.images for batch in batches]

    @torch.inference_mode()
    def run() -> object:
        with autocast(device, precision):
            logits = [backbone(images) for images in ready]
        return torch.cat(logits).cpu()

    return run


if __name__ == "__main__":
    main()
