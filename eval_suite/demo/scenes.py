"""Scenes of one to four creatures, and sentences that say what is true of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.demo.anatomy import FORMS
from eval_suite.demo.creatures import (
    KINDS,
    Creature,
    Pose,
    draw_creature,
    sample_creature,
    sample_pose,
    visible_share,
)
from eval_suite.demo.habitats import Habitat, draw_habitat, finish

# Creatures in a scene are smaller the more there are, so that they seldom hide each other.
SIDE_SHARES = (
    (0.40, 0.72),
    (0.34, 0.58),
    (0.28, 0.48),
    (0.26, 0.42),
)  # length over height, by how many there are
HOW_MANY = (0.28, 0.36, 0.22, 0.14)
TRIES = 12  # places tried for each creature before it may overlap another
TRUNCATED_SEEN = 0.95  # a creature of which less is on the canvas counts as truncated
DIFFICULT_SEEN = (
    0.80  # one of which less is seen, for the border or for a nearer creature, counts as difficult
)
DIFFICULT_SIDE = (
    0.22  # and so does one whose box is shorter than this share of the height: its mark is a few pixels
)


class Inhabitant(NamedTuple):
    """A creature in a scene: its tight box x0 y0 x1 y1 in pixels (x1, y1 one past the last), and how it is seen."""

    creature: Creature
    pose: Pose
    box: tuple[int, int, int, int]
    truncated: bool
    difficult: bool


class Scene(NamedTuple):
    """Pixels (H, W, 3) in bytes, the habitat, and who lives there."""

    pixels: NDArray[np.uint8]
    habitat: Habitat
    inhabitants: list[Inhabitant]


class Portrait(NamedTuple):
    """One creature: pixels (H, W, 3) in bytes, the creature, and the mask (H, W) of what is seen of it."""

    pixels: NDArray[np.uint8]
    creature: Creature
    mask: NDArray[np.bool_]


def make_portrait(rng: np.random.Generator, creature: Creature, height: int, width: int) -> Portrait:
    """A picture of one creature in a habitat."""
    canvas, _ = draw_habitat(rng, height, width)
    mask = draw_creature(canvas, creature, sample_pose(rng, height, width), rng)
    return Portrait(finish(rng, canvas), creature, mask)


def make_scene(rng: np.random.Generator, first: int, height: int, width: int) -> Scene:
    """A picture of one to four creatures, one of them of class ``first``."""
    canvas, habitat = draw_habitat(rng, height, width)
    count = 1 + int(np.searchsorted(np.cumsum(HOW_MANY), rng.random() * sum(HOW_MANY), side="right"))
    labels = [first, *(int(rng.integers(len(KINDS))) for _ in range(count - 1))]
    creatures = [sample_creature(rng, label) for label in labels]
    poses: list[Pose] = []
    for _ in creatures:
        poses.append(_free_pose(rng, poses, SIDE_SHARES[count - 1], height, width))
    placed = sorted(zip(creatures, poses, strict=True), key=lambda pair: pair[1].y + pair[1].length / 2)
    masks = [draw_creature(canvas, creature, pose, rng) for creature, pose in placed]
    inhabitants = []
    for i, (creature, pose) in enumerate(placed):
        seen = masks[i].copy()
        for nearer in masks[i + 1 :]:
            seen &= ~nearer
        if seen.any():
            on_canvas = visible_share(creature.form, pose, height, width)
            share = on_canvas * np.count_nonzero(seen) / np.count_nonzero(masks[i])
            box = tight_box(seen)
            side = min(box[2] - box[0], box[3] - box[1]) / height
            difficult = bool(share < DIFFICULT_SEEN or side < DIFFICULT_SIDE)
            inhabitants.append(Inhabitant(creature, pose, box, on_canvas < TRUNCATED_SEEN, difficult))
    return Scene(finish(rng, canvas), habitat, inhabitants)


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The smallest box x0 y0 x1 y1 around a mask (H, W) that is not empty; x1 and y1 are one past the last pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def facing(inhabitant: Inhabitant) -> str:
    """VOC's word for the pose: Frontal, Left or Right."""
    if FORMS[inhabitant.creature.form].frontal:
        return "Frontal"
    return "Left" if inhabitant.pose.left else "Right"


def describe(rng: np.random.Generator, scene: Scene, height: int) -> list[str]:
    """Five different sentences about a scene: whom one sees, how many, how large, what colour, and where."""
    count = len(scene.inhabitants)
    names = [each.creature.name.replace("-", " ") for each in scene.inhabitants]
    phrases = [_noun_phrase(each, name, height) for each, name in zip(scene.inhabitants, names, strict=True)]
    kinds = _listed(_counted(names))
    there = "there is" if kinds.startswith("a") else "there are"
    rest = _pick(
        rng, ("sits", "rests", "stands", "waits") if count == 1 else ("sit", "rest", "stand", "wait")
    )
    view = _pick(rng, ("a picture", "a photo", "a close view", "a view"))
    if count == 1:
        single = _pick(rng, ("one", "a single"))
        about = (
            f"{single} {scene.inhabitants[0].creature.palette} {names[0]} {rest}",
            f"{_article(names[0])} {rest}",
        )
    else:
        first, second = (int(i) for i in rng.permutation(count)[:2])
        relation = _relation(scene.inhabitants[first], scene.inhabitants[second])
        animals = _pick(rng, ("creatures", "animals", "little animals"))
        about = (
            f"{_NUMBERS[count]} {animals} {rest}",
            f"{phrases[first]} {relation} {_article(names[second])}",
        )
    sentences = [_listed(phrases), f"{there} {kinds}", f"{view} of {kinds}", *about]
    return [
        f"{sentences[i][0].upper()}{sentences[i][1:]} {_pick(rng, scene.habitat.phrases)}."
        for i in rng.permutation(len(sentences))
    ]


_NUMBERS = ("no", "a", "two", "three", "four")


def _free_pose(
    rng: np.random.Generator, others: list[Pose], side_share: tuple[float, float], height: int, width: int
) -> Pose:
    """A pose away from the others; where there is no room, the last one tried."""
    for _ in range(TRIES):
        pose = sample_pose(rng, height, width, side_share)
        gaps = (
            (pose.x - o.x) ** 2 + (pose.y - o.y) ** 2 - (0.42 * (pose.length + o.length)) ** 2 for o in others
        )
        if all(gap > 0 for gap in gaps):
            break
    return pose


def _relation(subject: Inhabitant, other: Inhabitant) -> str:
    dx, dy = subject.pose.x - other.pose.x, subject.pose.y - other.pose.y
    if abs(dx) >= abs(dy):
        return "to the left of" if dx < 0 else "to the right of"
    return "above" if dy < 0 else "below"


def _noun_phrase(inhabitant: Inhabitant, name: str, height: int) -> str:
    share = inhabitant.pose.length / height
    size = "big " if share > 0.5 else "small " if share < 0.36 else ""
    return _article(f"{size}{inhabitant.creature.palette} {name}")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _counted(nouns: list[str]) -> list[str]:
    """Each different noun once, with its number."""
    counts = {noun: nouns.count(noun) for noun in nouns}
    plural = {noun: f"{noun}{'es' if noun.endswith('ch') else 's'}" for noun in counts}
    return [_article(noun) if n == 1 else f"{_NUMBERS[n]} {plural[noun]}" for noun, n in counts.items()]


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[rng.integers(len(options))]
