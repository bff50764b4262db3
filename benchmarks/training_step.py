"""What a regularizer adds to a training step: with CutMix, Mixup or Cutout against without any.

A step is what the training loop does with a batch that is already on the device: regularise, forward, cross entropy
on soft or hard targets, backward, SGD. Every step is regularised (probability 1), the dearest case.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timing import options, ratios, report, spread, take_turns, waiter

from eval_suite.backbones.sources import build_net, finish, native_config
from eval_suite.core.records import BackboneCard
from eval_suite.core.runtime import RuntimeOptions, derive_seed
from eval_suite.training.regularizers import CutMix, Cutout, Mixup, Regularizer, regularise

BATCH = 64
CLASSES = {32: 100, 224: 1000}
AIM = {"cpu": "<= 1.03", "cuda": "<= 1.02"}


def main() -> None:
    parser = options(__doc__, repeats=0)
    parser.set_defaults(repeats=None)
    parser.add_argument("--sizes", type=int, nargs="+", choices=tuple(CLASSES), default=list(CLASSES))
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    torch.backends.cudnn.benchmark = device.type == "cuda"
    print(f"training step, batch {BATCH}, {device.type}, {torch.get_num_threads()} threads, {arguments.precision}")
    for size in arguments.sizes:
        repeats = arguments.repeats or (5 if size == 224 and device.type == "cpu" else 50)
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
    step = make_step(arch, size, device, precision)
    contestants = {name: lambda chosen=chosen: step(chosen) for name, chosen in variants.items()}
    seconds = take_turns(contestants, repeats, finish=waiter(device.type))
    print(f"{arch} at {size} px, {repeats} rounds")
    for name, found in seconds.items():
        line = f"  {name:<8} {spread(found).scaled(1e3).text('ms')}"
        if name != "without":
            line += f"   {report(ratios(found, seconds['without']), AIM[device.type])}"
        print(line)


def make_step(
    arch: str, size: int, device: torch.device, precision: str
) -> Callable[[list[Regularizer]], None]:
    """A function that trains one step with the regularizers it is given."""
    classes = CLASSES[size]
    net = build_net(arch, classes)
    settings = {**native_config(arch, net), "input_size": (size, size)}
    card = BackboneCard(name=arch, source=arch, arch=arch, classes=[], **settings)
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")
    backbone = finish(net, card).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    model, optimizer = accelerator.prepare(backbone, optimizer)
    model.train()
    images = torch.rand(BATCH, 3, size, size, device=device)
    labels = torch.randint(classes, (BATCH,), device=device)
    fill = torch.tensor(card.mean)
    number = 0

    def step(regularizers: list[Regularizer]) -> None:
        nonlocal number
        number += 1
        key = derive_seed(0, number)
        torch.manual_seed(key)
        generator = torch.Generator().manual_seed(key)
        mixed, targets = regularise(regularizers, images, labels, classes, generator, fill)
        mixed = mixed.contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(mixed).float(), targets)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
