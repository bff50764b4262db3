"""Comparisons as tables of pandas: what a row holds, and what is no list of records."""

from statistics import stdev
from typing import Any

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.records import Record
from eval_suite.core.store import read_record
from eval_suite.report.frames import Comparison, compare
from tests.report.fake_suite import FakeSuite, errors


def _top1(frame: Comparison) -> Any:
    return frame[frame["key"] == "top1_error"].set_index("backbone")


def _record(suite: FakeSuite, name: str, seed: int, wrong: Any, **changes: Any) -> Record:
    return read_record(suite.add(name, seed, wrong=wrong, **changes))


def test_a_row_says_of_how_many_seeds_and_items_its_value_is(suite: FakeSuite) -> None:
    rates = (0.2, 0.3, 0.4)
    several = [_record(suite, "a", seed, errors(rate)) for seed, rate in enumerate(rates)]
    top1 = _top1(compare([*several, _record(suite, "b", 1, errors(0.1))], baseline="a"))
    assert top1["seeds"].to_dict() == {"a": 3, "b": 1}
    assert top1.loc["a", "value"] == pytest.approx(0.3)
    assert top1.loc["a", "spread"] == pytest.approx(stdev(rates))
    assert np.isnan(top1.loc["b", "spread"])
    assert top1.loc["b", "difference"] == pytest.approx(0.1 - 0.3)  # of the seed that both have


def test_each_row_has_its_own_number_of_items(suite: FakeSuite) -> None:
    whole, others = errors(0.3), {"same": errors(0.2), "fewer": errors(0.2)[:100]}
    records = [_record(suite, "whole", 0, whole)]
    records += [_record(suite, name, 0, wrong, sha256=name[0] * 64) for name, wrong in others.items()]
    records.append(_record(suite, "whole2", 0, whole))
    sizes = _top1(compare(records, baseline="whole"))["n"]
    assert sizes.to_dict() == {"whole": len(whole), "same": len(whole), "fewer": 100, "whole2": len(whole)}


@pytest.mark.parametrize("form", [lambda one: one, lambda one: {"a": one}, lambda _: ["a.json"], lambda _: 3])
def test_what_is_no_list_of_records_is_refused(suite: FakeSuite, form: Any) -> None:
    with pytest.raises(InputError) as raised:
        compare(form(_record(suite, "a", 0, errors(0.3))))
    assert raised.value.expected == "a list of records to compare"
    assert "[record_a, record_b]" in raised.value.remedy
