"""What a regularizer adds to a training step: with each of them against without any.

A step is what the training loop does with a batch that is already on the device: regularise, forward, cross entropy
on soft or hard targets (or the regularizer's own loss), backward, SGD. Every step is regularised (probability 1, schedules at their end), the dearest
case. The passes that some look at images with, and the further views that others train on, are part of the step; those
made for transformers run on a small one, against itself. Beside the ratio of whole steps stands, for those that act on the batch alone, the cost of the parts that differ,
timed without the network: on a busy machine it is the steadier figure.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timing import CLOCKS, options, ratios, report, spread, take_turns, waiter
from torch import Tensor

from eval_suite.backbones.backbone import finish
from eval_suite.backbones.building import build_net, native_config
from eval_suite.backbones.inference import to_device
from eval_suite.core.cards import BackboneCard
from eval_suite.core.runtime import RuntimeOptions, derive_seed
from eval_suite.training.network import Network
from eval_suite.training.regularizers import (
    RICAP,
    AttentiveCutMix,
    AugMix,
    CoMixup,
    CutMix,
    Cutout,
    DropBlock,
    Either,
    FeatureCutMix,
    FMix,
    GridMask,
    GridMix,
    HideAndSeek,
    LabelSmoothing,
    ManifoldMixup,
    Mixup,
    PuzzleMix,
    RandomErasing,
    RegMixup,
    Regularizer,
    ResizeMix,
    SaliencyMix,
    ShakeDrop,
    SmoothMix,
    SnapMix,
    StochasticDepth,
    TokenMix,
    TransMix,
    regularise,
)

CLASSES = {32: 100, 224: 1000}
AIM = {"cpu": "<= 1.03", "cuda": "<= 1.02"}


class Steps(NamedTuple):
    """The whole training step, and the part of it that a regularizer changes: batch and loss without the network."""

    whole: Callable[[], None]
    batch_and_loss: Callable[[], None]


def main() -> None:
    parser = options(__doc__, repeats=None, clocks=True)
    parser.add_argument("--sizes", type=int, nargs="+", choices=tuple(CLASSES), default=list(CLASSES))
    parser.add_argument("--batch", type=int, default=64, help="images in a step")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--only", nargs="+", default=[], help="regularizers to time; by default all")
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    print(
        f"training step, batch {arguments.batch}, {device.type}, {torch.get_num_threads()} threads, {arguments.precision}, "
        f"{arguments.clock} time"
    )
    for size in arguments.sizes:
        repeats = arguments.repeats or (5 if size == 224 and device.type == "cpu" else 40)
        measure(
            size,
            arguments.batch,
            device,
            arguments.precision,
            repeats,
            arguments.only,
            CLOCKS[arguments.clock],
        )


def measure(
    size: int,
    batch: int,
    device: torch.device,
    precision: str,
    repeats: int,
    only: list[str],
    clock: Callable[[], float],
) -> None:
    """Time the steps at one image size and print the ratios."""
    arch = "resnet20_cifar" if size == 32 else "resnet18" if device.type == "cpu" else "resnet50"
    convolutional: dict[str, list[Regularizer]] = {
        "without": [],
        "cutmix": [CutMix()],
        "cutmix, per sample": [CutMix(per_sample=True)],
        "mixup": [Mixup()],
        "manifold-mixup": [ManifoldMixup(layers=("layer1", "layer2"))],
        "feature-cutmix": [FeatureCutMix(layers=("layer1", "layer2"))],
        "cutout": [Cutout(size=size // 2)],
        "has": [HideAndSeek(sizes=(0, size // 8, size // 4))],
        "label-smoothing": [LabelSmoothing()],
        "stochastic-depth": [StochasticDepth()],
        "dropblock": [DropBlock(block_size=4)],
        "shakedrop": [ShakeDrop()],
        "resizemix": [ResizeMix()],
        "fmix": [FMix()],
        "gridmix": [GridMix()],
        "smoothmix": [SmoothMix()],
        "ricap": [RICAP()],
        "saliencymix": [SaliencyMix()],
        "random-erasing": [RandomErasing(prob=1.0)],
        "gridmask": [GridMask(period=(size // 2, size), prob=1.0)],
        "either": [Either()],
        "attentive-cutmix": [AttentiveCutMix(extractor=None, layer="layer2")],
        "snapmix": [SnapMix()],
        "puzzlemix": [PuzzleMix()],
        "co-mixup": [CoMixup()],
        "regmixup": [RegMixup()],
        "augmix": [AugMix()],
    }
    transformer: dict[str, list[Regularizer]] = {
        "without": [],
        "cutmix": [CutMix()],
        "transmix": [TransMix()],
        "tokenmix": [TokenMix()],
    }
    for network, variants in ((arch, convolutional), ("vit_tiny_patch16_224", transformer)):
        chosen = {name: one for name, one in variants.items() if not only or name in ("without", *only)}
        if len(chosen) > 1:
            compare(network, size, batch, device, precision, repeats, chosen, clock)


def compare(
    arch: str,
    size: int,
    batch: int,
    device: torch.device,
    precision: str,
    repeats: int,
    variants: dict[str, list[Regularizer]],
    clock: Callable[[], float],
) -> None:
    """Time the steps of one network and print the ratios."""
    steps = {
        name: make_steps(arch, size, batch, device, precision, chosen) for name, chosen in variants.items()
    }
    print(f"{arch} at {size} px, {repeats} rounds", flush=True)
    finish = waiter(device.type)
    whole = take_turns(
        {name: step.whole for name, step in steps.items()}, repeats, finish=finish, clock=clock
    )
    on_the_batch = {
        name: steps[name].batch_and_loss
        for name, chosen in variants.items()
        if not any(one.acts_on_network() for one in chosen)
    }
    alone = take_turns(on_the_batch, repeats, finish=finish, clock=clock)
    base, base_alone = spread(whole["without"]), spread(alone["without"])
    for name, found in whole.items():
        line = f"  {name:<18} {spread(found).scaled(1e3).text('ms')}"
        chosen = variants[name]
        # An aim for mixers alone that need neither a further pass nor further views.
        mixes = any(one.stage in ("mix", "features") and one.views == 1 for one in chosen) and not any(
            one.stage == "mix" and one.acts_on_network() and one.name != "transmix" for one in chosen
        )
        if name != "without":
            line += f"   {report(ratios(found, whole['without']), AIM[device.type] if mixes else 'none')}"
        if name != "without" and name in alone:
            added = spread(alone[name]).median - base_alone.median
            line += f"; timed alone {1e3 * added:+.2f} ms = {added / base.median:+.2%} of a step"
        print(line)


def make_steps(
    arch: str, size: int, count: int, device: torch.device, precision: str, regularizers: list[Regularizer]
) -> Steps:
    """The step of the training loop for one network of its own."""
    classes = CLASSES[size]
    torch.manual_seed(0)
    patches = {"img_size": size, "patch_size": size // 8} if arch.startswith("vit") else {}
    net = build_net(arch, classes, patches)
    settings = {**native_config(arch, net), "input_size": (size, size)}
    card = BackboneCard(name=arch, source=arch, arch=arch, classes=[], **settings)
    accelerator = Accelerator(
        cpu=device.type == "cpu", mixed_precision="bf16" if precision == "bf16" else "no"
    )
    backbone = to_device(finish(net, card), device)
    network = Network(backbone.net, arch, (size, size), backbone)
    for regularizer in regularizers:
        regularizer.install(network)
    own = (regularizer.criterion(network) for regularizer in regularizers)
    criterion = next((loss for loss in own if loss is not None), F.cross_entropy)
    views = math.prod(regularizer.views for regularizer in regularizers)
    sgd = torch.optim.SGD(backbone.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    model, optimizer = accelerator.prepare(backbone, sgd)
    model.train()
    images = torch.rand(count, 3, size, size, device=device)
    labels = torch.randint(classes, (count,), device=device)
    logits = torch.randn(count * views, classes, device=device, requires_grad=True)
    fill = torch.tensor(card.mean)
    number = 0

    def batch() -> tuple[Tensor, Tensor]:
        nonlocal number
        number += 1
        key = derive_seed(0, number)
        torch.manual_seed(key)
        generator = torch.Generator().manual_seed(key)
        mixed, targets = regularise(
            regularizers, images, labels, classes, generator, fill, progress=1.0, network=network
        )
        return mixed.contiguous(memory_format=torch.channels_last), targets

    def whole() -> None:
        mixed, targets = batch()
        loss = criterion(model(mixed).float(), targets)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        optimizer.step()

    def batch_and_loss() -> None:
        _, targets = batch()
        criterion(logits, targets).backward()

    return Steps(whole, batch_and_loss)


if __name__ == "__main__":
    main()
