"""Labels for predictions made elsewhere, found by id."""

from pathlib import Path

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.data.images import open_images
from eval_suite.data.truth import true_labels

ABOUT = About("p", "unknown", 2, "", [])


def test_labels_follow_the_ids_of_the_file(demo_world: Path) -> None:
    spec = f"folder:{demo_world / 'images'}"
    index = open_images(spec, "val")
    chosen = [index.ids[5], index.ids[0]]
    found = true_labels(spec, None, ids=chosen, items=2, about=ABOUT, path=Path("p.npz"))
    assert found.labels.tolist() == [index.labels[5], index.labels[0]]
    train = open_images(spec, "train")
    of_train = true_labels(
        spec, None, ids=[train.ids[3]], items=1, about=ABOUT._replace(split="train"), path=Path("p.npz")
    )
    assert of_train.labels.tolist() == [train.labels[3]]
    assert of_train.about.split == "train"
    assert of_train.about.sha256 == train.select(np.array([3])).sha256()


def test_a_whole_split_needs_no_ids(demo_world: Path) -> None:
    spec = f"folder:{demo_world / 'images'}"
    index = open_images(spec, "val")
    found = true_labels(spec, "val", ids=[], items=len(index), about=ABOUT, path=Path("p.npz"))
    assert (found.labels.tolist(), found.ids) == (index.labels.tolist(), index.ids)
    assert found.about == index.about(index, [])


def test_unknown_ids_and_a_part_without_ids_are_refused(demo_world: Path) -> None:
    spec = f"folder:{demo_world / 'images'}"
    with pytest.raises(
        InputError, match=r"ids of folder:.*, such as 'val/.* in p\.npz, found 1 others, first 'x'"
    ):
        true_labels(spec, None, ids=["x"], items=1, about=ABOUT, path=Path("p.npz"))
    with pytest.raises(InputError, match=r"p\.npz holds 2 items without ids, but folder:.* has 30"):
        true_labels(spec, None, ids=[], items=2, about=ABOUT, path=Path("p.npz"))
