"""In-between class samples: pairs of different classes, and their mixtures by hand."""

import numpy as np
import pytest
import torch

from eval_suite.tasks.robustness.in_between import cutmix_between, draw_pairs, mixup_between


def test_pairs_join_different_classes_and_every_item_comes_first() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 300)
    pairs = draw_pairs(labels, 3)
    assert pairs.shape == (900, 2)
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    assert np.bincount(pairs[:, 0]).tolist() == [3] * 300
    assert pairs[:300, 0].tolist() == list(range(300))
    assert len({tuple(pair) for pair in pairs.tolist()}) > 850


def test_partners_are_uniform_among_the_items_of_other_classes() -> None:
    labels = np.array([0, 1, 1, 2, 0, 2, 2])
    pairs = draw_pairs(labels, 6_000)
    for item in range(len(labels)):
        partners = np.bincount(pairs[pairs[:, 0] == item, 1], minlength=len(labels))
        allowed = labels != labels[item]
        assert partners[~allowed].sum() == 0
        expected = 6_000 / allowed.sum()
        assert np.abs(partners[allowed] - expected).max() < 6 * np.sqrt(expected)


def test_pairs_are_the_same_every_time_and_begin_the_same_for_more_partners() -> None:
    labels = np.arange(50) % 5
    assert (draw_pairs(labels, 2)[:50] == draw_pairs(labels, 1)).all()
    assert len(draw_pairs(labels, 0)) == 0


def test_two_items_have_one_choice() -> None:
    assert draw_pairs(np.array([3, 7]), 1).tolist() == [[0, 1], [1, 0]]


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes, found one"):
        draw_pairs(np.zeros(4, int), 1)


def test_mixup_by_hand_and_at_its_ends() -> None:
    first, second = torch.full((1, 3, 2, 2), 0.2), torch.full((1, 3, 2, 2), 0.8)
    assert torch.allclose(mixup_between(first, second, 0.25), torch.full((1, 3, 2, 2), 0.65))
    a, b = torch.rand(2, 3, 5, 5), torch.rand(2, 3, 5, 5)
    assert torch.equal(mixup_between(a, b, 1.0), a)
    assert torch.equal(mixup_between(a, b, 0.0), b)
    assert torch.allclose(mixup_between(a, b, 0.3), mixup_between(b, a, 0.7))


def test_cutmix_by_hand_and_at_its_ends() -> None:
    first, second = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    mixed = cutmix_between(first, second, 0.5)
    expected = torch.zeros(4, 4)
    expected[1:3, 1:3] = 1
    assert torch.equal(mixed[0, 2], expected)
    assert first.sum() == 0
    assert torch.equal(cutmix_between(first, second, 0.0), first)
    assert torch.equal(cutmix_between(first, second, 1.0), second)
