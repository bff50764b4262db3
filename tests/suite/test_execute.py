"""How a plan is handed to Snakemake."""

from pathlib import Path

import pytest

from eval_suite.suite.execute import _asking


@pytest.mark.parametrize(("code", "words"), [(0, []), (1, ["--slurm-status-command", "squeue"])])
def test_slurm_is_asked_through_squeue_where_it_keeps_no_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: list[str]
) -> None:
    sacct = tmp_path / "sacct"
    sacct.write_text(f"#!/bin/sh\nexit {code}\n")
    sacct.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _asking("slurm") == words
    assert _asking("kubernetes") == []
    sacct.unlink()
    assert _asking("slurm") == []
