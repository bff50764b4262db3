"""What a second process brings: images per second of two that train together against twice those of one.

Each process has one thread and its own 64 images a step, so that the work per process stays the same. A step is that of
the training loop on a batch in memory; with CutMix, processes exchange the pasted pixels beside the gradients.
"""

import argparse
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timing import ratios, report, spread

from eval_suite.backbones.building import build_net
from eval_suite.core.runtime import derive_seed, first_process
from eval_suite.training.regularizers import CutMix, Regularizer, Shard, regularise

BATCH, CLASSES, STEPS, WARM_UP = 64, 100, 12, 3
REGULARIZERS: dict[str, list[Regularizer]] = {"without": [], "cutmix": [CutMix()]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds")
    parser.add_argument("--arch", default="resnet56_cifar")
    parser.add_argument("--worker", choices=tuple(REGULARIZERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.arch, REGULARIZERS[arguments.worker])
        return
    for name in REGULARIZERS:
        one, two = [], []
        for _ in range(arguments.repeats):
            one.append(measured(arguments.arch, name, 1))
            two.append(measured(arguments.arch, name, 2))
        print(
            f"{arguments.arch}, {name}: one process {spread(one).text('images/s', 0)}, two {spread(two).text('images/s', 0)}"
        )
        print(
            f"  two against twice one: {report(ratios(two, [2 * speed for speed in one]), '>= 0.9')}",
            flush=True,
        )


def measured(arch: str, regularizer: str, processes: int) -> float:
    """Images per second of so many processes together."""
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    call = [*launch, __file__, "--arch", arch, "--worker", regularizer]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def work(arch: str, regularizers: list[Regularizer]) -> None:
    """What each process does; the first prints the images per second of all."""
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    share = Shard(accelerator.process_index, accelerator.num_processes)
    net = build_net(arch, CLASSES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    model, optimizer = accelerator.prepare(net, sgd)
    images, labels = torch.rand(BATCH, 3, 32, 32), torch.randint(CLASSES, (BATCH,))
    begin = 0.0
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            accelerator.wait_for_everyone()
            begin = time.perf_counter()
        generator = torch.Generator().manual_seed(derive_seed(0, step, 1))
        mixed, targets = regularise(
            regularizers, images.clone(), labels, CLASSES, generator, torch.zeros(3), share=share
        )
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(F.cross_entropy(model(mixed), targets))
        optimizer.step()
    accelerator.wait_for_everyone()
    if first_process():
        print(share.world * BATCH * STEPS / (time.perf_counter() - begin))


if __name__ == "__main__":
    main()
