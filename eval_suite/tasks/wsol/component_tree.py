"""The connected regions of every threshold of an 8-bit map, in one pass (compiled by numba at first use)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.data.compiling import compiled
from eval_suite.tasks.wsol.neighbourhoods import ring_tables

_LONGEST_SIDE = 32_000
_CONTACTS, _AREA, _EULER = ring_tables()


class Regions(NamedTuple):
    """Regions of level sets: each of k exists, unchanged, at the levels t = ``first``..``last`` (k,).

    ``boxes`` (k, 4) x0 y0 x1 y1 with both corners inside. ``area`` (k,) is twice the area of the polygon through
    the centres of a region's outermost pixels, less that of its holes; ``holes`` (k,) is the number of holes.
    """

    boxes: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    area: NDArray[np.int32]
    holes: NDArray[np.int32]


class Winners(NamedTuple):
    """For each of 256 levels the region of largest area, -1 without any, and whether bounds leave that undecided."""

    region: NDArray[np.int32]
    undecided: NDArray[np.bool_]


def upper_regions(map8: NDArray[np.uint8]) -> Regions:
    """All regions of all upper level sets {map > t} of an 8-bit map (H, W), t = 0..254, where pixels may touch at corners."""
    return _regions(map8, framed=False, connectivity=8, lowest=1)


def holes(map8: NDArray[np.uint8], highest_level: int) -> Regions:
    """All regions of all lower level sets {map <= t}, t = 0..highest_level, that touch by their sides and reach no border.

    ``area`` and ``holes`` have no meaning here.
    """
    # A pixel of at most t is one above 254 - t in the inverted map.
    found = _regions(255 - map8, framed=True, connectivity=4, lowest=255 - highest_level)
    return found._replace(first=254 - found.last, last=254 - found.first)


def winners(regions: Regions) -> Winners:
    """The region of largest outline area at every level.

    Without holes that area is ``area``; with some it lies between ``area`` and that of the box.
    """
    sides = regions.boxes[:, 2:] - regions.boxes[:, :2]
    most = np.where(regions.holes == 0, regions.area, 2 * sides[:, 0] * sides[:, 1])
    return Winners(*_winners(regions.first, regions.last, regions.area, most, regions.holes))


def highest(
    first: NDArray[np.int32], last: NDArray[np.int32], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The highest of the values (k,) that are there at each of 256 levels, each at ``first``..``last``; 0 without any."""
    result: NDArray[np.float64] = _highest(first, last, values)
    return result


def _regions(map8: NDArray[np.uint8], *, framed: bool, connectivity: int, lowest: int) -> Regions:
    """The max-tree of a map, by union-find over its pixels from high to low (Najman and Couprie, IEEE TIP 2006).

    Args:
        map8: (H, W), sides of at most 32,000.
        framed: whether to leave out what reaches the map's border.
        connectivity: 4 or 8; the tables of area and Euler number are those of 8.
        lowest: value, at least 1, at which to stop; levels below ``lowest - 1`` are then left out.
    """
    if max(map8.shape) > _LONGEST_SIDE:
        raise ValueError(f"expected a map with sides of at most {_LONGEST_SIDE}, found {map8.shape}")
    height, width = map8.shape
    padded = np.zeros((height + 2, width + 2), np.uint8)
    padded[1:-1, 1:-1] = map8
    stride = width + 2
    ring = np.array([-stride - 1, -stride, -stride + 1, 1, stride + 1, stride, stride - 1, -1])
    # Unsigned, as are all places: numba asks of every signed index whether it counts from the end.
    steps = ring.astype(np.uint64)
    contacts = _CONTACTS[int(connectivity == 8)]
    found = np.empty((map8.size, 8), np.int32)
    count = _grow(padded, steps, framed, contacts, _AREA, _EULER, lowest, found)
    columns = found[:count].T
    return Regions(found[:count, :4], columns[4], columns[5], columns[6], 1 - columns[7])


@compiled("Tuple((u4[::1], i8[::1]))(u1[:,::1])")
def _falling(padded):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Places x | y << 16 within the frame by falling value, and where in that order each value begins."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    start = np.zeros(257, np.int64)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            start[256 - padded[y, x]] += 1
    for i in range(1, 257):
        start[i] += start[i - 1]
    fill = start.copy()
    order = np.empty(height * width, np.uint32)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            slot = 255 - padded[y, x]
            order[fill[slot]] = y << 16 | x
            fill[slot] += 1
    return order, start


