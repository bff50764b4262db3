"""Warnings that outputs are not the classes they were taken for."""

import numpy as np
import pytest

from eval_suite.tasks.order_doubts import order_doubts

TEN = sorted(f"class_{i}" for i in range(1, 11))


def test_outputs_in_natural_order_under_names_in_code_point_order() -> None:
    labels = np.repeat(np.arange(10), 20)
    natural = sorted(TEN, key=lambda name: int(name[6:]))
    predicted = np.array([natural.index(TEN[label]) for label in labels])
    predicted[::10] = 0
    assert "--class-order natural" in order_doubts(predicted, labels, TEN)[-1]
    assert order_doubts(np.array([TEN.index(natural[p]) for p in predicted]), labels, TEN) == []


def test_an_order_of_its_own_needs_a_file() -> None:
    labels = np.repeat(np.arange(10), 20)
    lines = order_doubts((labels + 3) % 10, labels, TEN)
    assert len(lines) == 2  # at chance, and better otherwise
    assert "--classes" in lines[1]
    assert order_doubts((labels + 3) % 10, labels, []) == lines


def test_guessing_is_at_chance_and_no_order_helps() -> None:
    labels = np.repeat(np.arange(10), 100)
    (line,) = order_doubts(np.zeros(1000, int), labels, TEN)
    assert "90.0%" in line


@pytest.mark.parametrize("classes", range(2, 40))
def test_one_class_for_every_item_is_at_chance_however_fractions_are_rounded(classes: int) -> None:
    labels = np.repeat(np.arange(classes), 30)
    names = [str(i) for i in range(classes)]
    assert len(order_doubts(np.zeros_like(labels), labels, names)) == 1
    once = np.where(np.arange(len(labels)) == len(labels) - 1, labels, 0)
    assert order_doubts(once, labels, names) == []


def test_few_items_of_many_classes_prove_nothing() -> None:
    """Any single item of a class can be made right by an assignment; of those held back none is."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 3)
    predicted = np.where(rng.random(300) < 0.5, labels, rng.integers(0, 100, 300))
    assert order_doubts(predicted, labels, [str(i) for i in range(100)]) == []
    assert order_doubts(np.array([1, 0]), np.array([0, 1]), ["a", "b"]) == []
