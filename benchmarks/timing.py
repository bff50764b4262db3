"""Side-by-side timing: the contestants take turns, so that a busy machine slows all of them alike."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""The clock on the wall, or what this process used of the CPU: on a busy machine the steadier one for one thread."""


class Spread(NamedTuple):
    """Median, minimum and maximum of repeated measurements."""

    median: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Spread":
        """The same in another unit."""
        return Spread(*(factor * value for value in self))

    def text(self, unit: str, digits: int = 1) -> str:
        """``median unit (low-high)``."""
        return f"{self.median:,.{digits}f} {unit} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median and range of measurements."""
    return Spread(statistics.median(values), min(values), max(values))


def take_turns(
    contestants: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warm_up: int = 2,
    finish: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round.

    Args:
        contestants: what to run, by name; each runs once in a round, and every round starts with the next one.
        repeats: measured rounds.
        warm_up: rounds before them that are not measured.
        finish: waits for work that a contestant only started, such as a GPU's.
        clock: seconds, one of `CLOCKS`.
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            finish()
            begin = clock()
            contestants[name]()
            finish()
            if number >= 0:
                seconds[name].append(clock() - begin)
    return seconds


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """Spread of the ratio, taken within each round."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def waiter(device: str) -> Callable[[], object]:
    """What waits for a device to finish its work."""
    import torch

    return torch.cuda.synchronize if device == "cuda" else lambda: None


def options(
    description: str | None, repeats: int | None, *, device: bool = True, clocks: bool = False
) -> argparse.ArgumentParser:
    """The flags the benchmarks share; ``repeats`` is their default, None where it depends on other flags."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=repeats, help="measured rounds")
    if device:
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
        if clocks:
            text = "seconds on the wall, or of this process on a CPU, for machines that do other work too"
            parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help=text)
    return parser


def report(ratio: Spread, aim: str) -> str:
    """A ratio with the limit aimed at."""
    return f"ratio {ratio.median:.3f} ({ratio.low:.3f}-{ratio.high:.3f}), aim {aim}"
