"""Options: presets fill what is not given, records hold them resolved, flags and suites give the same."""

from typing import Any

import pytest
from pydantic import ValidationError

from eval_suite.cli.evaluate import TaskCommand, command_for
from eval_suite.cli.flags import _read, shown
from eval_suite.cli.parsing import parse
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.wsol.options import MethodEntry, WsolOptions
from eval_suite.tasks.wsol.task import WsolTask


def options(**given: Any) -> WsolOptions:
    return WsolOptions.model_validate({"data": "cub:x", **given})


def test_by_default_nothing_is_fitted() -> None:
    chosen = options()
    assert not chosen.fit.wanted
    assert chosen.fit.epochs is None
    assert chosen.method.chosen.name == "cam"


def test_a_preset_alone_or_beside_fields_that_win() -> None:
    assert options(fit="paper-cub").fit == options(fit={"preset": "paper-cub"}).fit
    fit = options(fit={"preset": "paper-cub", "epochs": 3}).fit
    assert (fit.epochs, fit.batch_size, fit.lr, fit.head_lr) == (3, 32, 0.001, 0.01)
    assert options(fit={"epochs": 3}).fit.preset == "custom"


def test_options_are_recorded_resolved_and_read_again() -> None:
    chosen = options(fit={"regularizers": ["cutmix"]}, method={"spg": {"from_map": [0.8, 0.1]}})
    written = chosen.model_dump(mode="json")
    assert written["fit"]["epochs"] == 10
    assert written["method"]["spg"]["from_map"] == [0.8, 0.1]
    assert WsolOptions.model_validate(written) == chosen


def test_presets_are_not_shared_between_options() -> None:
    one, other = options(fit="custom").fit, options(fit="custom").fit
    assert one.milestones is not None
    one.milestones.append(0.9)
    assert other.milestones == [0.5, 0.75]


def test_the_short_form_has_fewer_epochs_where_there_is_a_fit() -> None:
    assert options(fit="paper-cub").smoke_options(2, 5) == {"limit": 5, "fit": {"epochs": 2}}
    assert options(fit="paper-cub").smoke_options(None, 5) == {"limit": 5}
    assert options().smoke_options(2, None) == {}


def test_the_test_transforms() -> None:
    assert options().crop_fraction == 0.875
    assert options(transform="evaluation-paper").crop_fraction == 1.0


@pytest.mark.parametrize(
    "given", ["cam", "has", {"has": {"sizes": [0, 8]}}, {"adl": {"layers": ["a.b", "c"]}}]
)
def test_what_is_typed_is_what_was_shown(given: Any) -> None:
    entry = MethodEntry.model_validate(given)
    assert MethodEntry.model_validate(_read(shown(entry))) == entry


def test_what_is_no_yaml_is_said_to_be_none() -> None:
    with pytest.raises(InputError, match=r"found '\{has: \[', which is no YAML: expected the node content"):
        _read("{has: [")


def test_flags_change_what_a_suite_gives_and_nothing_else() -> None:
    kind = command_for(WsolTask(), TaskCommand)
    given = options(
        method={"has": {"sizes": [8]}}, fit={"epochs": 2, "regularizers": [{"cutmix": {"prob": 0.5}}]}
    )
    default = kind(backbone="b", task=given, runtime=RuntimeOptions())
    found = parse(kind, "wsol", ["--backbone", "b", "--fit.epochs", "5", "--batch-size", "7"], default)
    assert found.runtime.batch_size == 7
    assert found.task == given.model_copy(update={"fit": given.fit.model_copy(update={"epochs": 5})})
    off = parse(kind, "wsol", ["--backbone", "b", "--fit.regularizers"], default)
    assert off.task.fit.regularizers == []


@pytest.mark.parametrize(
    "given", [{"sigma": 0}, {"sigma": 1}, {"interval": 0}, {"map_class": "true"}, {"fit": "cub"}]
)
def test_values_without_meaning_are_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        options(**given)
