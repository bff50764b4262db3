"""The demo's regime: top-1 error of its four rows on worlds of other seeds than the reported one, means over trainings.

Each training has a world of its own: its seed decides the images, the initialisation and the order. What is done stands in
FOLDER/regimes.csv and is not done again, and a stopped training continues, so that a study can be made in pieces.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import eval_suite as es
from eval_suite.demo.layouts import write_images
from eval_suite.demo.world import SIZES
from eval_suite.suite.suite import load_suite

BASELINE = "baseline"


class Regime(NamedTuple):
    """How much is learnt, for how long, and at which side in pixels."""

    images: int
    epochs: int
    side: int

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{self.images} images x {self.epochs} epochs, {self.side} px"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("reports/demo-regimes"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103, 104, 105])
    parser.add_argument("--methods", nargs="+", default=["baseline", "mixup", "cutout", "cutmix"])
    arguments = parser.parse_args()
    table = arguments.folder / "regimes.csv"
    regime = Regime(arguments.images, arguments.epochs, arguments.side)
    for seed in arguments.seeds:
        for method in arguments.methods:
            if (regime.name, seed, method) not in done(table):
                add(table, train(arguments.folder, regime, seed, method))
    print(summary(pd.read_csv(table)))


def done(table: Path) -> set[tuple[str, int, str]]:
    """Regime, seed and method of each row."""
    if not table.exists():
        return set()
    with table.open(newline="") as file:
        return {(row["regime"], int(row["seed"]), row["method"]) for row in csv.DictReader(file)}


def add(table: Path, row: dict[str, object]) -> None:
    """Append a row, below a line of names where it is the first."""
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def train(folder: Path, regime: Regime, seed: int, method: str) -> dict[str, object]:
    """Train a row of the demo in a regime; errors in percent on its own training and validation images."""
    images = folder / "worlds" / f"{seed}-{regime.images}"
    if not (images / "classes.txt").exists():  # written last
        size = SIZES["small"]._replace(train_per_class=regime.images // 10)
        write_images(images, size, seed)
    recipe = load_suite("demo").backbones[method].recipe
    assert recipe is not None
    changes: dict[str, object] = {
        "data": f"folder:{images}",
        "epochs": regime.epochs,
        "input_size": (regime.side, regime.side),
    }
    if method == "cutout":
        changes["regularizers"] = [{"cutout": {"size": regime.side // 2}}]
    recipe = es.Recipe.model_validate(recipe.model_dump() | changes)
    begin = time.process_time()
    out = folder / "checkpoints" / regime.name.replace(" ", "")
    backbone = es.train(recipe, out=out, name=method, seed=seed, threads=1)
    seconds = time.process_time() - begin
    learnt = es.evaluate(backbone, "classify", data=recipe.data, split="train")["top1_error"].value
    assert learnt is not None
    tested = (backbone.card.training or {})["last"]["top1_error"]
    errors = {"train": round(100 * learnt, 2), "val": round(100 * tested, 2)}
    return {"regime": regime.name, "seed": seed, "method": method, **errors, "cpu_seconds": round(seconds)}


def summary(rows: pd.DataFrame) -> str:
    """A Markdown table: mean ± standard deviation over seeds, and of the differences to the baseline of the same seed."""
    lines = [
        "| regime | method | trainings | training error, % | test error, % | against the baseline |",
        "|---|---|---|---|---|---|",
    ]
    for (regime, method), group in rows.groupby(["regime", "method"], sort=False):
        own = rows[(rows.regime == regime) & (rows.method == BASELINE)].set_index("seed").val
        difference = (group.set_index("seed").val - own).dropna()
        wins = f"{mean_sd(difference)}, better on {(difference < 0).sum()} of {len(difference)}"
        against = "" if method == BASELINE else wins
        lines.append(
            f"| {regime} | {method} | {len(group)} | {mean_sd(group.train)} | {mean_sd(group.val)} | {against} |"
        )
    return "\n".join(lines)


def mean_sd(values: pd.Series) -> str:
    """Mean ± standard deviation of a sample, to one digit."""
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
