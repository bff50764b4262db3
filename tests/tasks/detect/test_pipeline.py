"""Items as the models take them, and draws that hang on their number alone."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from eval_suite.core.errors import InputError
from eval_suite.data.decoding import open_item
from eval_suite.data.objects import ObjectIndex
from eval_suite.data.voc import open_voc
from eval_suite.tasks.detect.openmmlab import load_openmmlab
from eval_suite.tasks.detect.pipeline import (
    BoxData,
    Draws,
    evaluation_batches,
    training_loader,
    without_difficult,
)
from tests.tasks.detect.conftest import small_options


@pytest.fixture(scope="module")
def images(demo_world: Path) -> ObjectIndex:
    load_openmmlab()
    return open_voc(f"voc:{demo_world}", "VOC2007/trainval")


def training_data(images: ObjectIndex, detector: str = "ssd", seed: int = 3) -> BoxData:
    return BoxData(
        images, small_options().detector(detector).training_transforms((127.0, 127.0, 127.0)), seed
    )


def test_pixels_are_bgr_and_boxes_scale_with_them(images: ObjectIndex) -> None:
    item = BoxData(images, small_options().detector("ssd").evaluation_transforms())[2]
    assert item["inputs"].shape == (3, 64, 64)
    rgb = np.asarray(open_item(images.images(), 2).convert("RGB"), float)
    means = item["inputs"].float().mean((1, 2)).numpy()
    assert means == pytest.approx(rgb.mean((0, 1))[::-1], abs=2)
    found = item["data_samples"].gt_instances.bboxes.numpy()
    scale = 64 / images.sizes[2][[0, 1, 0, 1]]
    edges = images.boxes[images.image == 2] + [
        0,
        0,
        1,
        1,
    ]  # VOC's last pixel is inside, MMDetection's edge is not
    assert found == pytest.approx(edges * scale, abs=1e-3)


def test_the_shorter_side_decides_unless_the_longer_is_too_long(images: ObjectIndex) -> None:
    item = BoxData(images, small_options().detector("faster-rcnn-c4").evaluation_transforms())[0]
    assert item["inputs"].shape[1:] == (64, 85)


@pytest.mark.parametrize("detector", ["ssd", "faster-rcnn-c4"])
def test_a_draw_hangs_on_its_number_alone(images: ObjectIndex, detector: str) -> None:
    data = training_data(images, detector)
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    first = [data[number] for number in range(30)]
    assert np.array_equal(np.random.get_state()[1], state)  # type: ignore[arg-type]
    np.random.rand(5)
    again = training_data(images, detector)
    for number in (29, 3, 17):
        assert torch.equal(again[number]["inputs"], first[number]["inputs"])
        assert again[number]["data_samples"].img_id == first[number]["data_samples"].img_id
    turns = [sorted(item["data_samples"].img_id for item in first[start : start + 12]) for start in (0, 12)]
    assert turns == [list(range(12))] * 2
    assert [i["data_samples"].img_id for i in first[:12]] != [i["data_samples"].img_id for i in first[12:24]]


def test_workers_do_not_matter_and_skipping_goes_on_where_it_stopped(images: ObjectIndex) -> None:
    def batches(workers: int, skip: int = 0) -> list[torch.Tensor]:
        loader = training_loader(training_data(images), 2, workers)
        loader.sampler.skip(skip)  # type: ignore[union-attr]
        return [torch.stack(batch["inputs"]) for batch in islice(loader, 3)]

    alone, helped, later = batches(0), batches(1), batches(0, skip=2)
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert torch.equal(alone[1], later[0])
    assert list(islice(Draws(5), 3)) == [0, 1, 2]


def test_difficult_objects_are_not_learnt_from(images: ObjectIndex) -> None:
    marked = replace(images, difficult=images.image < 10)
    easy = without_difficult(marked)
    assert easy.ids == images.ids[10:]
    assert len(easy.boxes) == int((images.image >= 10).sum())
    with pytest.raises(InputError, match="expected objects to learn from"):
        without_difficult(replace(images, difficult=np.ones(len(images.boxes), bool)))


def test_batches_hold_one_size_each(images: ObjectIndex) -> None:
    sizes = images.sizes.copy()
    sizes[::3] = (10, 20)
    batches = evaluation_batches(replace(images, sizes=sizes), 3)
    assert sorted(i for batch in batches for i in batch) == list(range(12))
    assert all(len({tuple(sizes[i]) for i in batch}) == 1 for batch in batches)
    assert max(map(len, batches)) == 3
