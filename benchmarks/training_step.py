"""What a regularizer adds to a training step: with CutMix, Mixup or Cutout against without any.

A step is what the training loop does with a batch that is already on the device: regularise, forward, cross entropy
on soft or hard targets, backward, SGD. Every step is regularised (probability 1), the dearest case. Beside the ratio
of whole steps stands the cost of the parts that differ, timed without the network: on a busy machine it is the
steadier figure.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timing import options, ratios, report, spread, take_turns, waiter
from torch import Tensor

from eval_suite.backbones.inference import place
from eval_suite.backbones.sources import build_net, finish, native_config
from eval_suite.core.records import BackboneCard
from eval_suite.core.runtime import RuntimeOptions, derive_seed
from eval_suite.training.regularizers import CutMix, Cutout, Mixup, Regularizer, regularise

BATCH = 64
CLASSES = {32: 100, 224: 1000}
AIM = {"cpu": "<= 1.03", "cuda": "<= 1.02"}

Step = Callable[[list[Regularizer]], None]


class Steps(NamedTuple):
    """The whole training step, and the part of it that a regularizer changes: batch and loss without the network."""

    whole: Step
    batch_and_loss: Step


def main() -> None:
    parser = options(__doc__, repeats=None)
    parser.add_argument("--sizes", type=int, nargs="+", choices=tuple(CLASSES), default=list(CLASSES))
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    print(
        f"training step, batch {BATCH}, {device.type}, {torch.get_num_threads()} threads, {arguments.precision}"
    )
    for size in arguments.sizes:
        repeats = arguments.repeats or (5 if size == 224 and device.type == "cpu" else 40)
        measure(size, device, arguments.precision, repeats)


def measure(size: int, device: torch.device, precision: str, repeats: int) -> None:
    """Time the steps at one image size and print the ratios."""
    arch = "resnet20_cifar" if size == 32 else "resnet18" if device.type == "cpu" else "resnet50"
    variants: dict[str, list[Regularizer]] = {
        "without": [],
        "CutMix": [CutMix()],
        "Mixup": [Mixup()],
        "Cutout": [Cutout(size=size // 2)],
    }
    steps = make_steps(arch, size, device, precision)
    print(f"{arch} at {size} px, {repeats} rounds", flush=True)
    whole, alone = (
        take_turns(
            {name: partial(step, chosen) for name, chosen in variants.items()},
            repeats,
            finish=waiter(device.type),
        )
        for step in steps
    )
    base, base_alone = spread(whole["without"]), spread(alone["without"])
    for name, found in whole.items():
        line = f"  {name:<8} {spread(found).scaled(1e3).text('ms')}"
        if name != "without":
            added = spread(alone[name]).median - base_alone.median
            line += f"   {report(ratios(found, whole['without']), AIM[device.type])}"
            line += f"; timed alone {1e3 * added:+.2f} ms = {added / base.median:+.2%} of a step"
        print(line)


def make_steps(arch: str, size: int, device: torch.device, precision: str) -> Steps:
    """The step of the training loop for one network, as functions of the regularizers."""
    classes = CLASSES[size]
    net = build_net(arch, classes)
    settings = {**native_config(arch, net), "input_size": (size, size)}
    card = BackboneCard(name=arch, source=arch, arch=arch, classes=[], **settings)
    accelerator = Accelerator(
        cpu=device.type == "cpu", mixed_precision="bf16" if precision == "bf16" else "no"
    )
    backbone = place(finish(net, card), device)
    sgd = torch.optim.SGD(backbone.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    model, optimizer = accelerator.prepare(backbone, sgd)
    model.train()
    images = torch.rand(BATCH, 3, size, size, device=device)
    labels = torch.randint(classes, (BATCH,), device=device)
    logits = torch.randn(BATCH, classes, device=device, requires_grad=True)
    fill = torch.tensor(card.mean)
    number = 0

    def batch(regularizers: list[Regularizer]) -> tuple[Tensor, Tensor]:
        nonlocal number
        number += 1
        key = derive_seed(0, number)
        torch.manual_seed(key)
        generator = torch.Generator().manual_seed(key)
        mixed, targets = regularise(regularizers, images, labels, classes, generator, fill)
        return mixed.contiguous(memory_format=torch.channels_last), targets

    def whole(regularizers: list[Regularizer]) -> None:
        mixed, targets = batch(regularizers)
        loss = F.cross_entropy(model(mixed).float(), targets)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        optimizer.step()

    def batch_and_loss(regularizers: list[Regularizer]) -> None:
        _, targets = batch(regularizers)
        F.cross_entropy(logits, targets).backward()

    return Steps(whole, batch_and_loss)


if __name__ == "__main__":
    main()
