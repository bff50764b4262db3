"""What a task says that it reads of its images."""

from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.data.kinds import CLASSES, kind_of
from eval_suite.tasks.base import Task, TaskOptions
from eval_suite.tasks.evaluate import evaluate


def test_what_a_task_may_say() -> None:
    assert kind_of(None) is CLASSES
    assert kind_of("boxes").path("voc:x") == kind_of("captions").path("coco:x") == Path("x")


@pytest.mark.parametrize("said", ["voc", "Boxes", "classes", "", ["boxes"]])
def test_another_word_is_refused_before_anything_is_loaded(said: Any) -> None:
    class Wrong(Task):
        name, version, title, options = "wrong", 1, "Wrong", TaskOptions
        paper = Paper("", "", 2000, "")
        annotated = said

    with pytest.raises(InputError) as refused:
        evaluate("timm:no_such_network", Wrong, data="voc:nowhere")
    assert refused.value.found == repr(said)
    assert "'boxes', 'captions', 'masks' or None" in refused.value.expected
