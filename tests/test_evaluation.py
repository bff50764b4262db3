"""What holds of every task."""

from typing import Any

import pytest
from pydantic import BaseModel

from eval_suite.detection.options import TITLES
from eval_suite.evaluation import TASKS
from eval_suite.ood.scores import SCORES
from eval_suite.ood.scoring import AUROC, metric_name
from eval_suite.report.sections import SECTIONS

NAMES = {
    "wsol": [*SECTIONS["wsol"].metrics, "PxAP"],
    "detect": [f"{title} mAP (VOC07 11-point, +1)" for title in TITLES.values()],
    "ood": [metric_name(AUROC, score) for score in SCORES],
    "robustness": [
        "Centre occlusion error (area over hole side, mean fill)",
        "In-between error, Mixup (area over λ)",
        "In-between error, CutMix (area over hole side)",
        "Mean corruption error (15 corruptions, severities 1-5)",
    ],
}


@pytest.mark.parametrize("task", TASKS)
def test_the_protocol_names_options_there_are_and_metrics_there_are(task: str) -> None:
    for option, parts in TASKS[task].protocol.items():
        model: Any = TASKS[task].options
        *outer, last = option.split(".")
        for name in outer:
            model = model.model_fields[name].annotation
            assert issubclass(model, BaseModel)
        assert last in model.model_fields
        for part in parts:
            found = [name for name in NAMES[task] if part in name]
            assert found, part
            assert len(found) < len(NAMES[task]), f"{part} is in every name"


def test_what_is_compared_on_purpose_is_no_protocol() -> None:
    assert {"method", "fit", "maps", "sigma", "data"}.isdisjoint(TASKS["wsol"].protocol)
    assert not TASKS["classify"].protocol
