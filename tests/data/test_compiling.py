"""What is compiled where nothing can be kept on disk."""

import pytest

from eval_suite.data import compiling


def test_without_a_folder_to_write_to_it_is_compiled_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []

    def njit(signature: str, **flags: object) -> object:
        calls.append(flags)

        def decorate(function: object) -> object:
            if flags.get("cache"):
                raise RuntimeError("cannot cache function: no locator available")
            return function

        return decorate

    monkeypatch.setattr(compiling, "njit", njit)

    def nothing() -> None: ...

    assert compiling.compiled("void()")(nothing) is nothing
    assert [flags.get("cache") for flags in calls] == [True, None]
