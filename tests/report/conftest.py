"""Fixtures of the report: an empty suite and one with gaps."""

from pathlib import Path

import pytest

from eval_suite.report.render import ReportPaths, write_report
from tests.report.fake_suite import FakeSuite, errors


@pytest.fixture
def suite(tmp_path: Path) -> FakeSuite:
    return FakeSuite(tmp_path / "reports" / "fake")


@pytest.fixture
def four(suite: FakeSuite) -> FakeSuite:
    """Baseline, Mixup, Cutout and CutMix at two seeds: one cell failed, one missing, one partial."""
    return _four(suite)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> ReportPaths:
    """The report of such a suite, to be read only."""
    return write_report(_four(FakeSuite(tmp_path_factory.mktemp("written") / "reports" / "fake")).folder)


def _four(suite: FakeSuite) -> FakeSuite:
    suite.describe(
        title="Four ways to train",
        description="The same network, trained four ways.",
        baseline="baseline",
        backbones=["baseline", "mixup", "cutout", "cutmix"],
        seeds=[0, 1],
        tasks=["classify"],
    )
    rates = {"baseline": (0.30, 0.32), "mixup": (0.29, 0.31), "cutout": (0.33, None), "cutmix": (0.20, 0.22)}
    for backbone, by_seed in rates.items():
        for seed, rate in enumerate(by_seed):
            if rate is None:
                suite.add(backbone, seed, status="failed")
            elif not (backbone == "mixup" and seed == 1):
                pictures = [suite.picture(backbone, f"{index}.png", seed=seed) for index in range(3)]
                suite.add(backbone, seed, wrong=errors(rate), examples=pictures)
    partial = errors(0.2, n=100)
    suite.add("cutmix", 1, wrong=partial, status="partial")
    return suite