@compiled("u1[:,::1](u1[:,::1])")
def _ring_codes(padded):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Which neighbours come before a pixel in that order: bit i for neighbour i, clockwise from the upper left."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    codes = np.empty((height + 1, width + 1), np.uint8)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            own = padded[y, x]
            codes[y, x] = (
                np.uint8(padded[y - 1, x - 1] >= own)
                | np.uint8(padded[y - 1, x] >= own) << 1
                | np.uint8(padded[y - 1, x + 1] >= own) << 2
                | np.uint8(padded[y, x + 1] > own) << 3
                | np.uint8(padded[y + 1, x + 1] > own) << 4
                | np.uint8(padded[y + 1, x] > own) << 5
                | np.uint8(padded[y + 1, x - 1] > own) << 6
                | np.uint8(padded[y, x - 1] >= own) << 7
            )
    return codes


@compiled("i8(u1[:,::1], u8[::1], b1, u1[:,::1], i1[::1], i1[::1], i8, i4[:,::1])")
def _grow(padded, steps, framed, contacts, area_change, euler_change, lowest, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    wide = np.uint64(width + 2)
    order, start = _falling(padded)
    codes = _ring_codes(padded)
    parent = np.empty(padded.size, np.uint32)
    state = np.empty((padded.size, 8), np.int32)  # of a root: x0, y0, x1, y1, area, euler, node
    # Place 0 stands for all that reaches the frame, and takes in whatever it meets.
    parent[0] = 0
    state[0, 4], state[0, 6] = 1 << 30, -1
    changed = np.empty(height * width, np.uint32)
    nodes = 0
    for value in range(255, lowest - 1, -1):
        count = 0
        for i in range(start[255 - value], start[256 - value]):
            packed = order[i]
            ux, uy = np.uint64(packed & np.uint32(0xFFFF)), np.uint64(packed >> np.uint32(16))
            x, y = np.int32(ux), np.int32(uy)
            place = uy * wide + ux
            code = codes[uy, ux]
            root = np.uint32(place)
            met = False
            if framed and (x == 1 or y == 1 or x == width or y == height):
                root = np.uint32(0)
                met = True
            for k in range(contacts[code, 0]):
                other = np.uint32(place + steps[contacts[code, k + 1]])
                above = parent[other]
                while above != other:
                    higher = parent[above]
                    parent[other] = higher
                    other = higher
                    above = parent[other]
                if met and other == root:
                    continue
                node = state[other, 6]
                if node >= 0:
                    found[node, 4] = value
                    state[other, 6] = -1
                    changed[count] = other
                    count += 1
                if not met:
                    root = other
                    met = True
                    continue
                if state[other, 4] > state[root, 4]:
                    root, other = other, root
                parent[other] = root
                state[root, 0] = min(state[root, 0], state[other, 0])
                state[root, 1] = min(state[root, 1], state[other, 1])
                state[root, 2] = max(state[root, 2], state[other, 2])
                state[root, 3] = max(state[root, 3], state[other, 3])
                state[root, 4] += state[other, 4]
                state[root, 5] += state[other, 5]
            parent[place] = root
            if not met:
                state[root, 0] = state[root, 2] = x
                state[root, 1] = state[root, 3] = y
                state[root, 4] = 0
                state[root, 5] = 1
                state[root, 6] = -1
                changed[count] = root
                count += 1
                continue
            if root == 0:
                continue
            if x < state[root, 0]:
                state[root, 0] = x
            if y < state[root, 1]:
                state[root, 1] = y
            if x > state[root, 2]:
                state[root, 2] = x
            if y > state[root, 3]:
                state[root, 3] = y
            state[root, 4] += area_change[code]
            if euler_change[code] != 0:
                state[root, 5] += euler_change[code]
        for i in range(count):
            root = changed[i]
            if parent[root] != root:
                continue
            state[root, 6] = nodes
            for k in range(4):
                found[nodes, k] = state[root, k] - 1
            found[nodes, 4] = lowest - 1
            found[nodes, 5] = value - 1
            found[nodes, 6] = state[root, 4]
            found[nodes, 7] = state[root, 5]
            nodes += 1
    return nodes


@compiled("Tuple((i4[::1], b1[::1]))(i4[:], i4[:], i4[:], i4[:], i4[:])")
def _winners(first, last, least, most, holes):  # type: ignore[no-untyped-def]  # pragma: no cover
    region = np.full(256, -1, np.int32)
    best = np.full(256, -1, np.int32)
    for i in range(len(first)):
        for level in range(first[i], last[i] + 1):
            if least[i] > best[level]:
                best[level] = least[i]
                region[level] = i
    undecided = np.zeros(256, np.bool_)
    for i in range(len(first)):
        for level in range(first[i], last[i] + 1):
            if region[level] != i:
                undecided[level] |= most[i] >= best[level]
            else:
                # A hole in a region of lines and corners can have an outline of the same area.
                undecided[level] |= least[i] == 0 and holes[i] > 0
    return region, undecided


@compiled("f8[::1](i4[:], i4[:], f8[:])")
def _highest(first, last, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    best = np.zeros(256)
    for i in range(len(first)):
        for level in range(first[i], last[i] + 1):
            best[level] = max(best[level], values[i])
    return best
