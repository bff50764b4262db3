"""Labellings of a grid that no swap of two labels makes cheaper (compiled by numba at first use)."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.data.compiling import compiled

# Rows and columns to the neighbours, in pairs that face each other.
_SIDES = np.array([[1, -1, 0, 0], [0, 0, 1, -1]])


def swap_labels(
    unary: NDArray[np.int64], differ: NDArray[np.int64], *, rounds: int = 1000
) -> NDArray[np.int64]:
    """Labels (b, b) of a grid's cells after alpha-beta swaps, each exact, until a round of all pairs gains nothing.

    Cells begin with label 0. A pair's cells that cost the same either way get the lower of the two.

    Args:
        unary: (b, b, L) cost of each label in each cell.
        differ: (L, L) cost of two labels side by side, symmetric, 0 on its diagonal.
        rounds: at most.

    Reference: Boykov, Veksler and Zabih, "Fast approximate energy minimization via graph cuts", PAMI 2001; the order of the
    pairs is that of their GCoptimization library.
    """
    height, width, _ = unary.shape
    neighbours = _neighbours(height, width)
    labels = np.zeros(height * width, np.int64)
    flat = np.ascontiguousarray(unary.reshape(height * width, -1))
    _swap_all(flat, np.ascontiguousarray(differ), neighbours, labels, rounds)
    return labels.reshape(height, width)


def _neighbours(height: int, width: int) -> NDArray[np.int64]:
    """(cells, 4) neighbours of each cell, -1 beyond the border."""
    rows, columns = np.divmod(np.arange(height * width), width)
    down, right = rows[:, None] + _SIDES[0], columns[:, None] + _SIDES[1]
    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
    return np.where(inside, down * width + right, -1)


@compiled("i8(i8[:,::1], i8[:,::1], i8[:,::1], i8[::1])")
def _energy(unary, differ, neighbours, labels):  # type: ignore[no-untyped-def]  # pragma: no cover
    total = 0
    for cell in range(len(labels)):
        total += unary[cell, labels[cell]]
        for side in (0, 2):
            other = neighbours[cell, side]
            if other >= 0:
                total += differ[labels[cell], labels[other]]
    return total


@compiled("b1[::1](i8[::1], i8[::1], i8[:,::1], i8[:,::1])")
def _cut(source, sink, capacity, neighbours):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The cells that still reach the sink once no more flows from the source; the capacities (cells, ...) are used up."""
    cells = len(source)
    towards, queue = np.empty(cells, np.int64), np.empty(cells, np.int64)
    while True:
        towards[:] = -1
        head, tail, found = 0, 0, -1
        for cell in range(cells):
            if sink[cell] > 0:
                towards[cell], queue[tail] = 4, cell
                tail += 1
        while head < tail:
            cell = queue[head]
            head += 1
            if source[cell] > 0:
                found = cell
                break
            for side in range(4):
                other = neighbours[cell, side]
                # Sides face each other in pairs: the way back is the other of the pair.
                if other >= 0 and towards[other] < 0 and capacity[other, side ^ 1] > 0:
                    towards[other], queue[tail] = side ^ 1, other
                    tail += 1
        if found < 0:
            return towards >= 0
        flow, cell = source[found], found
        while towards[cell] != 4:
            flow = min(flow, capacity[cell, towards[cell]])
            cell = neighbours[cell, towards[cell]]
        flow = min(flow, sink[cell])
        sink[cell] -= flow
        source[found] -= flow
        cell = found
        while towards[cell] != 4:
            side = towards[cell]
            capacity[cell, side] -= flow
            cell = neighbours[cell, side]
            capacity[cell, side ^ 1] += flow


@compiled("void(i8[:,::1], i8[:,::1], i8[:,::1], i8[::1], i8, i8)")
def _swap(unary, differ, neighbours, labels, low, high):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Give each cell of two labels the one or the other, at the least cost: a minimum cut, whose sink's side is ``high``."""
    cells = len(labels)
    source, sink = np.zeros(cells, np.int64), np.zeros(cells, np.int64)
    capacity = np.zeros((cells, 4), np.int64)
    taking_part = (labels == low) | (labels == high)
    for cell in range(cells):
        if not taking_part[cell]:
            continue
        of_low, of_high = unary[cell, low], unary[cell, high]
        for side in range(4):
            other = neighbours[cell, side]
            if other < 0:
                continue
            if taking_part[other]:
                capacity[cell, side] = differ[low, high]
            else:
                of_low += differ[low, labels[other]]
                of_high += differ[high, labels[other]]
        least = min(of_low, of_high)
        source[cell], sink[cell] = of_high - least, of_low - least
    reaches = _cut(source, sink, capacity, neighbours)
    for cell in range(cells):
        if taking_part[cell]:
            labels[cell] = high if reaches[cell] else low


@compiled("void(i8[:,::1], i8[:,::1], i8[:,::1], i8[::1], i8)")
def _swap_all(unary, differ, neighbours, labels, rounds):  # type: ignore[no-untyped-def]  # pragma: no cover
    count = unary.shape[1]
    shown = np.zeros(count, np.int64)
    for label in labels:
        shown[label] += 1
    before = _energy(unary, differ, neighbours, labels)
    for _ in range(rounds):
        for low in range(count):
            for high in range(count - 1, low, -1):
                if shown[low] + shown[high]:
                    _swap(unary, differ, neighbours, labels, low, high)
                    shown[low] = shown[high] = 0
                    for label in labels:
                        if label in (low, high):
                            shown[label] += 1
        now = _energy(unary, differ, neighbours, labels)
        if now >= before:
            return
        before = now
