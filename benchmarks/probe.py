"""Probes: features of an image folder, k nearest neighbours and the linear solver, each against its limit or a peer.

Features: `cached_features` over JPEG files, with workers that decode and the file written at the end, against forward passes over
batches that are ready on the device. Neighbours: `knn_votes` against the matrix product alone, in the same blocks. Linear: the
torch solver, which a GPU takes, against scikit-learn's, at the same minimum.

With ``--clock cpu`` only this process counts: the features' workers then feed it for nothing, as they do where there are cores for them.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import CLOCKS, options, ratios, report, spread, take_turns, waiter

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net, native_config
from eval_suite.backbones.embedding import embedding_of
from eval_suite.backbones.features import cached_features
from eval_suite.backbones.inference import evaluation_batches, to_device
from eval_suite.core.cards import BackboneCard
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.images import open_images
from eval_suite.tasks.probe.knn import _KEYS, _QUERIES, knn_votes
from eval_suite.tasks.probe.linear import by_torch, logistic

ARCHS = ("vit_small_patch16_224", "resnet50")
PARTS = ("features", "knn", "linear")
K, TEMPERATURE = 20, 0.07


def main() -> None:
    parser = options(__doc__, repeats=3, clocks=True)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--arch", nargs="+", default=ARCHS, help="of timm")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--known", type=int, default=200_000, help="features to search in")
    parser.add_argument("--queries", type=int, default=2_048)
    parser.add_argument("--width", type=int, default=384, help="of a feature")
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    print(
        f"probes, {device.type}, {torch.get_num_threads()} threads, {arguments.clock} time, {arguments.repeats} rounds"
    )
    if "features" in arguments.only:
        for arch in arguments.arch:
            features(arch, arguments, device)
    if "knn" in arguments.only:
        neighbours(arguments, device)
    if "linear" in arguments.only:
        linear(arguments, device)


def compare(
    title: str,
    ours: Callable[[], object],
    other: str,
    theirs: Callable[[], object],
    aim: str,
    arguments: argparse.Namespace,
    device: torch.device,
) -> None:
    """Print the seconds of both, and how many times faster ours is."""
    seconds = take_turns(
        {"eval_suite": ours, other: theirs},
        arguments.repeats,
        warm_up=1,
        finish=waiter(device.type),
        clock=CLOCKS[arguments.clock],
    )
    print(f"  {title}")
    for name, found in seconds.items():
        print(f"    {name:<15} {spread(found).text('s', 2)}")
    print(f"    speed {report(ratios(seconds[other], seconds['eval_suite']), aim)}")


def features(arch: str, arguments: argparse.Namespace, device: torch.device) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder / "images", arguments.images)
        index = open_images(f"folder:{folder / 'images'}")
        net = build_net(arch, 10)
        card = BackboneCard(name=arch, source=arch, arch=arch, classes=[], **native_config(arch, net))
        backbone = to_device(finish(net, card), device)
        of = embedding_of(backbone).of
        runtime = RuntimeOptions(
            device=device.type, batch_size=arguments.batch_size, workers=arguments.workers
        )
        number = iter(range(10_000))

        def streamed() -> object:
            stem = folder / f"features-{next(number)}"
            return cached_features(backbone, index, of, runtime, stem, key={}, strict=True)

        bare = bare_loop(backbone, evaluation_batches(index, card, runtime=runtime, device=device))
        title = f"features of {arguments.images} JPEGs of 500 x 375, {arch}, {arguments.workers} workers"
        compare(title, streamed, "forward passes", bare, ">= 0.95", arguments, device)


def write_images(folder: Path, count: int) -> None:
    """Smooth pictures of a photograph's size, which decode as photographs do, in two classes."""
    for kind in ("even", "odd"):
        (folder / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(
            folder / ("odd" if i % 2 else "even") / f"{i:05d}.jpg", quality=90
        )


def bare_loop(backbone: Backbone, batches: object) -> Callable[[], object]:
    """Forward passes over tensors that are already there."""
    ready = [batch.images for batch in batches]  # type: ignore[attr-defined]

    @torch.inference_mode()
    def run() -> object:
        return [backbone(images) for images in ready]

    return run


def neighbours(arguments: argparse.Namespace, device: torch.device) -> None:
    rng = np.random.default_rng(0)
    known, queries = (
        rng.standard_normal((count, arguments.width), np.float32)
        for count in (arguments.known, arguments.queries)
    )
    labels = rng.integers(0, 1000, arguments.known)
    on_device = torch.from_numpy(queries).to(device)

    def ours() -> object:
        return knn_votes(known, labels, queries, classes=1000, k=K, temperature=TEMPERATURE, device=device)

    def product() -> None:
        for start in range(0, len(known), _KEYS):
            keys = torch.from_numpy(known[start : start + _KEYS]).to(device)
            for first in range(0, len(queries), _QUERIES):
                on_device[first : first + _QUERIES] @ keys.T

    title = f"{K} neighbours of {arguments.queries:,} among {arguments.known:,}, {arguments.width} wide"
    compare(title, ours, "product alone", product, ">= 0.8", arguments, device)


def linear(arguments: argparse.Namespace, device: torch.device) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 4_000)
    means = rng.standard_normal((10, 256))
    x = (0.3 * means[labels] + rng.standard_normal((4_000, 256))).astype(np.float32)
    cpu = torch.device("cpu")
    theirs = logistic(x, labels, 1.0, 10, 1_000, cpu)
    ours, _ = by_torch(x, labels, 1.0, 1_000, device)
    answers = [
        (x @ weight.T + bias).argmax(1)
        for weight, bias in ((ours[:, :-1], ours[:, -1]), (theirs.weight, theirs.bias))
    ]
    off = np.mean(answers[0] != answers[1])
    title = f"logistic regression of 4,000 x 256, 10 classes by torch; {off:.2%} of the items are answered otherwise"
    compare(
        title,
        lambda: by_torch(x, labels, 1.0, 1_000, device),
        "scikit-learn",
        lambda: logistic(x, labels, 1.0, 10, 1_000, cpu),
        ">= 1 on a GPU",
        arguments,
        device,
    )


if __name__ == "__main__":
    main()
