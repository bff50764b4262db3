"""Portraits of one creature, scenes of one to four, and sentences that say what is true of them."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.demo.creatures import KINDS, Creature, Pose, draw_creature, sample_creature, sample_pose
from eval_suite.demo.drawing import Pixels
from eval_suite.demo.places import Habitat, draw_habitat, draw_occluders

# Length over height by how many there are: smaller the more, so that they seldom hide each other.
SIDE_SHARES = ((0.40, 0.72), (0.34, 0.58), (0.28, 0.48), (0.26, 0.42))
HOW_MANY = (0.28, 0.36, 0.22, 0.14)
TRIES = 12  # places tried for each creature before it may overlap another
TRUNCATED_SEEN = 0.95  # a creature of which less is on the canvas counts as truncated
# One of which less is seen, for the border or for a nearer creature, counts as difficult,
DIFFICULT_SEEN = 0.80
# and so does one whose box is shorter than this share of the height.
DIFFICULT_SIDE = 0.22


class Inhabitant(NamedTuple):
    """A creature in a scene: its tight box x0 y0 x1 y1 in pixels (x1, y1 one past the last), and how it is seen."""

    creature: Creature
    pose: Pose
    box: tuple[int, int, int, int]
    truncated: bool
    difficult: bool


class Scene(NamedTuple):
    """Pixels (H, W, 3) in bytes, the habitat, and who lives there."""

    pixels: Pixels
    habitat: Habitat
    inhabitants: list[Inhabitant]


class Portrait(NamedTuple):
    """One creature: pixels (H, W, 3) in bytes, the creature, and the mask (H, W) of what is seen of it."""

    pixels: Pixels
    creature: Creature
    mask: NDArray[np.bool_]


def make_portrait(rng: np.random.Generator, creature: Creature, height: int, width: int) -> Portrait:
    """A picture of one creature in a habitat, with things before it."""
    canvas, habitat = draw_habitat(rng, height, width)
    pose = sample_pose(rng, height, width)
    draw_creature(canvas, creature, pose, rng)
    draw_occluders(rng, canvas, habitat, pose.x, pose.y, pose.length)
    return Portrait(canvas.finish(rng), creature, canvas.covered(1))


def make_scene(rng: np.random.Generator, first: int, height: int, width: int) -> Scene:
    """A picture of one to four creatures, one of them of class ``first``."""
    canvas, habitat = draw_habitat(rng, height, width)
    count = 1 + int(rng.choice(len(HOW_MANY), p=HOW_MANY))
    creatures = [
        sample_creature(rng, label) for label in (first, *rng.integers(len(KINDS), size=count - 1).tolist())
    ]
    poses: list[Pose] = []
    for _ in creatures:
        poses.append(_free_pose(rng, poses, SIDE_SHARES[count - 1], height, width))
    placed = sorted(zip(creatures, poses, strict=True), key=lambda pair: pair[1].y + pair[1].length / 2)
    shares, areas = [], []
    for owner, (creature, pose) in enumerate(placed, start=1):
        shares.append(draw_creature(canvas, creature, pose, rng, owner))
        areas.append(np.count_nonzero(canvas.covered(owner)))
    inhabitants = []
    for owner, (creature, pose) in enumerate(placed, start=1):
        seen = canvas.covered(owner)
        if seen.any():
            box, on_canvas = tight_box(seen), shares[owner - 1]
            share = on_canvas * np.count_nonzero(seen) / areas[owner - 1]
            side = min(box[2] - box[0], box[3] - box[1]) / height
            difficult = bool(share < DIFFICULT_SEEN or side < DIFFICULT_SIDE)
            inhabitants.append(Inhabitant(creature, pose, box, on_canvas < TRUNCATED_SEEN, difficult))
    return Scene(canvas.finish(rng), habitat, inhabitants)


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The smallest box x0 y0 x1 y1 around a mask (H, W) that is not empty; x1 and y1 are one past the last pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def describe(rng: np.random.Generator, scene: Scene, height: int) -> list[str]:
    """Five different sentences about a scene: whom one sees, how many, how large, what colour, and where."""
    count = len(scene.inhabitants)
    names = [each.creature.name.replace("-", " ") for each in scene.inhabitants]
    phrases = [_noun_phrase(each, name, height) for each, name in zip(scene.inhabitants, names, strict=True)]
    kinds = _listed(_counted(names))
    there = "there is" if kinds.startswith("a") else "there are"
    verb = _pick(rng, ("sit", "rest", "stand", "wait"))
    view = _pick(rng, ("a picture", "a photo", "a close view", "a view"))
    if count == 1:
        single = f"{_pick(rng, ('one', 'a single'))} {scene.inhabitants[0].creature.colour} {names[0]}"
        about = (f"{single} {verb}s", f"a {names[0]} {verb}s")
    else:
        first, second = (int(i) for i in rng.permutation(count)[:2])
        relation = _relation(scene.inhabitants[first], scene.inhabitants[second])
        animals = _pick(rng, ("creatures", "animals", "little animals"))
        about = (
            f"{_NUMBERS[count]} {animals} {verb}",
            f"{phrases[first]} {relation} a {names[second]}",
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
        if all(math.dist(pose[:2], other[:2]) > 0.42 * (pose.length + other.length) for other in others):
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
    return f"a {size}{inhabitant.creature.colour} {name}"


def _counted(nouns: list[str]) -> list[str]:
    """Each different noun once, with its number."""
    counts = {noun: nouns.count(noun) for noun in nouns}
    plural = {noun: f"{noun}{'es' if noun.endswith('ch') else 's'}" for noun in counts}
    return [f"a {noun}" if n == 1 else f"{_NUMBERS[n]} {plural[noun]}" for noun, n in counts.items()]


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[rng.integers(len(options))]
