"""Augmentation by chosen operations: drawn by seed alone, of the libraries' own pixels."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from eval_suite.data import policies, reading
from eval_suite.data.images import ImageIndex
from eval_suite.data.policies import NAMED, Policy, PolicyError, require_policy

OF_TIMM = "rand-m9-mstd0.5-inc1"


def image(side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", [*NAMED, OF_TIMM])
def test_the_seed_decides_everything_and_nothing_else_is_touched(name: str) -> None:
    policy = Policy(name, (32, 32))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # type: ignore[func-returns-value]
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index, union-attr]
    first = [np.asarray(policy(image(), seed)) for seed in range(8)]
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index, arg-type]
    assert torch.equal(torch.get_rng_state(), states[2])
    random.seed(2), np.random.seed(2), torch.manual_seed(2)  # type: ignore[func-returns-value]
    again = [np.asarray(policy(image(), seed)) for seed in range(8)]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert len({one.tobytes() for one in first}) > 2
    assert {one.shape for one in first} == {(32, 32, 3)}


def test_the_pixels_are_torchvisions() -> None:
    policy = Policy("trivial-augment", (32, 32))
    reference = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    for seed in range(5):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            expected = np.asarray(reference(image()))
        assert np.array_equal(np.asarray(policy(image(), seed)), expected)


@pytest.mark.parametrize("name", ["rand-m9-n3-p0.3", "rand-m15-mmax20", OF_TIMM])
def test_timms_specifications_work(name: str) -> None:
    assert Policy(name, (40, 40))(image(40), 3).size == (40, 40)


@pytest.mark.parametrize("name", [*NAMED, "rand-m10-mstd1-inc1", "rand-m30-mmax30-inc1-p1", "rand-m0"])
def test_no_level_of_any_operation_fails(name: str) -> None:
    policy = Policy(name, (8, 8))
    assert {policy(image(8), seed).size for seed in range(300)} == {(8, 8)}


def test_an_operation_that_fails_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> Image.Image:
        raise ValueError("bits")

    monkeypatch.setattr(policies, "_operations", lambda *_: fail)
    index = ImageIndex(
        *("x", "cifar10:x", "train", ["a"], ["1"], np.zeros(1, dtype=np.int64), Path(), None),
        pixels=np.asarray(image())[None],
    )
    decoder = reading._Decoder(index, (32, 32), lambda one, _: Policy(OF_TIMM, (32, 32))(one, 0), None)
    with pytest.raises(PolicyError, match="bits"):
        decoder[[0]]


@pytest.mark.parametrize("name", ["rand", "rand-x3", "rand-m11", "rand-m9-n0", "autoaugment", "", "rand-m9-"])
def test_what_is_no_policy_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        require_policy(name)
