"""SPICE by its own Java program, where the models it needs have been put."""

import json
import math
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import EvalSuiteError
from eval_suite.tasks.caption.java import running, toolkit_folder

_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_SECONDS, _SECONDS_A_CAPTION = 300.0, 1.0


class Spice(NamedTuple):
    """SPICE F-score of each caption (n,), NaN where the program gives none, and their mean over the others."""

    score: float
    each: NDArray[np.float64]


def spice_missing() -> str:
    """Why SPICE cannot be computed here; empty where it can."""
    folder = toolkit_folder() / "spice"
    if all((folder / "lib" / name).is_file() for name in _MODELS):
        return ""
    return "its models are not in spice/lib of pycocoevalcap"


def spice(candidates: list[str], references: list[list[str]], java: Path) -> Spice:
    """SPICE of tokenised captions; its files lie in a temporary folder.

    Raises:
        EvalSuiteError: if the program fails or does not end in time.
    """
    folder = toolkit_folder() / "spice"
    question = [
        {"image_id": i, "test": candidate, "refs": texts}
        for i, (candidate, texts) in enumerate(zip(candidates, references, strict=True))
    ]
    with tempfile.TemporaryDirectory(prefix="eval-suite-spice-") as name:
        asked, answered = Path(name) / "captions.json", Path(name) / "scores.json"
        asked.write_text(json.dumps(question), "utf-8")
        (Path(name) / "cache").mkdir()
        arguments = [
            *("-Xmx8G", "-jar", "spice-1.0.jar", str(asked), "-cache", str(Path(name) / "cache")),
            *("-out", str(answered), "-subset", "-silent"),
        ]
        seconds = _SECONDS + _SECONDS_A_CAPTION * len(candidates)
        with running("SPICE", java, arguments, seconds=seconds, folder=folder) as program:
            program.finish([])
        try:
            answers = {
                item["image_id"]: item["scores"]["All"]["f"]
                for item in json.loads(answered.read_text("utf-8"))
            }
            each = np.array([float(answers[i]) for i in range(len(candidates))])
        except (OSError, ValueError, KeyError, TypeError):
            raise EvalSuiteError("SPICE (Java) ended without scores for every caption") from None
    known = each[~np.isnan(each)]
    return Spice(float(known.mean()) if len(known) else math.nan, each)
