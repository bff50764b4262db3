"""A made-up suite on disk, written through the project's own records."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.cards import BackboneCard, LoadReport
from eval_suite.core.records import (
    Curve,
    DataInfo,
    ErrorInfo,
    Example,
    Files,
    GitState,
    Metric,
    Paper,
    Record,
    RunInfo,
    TaskInfo,
    metric_id,
)
from eval_suite.core.schema1 import identity
from eval_suite.core.store import write_json, write_record


def id_of(name: str) -> str:
    """The identity of a metric that is shown by these words."""
    return metric_id(*identity(name))


def metric_named(name: str, value: float | None, **fields: Any) -> Metric:
    """The metric that is shown by these words."""
    key, params = identity(name)
    return Metric(
        key=key, params=params, name=name, value=value, **{"higher_is_better": False, "n": 400, **fields}
    )


TOP1, TOP5, ECE = "Top-1 error", "Top-5 error", "ECE (15 equal-width bins)"
CLASSES = ["lynx", "stag", "newt"]
PAPER = Paper("A Paper", "ICCV", 2019, "https://arxiv.org/abs/1905.04899")
N = 400


def errors(rate: float, n: int = N, shift: int = 0) -> NDArray[np.float64]:
    """Per-item errors: the first ``rate * n`` items are wrong, after a shift."""
    return np.roll((np.arange(n) < round(rate * n)).astype(float), shift)


def png(shade: int) -> bytes:
    """A 24 x 24 grey picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes([(shade + 5 * y) % 256] * 24) for y in range(24))
    head = struct.pack(">IIBBBBB", 24, 24, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class FakeSuite:
    """Writes records, their outcomes and pictures the way a run leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def describe(self, **fields: Any) -> None:
        write_json(self.folder / "suite.json", {"name": self.folder.name, **fields})

    def card(self, backbone: str, seed: int) -> BackboneCard:
        history = [
            {
                "epoch": epoch,
                "lr": 0.1 if epoch < 6 else 0.01,
                "train_loss": 2.0 / epoch + 0.05 * seed,
                "top1_error": 0.2 + 0.5 / epoch + 0.02 * (epoch % 2),
                "top5_error": 0.1 / epoch,
                "seconds": 3.25,
            }
            for epoch in range(1, 11)
        ]
        regularizers = [] if backbone == "baseline" else [{backbone: {"alpha": 1.0, "p": 0.5}}]
        return BackboneCard(
            name=backbone,
            source=f"checkpoints/demo/{backbone}-s{seed}",
            arch="resnet18",
            classes=CLASSES,
            input_size=(64, 64),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            parameters=11_689_512,
            feature_layer="layer4",
            weights_sha256="ab12" * 16,
            load=LoadReport(matched=122),
            recipe={"arch": "resnet18", "epochs": 10, "lr": 0.1, "regularizers": regularizers},
            training={"epochs": 10, "last": history[-1], "best": history[-2], "history": history},
        )

    def add(
        self,
        backbone: str,
        seed: int = 0,
        *,
        wrong: NDArray[np.float64] | None = None,
        task: str = "classify",
        status: str = "complete",
        ids: list[str] | None = None,
        sha256: str = "d" * 64,
        outcomes: bool = True,
        examples: list[Example] | None = None,
        card: BackboneCard | None = None,
        options: dict[str, Any] | None = None,
        protocol: dict[str, list[dict[str, Any]]] | None = None,
        **changes: Any,
    ) -> Path:
        """Write one record; returns its path."""
        wrong = errors(0.25) if wrong is None else wrong
        n, rate = len(wrong), float(np.mean(wrong))
        path = self.folder / "results" / f"{backbone}-s{seed}" / f"{task}.json"
        names = ids or [f"image-{index:04d}" for index in range(n)]
        (path.parent / task).mkdir(parents=True, exist_ok=True)
        if outcomes:
            values = {
                id_of(TOP1): wrong,
                id_of(TOP5): wrong * (np.arange(n) % 3 == 0),
                "nll": 0.4 + 1.5 * wrong,
            }
            np.savez(path.parent / task / "outcomes.npz", ids=np.array(names), **values)
        per_class = [
            metric_named(
                "Accuracy",
                value=max(0.0, 1 - rate - 0.1 * k),
                higher_is_better=True,
                n=n // 3,
                subset=name,
            )
            for k, name in enumerate(CLASSES)
        ]
        top5 = float(np.mean(wrong * (np.arange(n) % 3 == 0)))
        metrics = [
            _metric(TOP1, rate, n, (max(0.0, rate - 0.04), min(1.0, rate + 0.04))),
            _metric(TOP5, top5, n, (max(0.0, top5 - 0.02), min(1.0, top5 + 0.02))),
            _metric("NLL", 0.4 + 1.5 * rate, n, None, unit="nats"),
            _metric(ECE, 0.03 + rate / 10, n, None),
            _metric("Mean per-class accuracy", 1 - rate, n, None, higher=True),
            *per_class,
        ]
        bins = [(index + 0.5) / 15 for index in range(15)]
        bent = [None if index < 3 else x ** (1 + rate) for index, x in enumerate(bins)]
        failed = status == "failed"
        data = DataInfo(
            name="demo",
            split="test",
            n_available=n if status == "complete" else max(N, n),
            n_requested=n,
            n_scored=n,
            n_failed=0,
            sha256=sha256,
        )
        record = Record(
            status=status,
            task=TaskInfo(
                name=task,
                version=1,
                options={"data": "folder:demo", "limit": None, **(options or {})},
                protocol=protocol or {},
                paper=PAPER,
            ),
            backbone=card or self.card(backbone, seed),
            data=None if failed else data,
            metrics=[] if failed else metrics,
            curves=[]
            if failed
            else [
                Curve(
                    name="Reliability diagram", x=bins, y=bent, x_label="Mean confidence", y_label="Accuracy"
                )
            ],
            examples=examples or [],
            files=Files(outcomes=f"{task}/outcomes.npz" if outcomes and not failed else None),
            run=RunInfo(
                started=f"2026-03-0{1 + seed}T10:00:00+00:00",
                seconds={"predict": 12.5, "score": 0.8},
                device="cpu",
                precision="fp32",
                seed=seed,
                command=f"eval-suite {task} --suite demo --backbone {backbone} --seed {seed}",
                git=GitState(commit="0123456789abcdef", dirty=False),
                versions={"python": "3.11.7", "torch": "2.11.0"},
            ),
            error=ErrorInfo(type="ValueError", message="the loss\nran away") if failed else None,
        )
        write_record(path, record.model_copy(update=changes))
        return path

    def picture(
        self, backbone: str, name: str, *, seed: int = 0, task: str = "classify", alt: str = ""
    ) -> Example:
        """Write a picture beside a record and return the example that names it."""
        path = self.folder / "results" / f"{backbone}-s{seed}" / task / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(sum(map(ord, backbone + name)) % 256))
        return Example(image=f"{task}/{name}", alt=alt or name, caption=f"as {backbone} sees it")


def _metric(
    name: str,
    value: float,
    n: int,
    interval: tuple[float, float] | None,
    unit: str = "fraction",
    higher: bool = False,
) -> Metric:
    method = "Wilson" if interval else None
    return metric_named(
        name, value, unit=unit, higher_is_better=higher, n=n, interval=interval, method=method
    )
