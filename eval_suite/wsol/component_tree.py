"""The connected regions of every threshold of an 8-bit map, in one pass (compiled by numba at first use)."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# The ring around a pixel, clockwise from the upper left: bit i of a ring code is set where neighbour i is inside.
_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


class Regions(NamedTuple):
    """Regions of the upper level sets {map > t}: each (k,) region exists, unchanged, for t in [first, last].

    ``boxes`` (k, 4) x0 y0 x1 y1 with both corners inside. ``area`` (k,) is twice the area of the polygon through
    the centres of a region's outermost pixels, less that of its holes; ``holes`` (k,) is the number of holes.
    """

    boxes: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    area: NDArray[np.int32]
    holes: NDArray[np.int32]


def upper_regions(map8: NDArray[np.uint8], *, diagonal: bool) -> Regions:
    """All regions of all upper level sets of a map (its max-tree), by union-find over pixels from high to low.

    Args:
        map8: (H, W).
        diagonal: whether pixels that touch at a corner belong together. ``area`` and ``holes`` are right with it only.

    Reference: Najman and Couprie, IEEE TIP 2006.
    """
    found = np.empty((map8.size, 8), np.int32)
    count = _grow(np.ascontiguousarray(map8), _CONTACTS[int(diagonal)], _AREA, _EULER, found)
    columns = found[:count].T
    return Regions(found[:count, :4], columns[4], columns[5], columns[6], 1 - columns[7])


@njit("i8(u1[:,::1], u1[::1], i1[::1], i1[::1], i4[:,::1])", cache=True, nogil=True)
def _grow(map8, contacts, area_change, euler_change, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    height, width = map8.shape
    stride = width + 2
    # Pixels in order of falling value, as places in the padded map.
    start = np.zeros(257, np.int32)
    for y in range(height):
        for x in range(width):
            start[256 - map8[y, x]] += 1
    for i in range(1, 257):
        start[i] += start[i - 1]
    fill = start.copy()
    order = np.empty(height * width, np.int32)
    for y in range(height):
        for x in range(width):
            slot = 255 - map8[y, x]
            order[fill[slot]] = (y + 1) * stride + x + 1
            fill[slot] += 1
    steps = np.array([-stride - 1, -stride, -stride + 1, 1, stride + 1, stride, stride - 1, -1], np.int32)
    parent = np.full((height + 2) * stride, -1, np.int32)
    state = np.empty(
        ((height + 2) * stride, 8), np.int32
    )  # of a root: x0, y0, x1, y1, area, euler, node, pixels
    nodes = 0
    for value in range(255, 0, -1):
        begin, end = start[255 - value], start[256 - value]
        for i in range(begin, end):
            place = order[i]
            code = 0
            for k in range(8):
                if parent[place + steps[k]] >= 0:
                    code |= 1 << k
            y, x = place // stride - 1, place % stride - 1
            meets = contacts[code]
            root = -1
            for k in range(8):
                if not meets & (1 << k):
                    continue
                other = place + steps[k]
                while parent[other] != other:
                    parent[other] = parent[parent[other]]
                    other = parent[other]
                if other == root:
                    continue
                if state[other, 6] >= 0:
                    found[state[other, 6], 4] = value
                    state[other, 6] = -1
                if root < 0:
                    root = other
                    continue
                if state[other, 7] > state[root, 7]:
                    root, other = other, root
                parent[other] = root
                state[root, 0] = min(state[root, 0], state[other, 0])
                state[root, 1] = min(state[root, 1], state[other, 1])
                state[root, 2] = max(state[root, 2], state[other, 2])
                state[root, 3] = max(state[root, 3], state[other, 3])
                state[root, 4] += state[other, 4]
                state[root, 5] += state[other, 5]
                state[root, 7] += state[other, 7]
            if root < 0:
                root = place
                state[root, 0] = state[root, 2] = x
                state[root, 1] = state[root, 3] = y
                state[root, 4] = state[root, 5] = state[root, 7] = 0
                state[root, 6] = -1
            else:
                state[root, 0] = min(state[root, 0], x)
                state[root, 1] = min(state[root, 1], y)
                state[root, 2] = max(state[root, 2], x)
                state[root, 3] = max(state[root, 3], y)
            parent[place] = root
            state[root, 4] += area_change[code]
            state[root, 5] += euler_change[code]
            state[root, 7] += 1
        for i in range(begin, end):
            root = order[i]
            while parent[root] != root:
                root = parent[root]
            if state[root, 6] < 0:
                state[root, 6] = nodes
                for k in range(4):
                    found[nodes, k] = state[root, k]
                found[nodes, 4] = 0
                found[nodes, 5] = value - 1
                found[nodes, 6] = state[root, 4]
                found[nodes, 7] = state[root, 5]
                nodes += 1
    return nodes


def _ring_tables() -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.int8]]:
    """For each ring code: one neighbour of every region that a new pixel joins, and what it adds to area and Euler number.

    A 2x2 block adds 2 to twice the area when all four pixels are inside and 1 when three are. The Euler number with
    corner contacts is (blocks of one - blocks of three - 2 diagonal blocks) / 4 (Gray, 1971).
    """
    contacts = np.zeros((2, 256), np.uint8)
    area, euler = np.zeros(256, np.int8), np.zeros(256, np.int8)
    for code in range(256):
        inside = [bool(code >> k & 1) for k in range(8)]
        for diagonal in (False, True):
            contacts[int(diagonal), code] = _contacts(inside, diagonal)
        quarters = 0
        for corner in (0, 2, 4, 6):
            trio = [inside[corner - 1], inside[corner], inside[(corner + 1) % 8]]
            area[code] += (0, 0, 1, 1)[sum(trio)]
            before, after = _euler_quarters(trio, False), _euler_quarters(trio, True)
            quarters += after - before
        euler[code] = quarters // 4
    return contacts, area, euler


def _contacts(inside: list[bool], diagonal: bool) -> int:
    """Bits of one neighbour of each region around a pixel that it touches, as the ring alone joins them."""
    if diagonal:
        # A side hangs together with the corner before it and, across that corner, with the side before.
        begins = [k for k in range(8) if inside[k] and not inside[k - 1] and not (k % 2 and inside[k - 2])]
        whole = inside[1]
    else:
        # Only sides touch the centre, and two of them hang together through the corner between them.
        begins = [k for k in (1, 3, 5, 7) if inside[k] and not (inside[k - 1] and inside[k - 2])]
        whole = all(inside)
    # A closed ring begins nowhere.
    return sum(1 << k for k in begins) or (1 << 1 if whole else 0)


def _euler_quarters(trio: list[bool], centre: bool) -> int:
    count = sum(trio) + centre
    if count == 2:
        diagonal = (centre and trio[1]) or (not centre and trio[0] and trio[2])
        return -2 if diagonal else 0
    return (0, 1, 0, -1, 0)[count]


_CONTACTS, _AREA, _EULER = _ring_tables()
