from collections import Counter

import numpy as np
import pytest

from eval_suite.demo.anatomy import FORMS
from eval_suite.demo.creatures import (
    CLASSES,
    FORM_AGREES,
    KINDS,
    PALETTE_AGREES,
    TEXTURE_AGREES,
    UNSEEN_KINDS,
    Creature,
    Pose,
    draw_creature,
    sample_creature,
    sample_pose,
    visible_share,
)


class TestClasses:
    def test_mark_and_gem_together_name_the_class_and_neither_does_alone(self) -> None:
        assert len({(kind.mark, kind.gem) for kind in KINDS}) == len(KINDS) == 10
        for trait in ("mark", "gem", "form"):
            assert set(Counter(getattr(kind, trait) for kind in KINDS).values()) == {2}
        assert {kind.mark for kind in UNSEEN_KINDS}.isdisjoint(kind.mark for kind in KINDS)
        assert {kind.form for kind in UNSEEN_KINDS}.isdisjoint(kind.form for kind in KINDS)

    def test_numbers_follow_the_sorted_names_as_image_folders_have_them(self) -> None:
        assert list(CLASSES) == sorted(CLASSES)

    @pytest.mark.parametrize(
        ("trait", "agrees"),
        [
            ("form", FORM_AGREES),
            ("palette", PALETTE_AGREES),
            ("texture", TEXTURE_AGREES),
        ],
    )
    def test_the_mark_is_certain_and_each_other_trait_is_not(self, trait: str, agrees: float) -> None:
        rng = np.random.default_rng(0)
        own = [getattr(kind, trait) for kind in KINDS]
        made = [sample_creature(rng, i % 10) for i in range(6000)]
        assert all((each.mark, each.gem) == (KINDS[each.label].mark, KINDS[each.label].gem) for each in made)
        found = np.mean([getattr(each, trait) == own[each.label] for each in made])
        expected = agrees + (1 - agrees) * np.mean([own.count(value) / 10 for value in own])
        assert found == pytest.approx(expected, abs=0.03)


class TestDrawing:
    @pytest.mark.parametrize("form", FORMS)
    def test_the_mask_is_what_was_painted(self, form: str) -> None:
        canvas = np.zeros((3, 96, 96), np.float32)
        canvas[1] = 1
        creature = Creature(None, "any", "disc", "ruby", form, "cream", "plain")
        mask = draw_creature(canvas, creature, Pose(48, 48, 60, 0.3, True), np.random.default_rng(0))
        change = np.abs(canvas - np.array([0, 1, 0], np.float32)[:, None, None]).max(axis=0)
        near = np.pad(mask, 1)
        near = np.logical_or.reduce([near[i : i + 96, j : j + 96] for i in range(3) for j in range(3)])
        assert mask.sum() > 0.15 * 60**2
        assert change[mask].min() > 0.3
        assert change[~near].max() < 0.3

    @pytest.mark.parametrize("form", FORMS)
    def test_creatures_stay_mostly_on_the_canvas(self, form: str) -> None:
        rng = np.random.default_rng(0)
        poses = [sample_pose(rng, 64, 64) for _ in range(3000)]
        shares = [visible_share(form, pose, 64, 64) for pose in poses]
        assert min(shares) >= 0.58
        assert np.quantile(shares, 0.01) >= 0.65
        assert min(shares) < 0.9

    def test_the_visible_share_agrees_with_the_masks(self) -> None:
        creature = Creature(None, "any", "disc", "ruby", "finch", "cream", "plain")
        pose = Pose(12, 40, 44, -0.4, True)
        masks = []
        for border in (0, 64):
            canvas = np.zeros((3, 64 + 2 * border, 64 + 2 * border), np.float32)
            moved = pose._replace(x=pose.x + border, y=pose.y + border)
            masks.append(draw_creature(canvas, creature, moved, np.random.default_rng(0)))
        share = visible_share("finch", pose, 64, 64)
        assert share < 0.9
        assert share == pytest.approx(masks[0].sum() / masks[1].sum(), abs=0.03)
