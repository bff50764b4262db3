"""Boxes of every level of a map against OpenCV, level by level."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval_suite.tasks.wsol.component_tree import holes, upper_regions, winners
from eval_suite.tasks.wsol.components import (
    LEVELS,
    all_boxes,
    both_boxes,
    box_at,
    largest_boxes,
    to_8bit,
)
from tests.tasks.wsol.reference import boxes_above

Map8 = NDArray[np.uint8]


def smooth(seed: int, knots: int, size: int = 224) -> Map8:
    coarse = np.random.default_rng(seed).normal(size=(knots, knots))
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    fine -= fine.min()
    return (fine / fine.max() * 255).astype(np.uint8)


def rings(size: int = 33) -> Map8:
    """Nested rings: regions in holes in regions."""
    y, x = np.mgrid[:size, :size] - size // 2
    return ((np.maximum(abs(x), abs(y)) % 4 < 2) * (40 + 8 * np.maximum(abs(x), abs(y)))).astype(np.uint8)


def diamonds(size: int = 21) -> Map8:
    """Rings that hang together at corners only, with a line sticking out."""
    y, x = np.mgrid[:size, :size] - size // 2
    map8 = np.where((abs(x) + abs(y)) % 5 == 1, 200, 10).astype(np.uint8)
    map8[size // 2, size // 2 :] = 150
    return map8


def noise(shape: tuple[int, int], values: int, seed: int = 0) -> Map8:
    return np.random.default_rng(seed).integers(0, values, shape).astype(np.uint8)


def checkerboard(size: int = 12) -> Map8:
    return (np.indices((size, size)).sum(axis=0) % 2 * 255).astype(np.uint8)


def one_pixel() -> Map8:
    map8 = np.zeros((9, 7), np.uint8)
    map8[4, 2] = 90
    return map8


def on_the_border() -> Map8:
    map8 = np.full((20, 30), 30, np.uint8)
    map8[0, :] = map8[:, -1] = 120
    map8[10:, :5] = 200
    map8[19, 29] = 255
    return map8


def bays() -> Map8:
    """A bay of the background that opens to the border at one corner only: no hole, since corners do not join it."""
    map8 = np.full((8, 8), 100, np.uint8)
    map8[3:5, 3:5] = 0
    map8[2, 2] = map8[1, 1] = map8[0, 0] = 0
    map8[5, 5] = 50
    return map8


MAPS = {
    "constant 0": np.zeros((5, 6), np.uint8),
    "constant 255": np.full((5, 6), 255, np.uint8),
    "constant 7": np.full((1, 1), 7, np.uint8),
    "one pixel": one_pixel(),
    "row": noise((1, 40), 256),
    "column": noise((40, 1), 5),
    "two rows": noise((2, 30), 256),
    "checkerboard": checkerboard(),
    "checkerboard on grey": checkerboard() // 2 + 60,
    "rings": rings(),
    "rings inverted": 255 - rings(),
    "diamonds": diamonds(),
    "diamonds inverted": 255 - diamonds(),
    "border": on_the_border(),
    "bays": bays(),
    "bays inverted": 255 - bays(),
    "plateaus": smooth(3, 6, 60) // 32 * 32,
    "binary noise": noise((40, 40), 2),
    "four values": noise((40, 30), 4),
    "noise": noise((50, 60), 256),
    "smooth 7": smooth(0, 7),
    "smooth 14": smooth(1, 14),
    "smooth 28": smooth(2, 28, 112),
    "vertical ramp": np.repeat(np.arange(64, dtype=np.uint8)[:, None], 5, axis=1),
}


def assert_same_boxes(map8: Map8) -> None:
    largest, every = largest_boxes(map8), all_boxes(map8)
    for level in range(LEVELS):
        expected = boxes_above(map8, level)
        assert tuple(largest[level].tolist()) == expected.largest, f"level {level}"
        live = every.boxes[(every.first <= level) & (level <= every.last)]
        assert {tuple(box) for box in live.tolist()} == set(expected.every), f"level {level}"


@pytest.mark.parametrize("name", MAPS)
def test_every_level_has_the_boxes_that_opencv_finds(name: str) -> None:
    assert_same_boxes(MAPS[name])


@st.composite
def maps(draw: st.DrawFn) -> Map8:
    shape = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    values = draw(st.sampled_from([2, 3, 5, 256]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    map8 = rng.integers(0, values, shape)
    if draw(st.booleans()):  # many pixels at the two ends make thin rings, lines and ties
        map8 = np.where(rng.random(shape) < draw(st.floats(0.1, 0.9)), map8, draw(st.sampled_from([0, 255])))
    return map8.astype(np.uint8)


@given(maps())
@settings(max_examples=200, deadline=None)
def test_random_maps(map8: Map8) -> None:
    assert_same_boxes(map8)


def test_ties_are_opencvs_to_decide() -> None:
    # Two squares of one size; a line and a pixel, both without area; a ring whose hole has the ring's own outline.
    squares = np.zeros((12, 12), np.uint8)
    squares[1:4, 1:4] = squares[7:10, 6:9] = 80
    lines = np.zeros((12, 12), np.uint8)
    lines[2, 2:9] = lines[8, 8] = 80
    ring = np.zeros((12, 12), np.uint8)
    ring[[3, 4, 4, 5], [4, 3, 5, 4]] = 80
    ring[6:9, 4] = 80
    for map8 in (squares, lines, ring):
        assert_same_boxes(map8)
        regions = upper_regions(map8)
        assert winners(regions).undecided[10]


def test_smooth_maps_are_decided_without_opencv() -> None:
    undecided = [int(winners(upper_regions(smooth(seed, 14))).undecided.sum()) for seed in range(5)]
    assert max(undecided) < 40


@pytest.mark.parametrize("name", ["rings", "diamonds", "noise", "smooth 28"])
def test_areas_and_holes_are_those_of_the_outlines(name: str) -> None:
    map8 = MAPS[name]
    regions = upper_regions(map8)
    for level in range(0, 255, 5):
        above = (map8 > level).astype(np.uint8)
        outlines, tree = cv2.findContours(above, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        outer = [tree[0, i, 3] < 0 for i in range(len(outlines))] if len(outlines) else []
        areas = [cv2.contourArea(outline) for outline in outlines]
        live = (regions.first <= level) & (level <= regions.last)
        assert regions.holes[live].sum() == len(outlines) - sum(outer)
        signed = sum(area if top else -area for area, top in zip(areas, outer, strict=True))
        assert regions.area[live].sum() == 2 * signed


def test_regions_and_holes_are_connected_components() -> None:
    map8 = noise((40, 30), 9)
    regions, inner = upper_regions(map8), holes(map8, 254)
    for level in range(9):
        for found, mask, connectivity in ((regions, map8 > level, 8), (inner, map8 <= level, 4)):
            _, _, stats, _ = cv2.connectedComponentsWithStats(
                mask.astype(np.uint8), connectivity=connectivity
            )
            boxes = [(x, y, x + w - 1, y + h - 1) for x, y, w, h, _ in stats[1:].tolist()]
            if connectivity == 4:
                boxes = [b for b in boxes if b[0] > 0 and b[1] > 0 and b[2] < 29 and b[3] < 39]
            live = (found.first <= level) & (level <= found.last)
            assert sorted(map(tuple, found.boxes[live].tolist())) == sorted(boxes)


def test_both_rules_share_one_tree() -> None:
    map8 = MAPS["noise"]
    largest, every = both_boxes(map8)
    assert np.array_equal(largest, largest_boxes(map8))
    for one, other in zip(every, all_boxes(map8), strict=True):
        assert np.array_equal(one, other)


def test_a_box_by_hand() -> None:
    map8 = np.zeros((10, 12), np.uint8)
    map8[2:5, 3:8] = 200
    map8[8, 1] = 100
    # A pixel more on the right and below than the region has, up to the last one.
    assert box_at(map8, 0.15) == (3, 2, 8, 5)
    assert tuple(largest_boxes(map8)[30].tolist()) == (3, 2, 8, 5)
    map8[2:10, 3:12] = 200
    assert box_at(map8, 0.15) == (3, 2, 11, 9)
    assert box_at(np.zeros((4, 4), np.uint8), 0.15) == (0, 0, 0, 0)


def test_the_threshold_keeps_what_is_strictly_above_and_is_cut_to_a_whole_level() -> None:
    map8 = np.zeros((6, 6), np.uint8)
    map8[1:5, 1:5] = 50
    map8[2:4, 2:4] = 101
    # 0.5 * 101 = 50.5 is level 50, which a pixel of 50 does not exceed.
    assert box_at(map8, 0.5) == (2, 2, 4, 4)
    assert box_at(map8, 0.49) == (1, 1, 5, 5)


def test_scores_are_cut_to_8_bits() -> None:
    assert to_8bit(np.array([[0, 0.5, 0.9999, 1]])).tolist() == [[0, 127, 254, 255]]


def test_a_mirrored_map_has_mirrored_regions() -> None:
    map8 = smooth(5, 10, 64)
    flipped = all_boxes(np.ascontiguousarray(map8[:, ::-1]))
    every = all_boxes(map8)
    # As the boxes are [x, min(x + w, W - 1)], mirroring is seen in y alone.
    for level in range(0, 255, 9):
        live = [b.boxes[(b.first <= level) & (level <= b.last)][:, [1, 3]] for b in (every, flipped)]
        assert sorted(live[0].tolist()) == sorted(live[1].tolist())


def test_a_side_too_long_for_packed_places_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 32000"):
        upper_regions(np.zeros((1, 40_000), np.uint8))


def test_numba_is_imported_late() -> None:
    code = "import sys, eval_suite.tasks.wsol.score; sys.exit('numba' in sys.modules or 'cv2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
