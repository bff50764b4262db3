"""The report of a large study: its processor seconds, peak memory and bytes, from records of a finished suite multiplied.

Each task's record of one backbone is taken many times over with other values, and per-item outcomes of as many items as
asked for: the page holds what so many evaluations would give. Run the demo first, or name another report folder.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import options

AIM_SECONDS, AIM_GIB, AIM_MB = 60, 2, 8
# Writes the page in a process of its own, whose peak memory is then its alone.
_WRITE = "import sys; from eval_suite.report.render import write_report; write_report(sys.argv[1])"


def main() -> None:
    parser = options(__doc__, repeats=1, device=False)
    parser.add_argument(
        "--records", type=Path, default=Path("reports/demo"), help="report folder to multiply"
    )
    parser.add_argument("--backbones", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--items", type=int, default=50_000, help="per-item outcomes of each record")
    arguments = parser.parse_args()
    models = list(representatives(arguments.records / "results"))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder)
        multiply(models, report, arguments.backbones, arguments.seeds, arguments.items)
        for _ in range(arguments.repeats):
            begin, spent = time.perf_counter(), processor_seconds()
            one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            subprocess.run([sys.executable, "-c", _WRITE, folder], check=True, env=os.environ | one_thread)
            seconds, clock = processor_seconds() - spent, time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        page = (report / "index.html").stat().st_size / 1e6
    print(
        f"report of {arguments.backbones} backbones x {arguments.seeds} seeds x {len(models)} tasks, "
        f"{arguments.items:,} items each, one thread: {seconds:.1f} processor seconds (aim <= {AIM_SECONDS}), "
        f"{clock:.1f} s on the clock, "
        f"{peak:.2f} GiB (aim <= {AIM_GIB}), page {page:.1f} MB (aim <= {AIM_MB})"
    )


def processor_seconds() -> float:
    """Of the processes that ended so far."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def representatives(results: Path) -> list[Path]:
    """One complete record of each task."""
    found: dict[str, Path] = {}
    for path in sorted(results.glob("*-s*/*.json")):
        if json.loads(path.read_text("utf-8"))["status"] == "complete":
            found.setdefault(path.stem, path)
    if not found:
        sys.exit(f"expected complete records in {results}, found none; `eval-suite run demo` makes them")
    return list(found.values())


def multiply(records: list[Path], report: Path, backbones: int, seeds: int, items: int) -> None:
    """Write a report folder in which every backbone and seed has a record like each of these."""
    rng = np.random.default_rng(0)
    names = ["baseline", *(f"backbone-{i:02}" for i in range(1, backbones))]
    suite = {
        "name": "large",
        "baseline": "baseline",
        "backbones": names,
        "seeds": list(range(seeds)),
        "tasks": [path.stem for path in records],
    }
    (report / "suite.json").write_text(json.dumps(suite), "utf-8")
    for source in records:
        record = json.loads(source.read_text("utf-8"))
        stored = source.parent / (record["files"]["outcomes"] or "")
        outcomes = dict(np.load(stored)) if stored.is_file() else {}
        for name in names:
            for seed in range(seeds):
                folder = report / "results" / f"{name}-s{seed}"
                write_copy(record, outcomes, source, folder, (name, seed, items), rng)


def write_copy(
    record: dict[str, Any],
    outcomes: dict[str, np.ndarray],
    source: Path,
    folder: Path,
    cell: tuple[str, int, int],
    rng: np.random.Generator,
) -> None:
    """One record with values of its own, its outcomes and its pictures."""
    from eval_suite.core.records import Metric

    name, seed, items = cell
    copy = json.loads(json.dumps(record))
    copy["backbone"]["name"], copy["run"]["seed"] = name, seed
    (folder / source.stem).mkdir(parents=True)
    means = {}
    if outcomes:
        chosen = rng.integers(0, len(outcomes["ids"]), size=items)
        arrays = {key: values[chosen] for key, values in outcomes.items() if key != "ids"}
        means = {key: float(values.mean()) for key, values in arrays.items()}
        np.savez(folder / copy["files"]["outcomes"], ids=np.arange(items).astype(str), **arrays)
        copy["data"].update(n_available=items, n_requested=items, n_scored=items, n_failed=0)
    for metric in copy["metrics"]:
        if metric["value"] is None or metric["subset"] is not None:
            continue
        id_ = Metric(**metric).id
        metric["n"] = items if id_ in means else metric["n"]
        metric["value"] = means.get(id_, metric["value"] * rng.uniform(0.9, 1.0))
        metric["interval"] = None if metric["interval"] is None else [metric["value"], metric["value"]]
    for example in copy["examples"]:
        picture = folder / example["image"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        os.link(source.parent / example["image"], picture)
    (folder / f"{source.stem}.json").write_text(json.dumps(copy), "utf-8")


if __name__ == "__main__":
    main()
