import xml.etree.ElementTree as ET

import numpy as np
import pytest

from eval_suite.demo import scenes as demo_scenes
from eval_suite.demo.creatures import COLOURS, PARTS, Creature, Pose
from eval_suite.demo.layouts import voc_xml
from eval_suite.demo.places import HABITATS
from eval_suite.demo.scenes import Inhabitant, Scene, describe, make_scene


def creature(label: int, name: str, colour: str) -> Creature:
    return Creature(label, name, (0,) * len(PARTS), (COLOURS.index(colour),) * len(PARTS))


class TestBoxes:
    def test_boxes_count_from_one_and_include_both_corners(self) -> None:
        scene = make_scene(np.random.default_rng(5), 3, 96, 128)
        objects = ET.fromstring(voc_xml("VOC2007", "000001", scene)).findall("object")
        assert len(objects) == len(scene.inhabitants)
        for each, inhabitant in zip(objects, scene.inhabitants, strict=True):
            x0, y0, x1, y1 = inhabitant.box
            assert [int(child.text or 0) for child in each[4]] == [x0 + 1, y0 + 1, x1, y1]

    def test_a_hidden_creature_is_difficult_and_its_box_is_what_is_seen(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        poses = iter([Pose(40, 40, 50, 0, False), Pose(58, 48, 50, 0, False)])
        monkeypatch.setattr(demo_scenes, "_free_pose", lambda *_: next(poses))
        monkeypatch.setattr(demo_scenes, "HOW_MANY", (0, 1, 0, 0))
        scene = make_scene(np.random.default_rng(0), 0, 96, 128)
        behind, front = scene.inhabitants
        assert (behind.pose.x, front.pose.x) == (40, 58)
        assert (behind.difficult, front.difficult) == (True, False)
        assert behind.box[2] <= front.box[2]


class TestCaptions:
    @pytest.mark.parametrize(
        ("x", "y", "relation"),
        [
            (100, 50, "jade moth to the left of a topaz finch"),
            (10, 50, "jade moth to the right of a topaz finch"),
            (60, 90, "jade moth above a topaz finch"),
            (60, 10, "jade moth below a topaz finch"),
        ],
    )
    def test_captions_say_what_is_true(self, x: float, y: float, relation: str) -> None:
        moth = creature(1, "jade-moth", "yellow")
        finch = creature(8, "topaz-finch", "blue")
        scene = Scene(
            np.zeros((100, 128, 3), np.uint8),
            HABITATS[0],
            [
                Inhabitant(moth, Pose(50, 50, 60, 0, False), (0, 0, 1, 1), False, False),
                Inhabitant(finch, Pose(x, y, 30, 0, False), (0, 0, 1, 1), False, False),
            ],
        )
        said = "\n".join("".join(describe(np.random.default_rng(i), scene, 100)) for i in range(8))
        opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
        word = next(word for word in opposite if word in relation)
        assert relation in said
        assert relation.replace(word, opposite[word]) not in said
        assert "big yellow jade moth and a small blue topaz finch" in said
        assert "Two " in said
        assert "in a green meadow." in said
        assert "in the grass." in said

    def test_plurals(self) -> None:
        finch = creature(8, "topaz-finch", "red")
        pose = Pose(50, 50, 44, 0, False)
        scene = Scene(
            np.zeros((100, 128, 3), np.uint8),
            HABITATS[0],
            [Inhabitant(finch, pose, (0, 0, 1, 1), False, False)] * 3,
        )
        said = " ".join(describe(np.random.default_rng(0), scene, 100)).lower()
        assert "there are three topaz finches" in said
        assert "a red topaz finch" in said
