from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from eval_suite.demo.creatures import (
    CLASSES,
    KINDS,
    PARTS,
    SHAPE_AGREES,
    TINT_AGREES,
    UNSEEN,
    Creature,
    Pose,
    draw_creature,
    sample_creature,
    sample_pose,
    sample_unseen,
)
from eval_suite.demo.drawing import Canvas

GROUND = (10, 255, 20)


def canvas(side: int) -> Canvas:
    return Canvas(Image.new("RGB", (side, side), GROUND))


def alike(shape: int, tint: int = 5) -> Creature:
    return Creature(None, "any", (shape,) * len(PARTS), (tint,) * len(PARTS))


class TestClasses:
    @pytest.mark.parametrize("part", range(len(PARTS)), ids=PARTS)
    def test_shape_and_tint_of_any_part_name_the_class_and_neither_does_alone(self, part: int) -> None:
        pairs = [(kind.shapes[part], kind.tints[part]) for kind in KINDS]
        assert len(set(pairs)) == len(KINDS) == 10
        for values in zip(*pairs, strict=True):
            assert Counter(values) == dict.fromkeys(range(UNSEEN), 2)

    def test_two_classes_share_little(self) -> None:
        for one, other in combinations(KINDS, 2):
            shapes = np.equal(one.shapes, other.shapes)
            tints = np.equal(one.tints, other.tints)
            assert max(shapes.sum(), tints.sum()) <= 2
            assert not (shapes & tints).any()

    def test_numbers_follow_the_sorted_names_as_image_folders_have_them(self) -> None:
        assert list(CLASSES) == sorted(set(CLASSES))
        assert [kind.label for kind in KINDS] == list(range(10))

    @pytest.mark.parametrize(("trait", "agrees"), [("shapes", SHAPE_AGREES), ("tints", TINT_AGREES)])
    def test_each_trait_is_noisy_evidence(self, trait: str, agrees: float) -> None:
        rng = np.random.default_rng(0)
        made = [sample_creature(rng, i % 10) for i in range(2000)]
        same = np.equal(
            [getattr(each, trait) for each in made], [getattr(KINDS[i % 10], trait) for i in range(2000)]
        )
        assert same.mean(axis=0) == pytest.approx(np.full(len(PARTS), agrees + (1 - agrees) / 5), abs=0.03)
        assert abs(np.corrcoef(same.T)[np.triu_indices(len(PARTS), 1)]).max() < 0.1

    def test_unseen_kinds_are_shaped_as_no_class_is(self) -> None:
        rng = np.random.default_rng(0)
        made = [sample_unseen(rng) for _ in range(500)]
        assert {each.name for each in made}.isdisjoint(CLASSES)
        assert {each.label for each in made} == {None}
        new = np.equal([each.shapes for each in made], UNSEEN)
        assert new.mean() == pytest.approx(SHAPE_AGREES, abs=0.03)


class TestDrawing:
    @pytest.mark.parametrize("shape", range(UNSEEN + 1))
    def test_the_mask_is_what_was_painted(self, shape: int) -> None:
        drawn = canvas(96)
        draw_creature(drawn, alike(shape), Pose(48, 48, 60, 0.3, True), np.random.default_rng(0), owner=3)
        mask = drawn.covered(3)
        change = np.abs(np.asarray(drawn.image.reduce(4), int) - GROUND).max(axis=2)
        assert mask.sum() > 0.15 * 60**2
        assert change[mask].min() > 60
        near = np.pad(mask, 1)
        near = np.logical_or.reduce([near[i : i + 96, j : j + 96] for i in range(3) for j in range(3)])
        assert change[~near].max() == 0
        assert not drawn.covered(1).any()

    def test_most_of_a_creature_stays_on_the_canvas(self) -> None:
        rng = np.random.default_rng(0)
        shares = [
            draw_creature(canvas(64), sample_creature(rng, i % 10), sample_pose(rng, 64, 64), rng)
            for i in range(200)
        ]
        assert min(shares) > 0.5
        assert np.median(shares) > 0.9

    def test_the_share_on_the_canvas_agrees_with_the_masks(self) -> None:
        pose, areas, shares = Pose(12, 40, 44, -0.4, True), [], []
        for border in (0, 64):
            drawn = canvas(64 + 2 * border)
            moved = pose._replace(x=pose.x + border, y=pose.y + border)
            shares.append(draw_creature(drawn, alike(0), moved, np.random.default_rng(0)))
            areas.append(drawn.covered(1).sum())
        assert shares[1] == 1
        assert shares[0] == pytest.approx(areas[0] / areas[1], abs=0.1)
        assert shares[0] < 0.9
