"""No file that a command reads can make it run something: a command planted in each is never run."""

import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval_suite.backbones import features
from eval_suite.backbones.checkpoint import load_state
from eval_suite.backbones.weights_file import read_weights_file
from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.parts import parts
from eval_suite.core.store import read_card, read_record
from eval_suite.core.validation import read_yaml
from eval_suite.data.check import check_data
from eval_suite.data.decoding import FORMATS, size_of_file
from eval_suite.data.pickles import load_pickle
from eval_suite.report.collate import collate
from eval_suite.tasks.evaluate import task_named
from eval_suite.tasks.external import score_file
from eval_suite.training.fit_run import STATE, FitRun


class Command:
    """Unpickled, it makes a folder."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.made,)


def torch_file(command: Command) -> bytes:
    stream = BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(1)}, "planted": command}, stream)
    return stream.getvalue()


def plain_pickle(command: Command) -> bytes:
    return pickle.dumps({"digest": command})


def array(command: Command) -> bytes:
    stream = BytesIO()
    np.save(stream, np.array([command], object), allow_pickle=True)
    return stream.getvalue()


def archive(command: Command) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in ("logits", "ids", "labels", "maps", "known/energy"):
            file.writestr(f"{name}.npy", array(command))
    return stream.getvalue()


def yaml(command: Command) -> bytes:
    return f"name: !!python/object/apply:os.mkdir ['{command.made}']\n".encode()


def postscript(command: Command) -> bytes:
    run = f"%pipe%mkdir {command.made}".encode()
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(" + run + b") (r) file\n"


def unfinished(path: Path) -> None:
    """What every fit does first."""
    FitRun(path.parent, {"digest": "a"}, purpose="fitting").state()


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "weights": ("weights.pth", lambda path: read_weights_file(path)),
    "state of a training": (STATE, load_state),
    "state of a fit": (STATE, unfinished),
    "CIFAR batch": ("data_batch_1", load_pickle),
    "features": ("features.npy", lambda path: features._read(path, path.with_suffix(".json"), {})),
    "SVHN": ("test_32x32.mat", lambda path: check_data(f"svhn:{path.parent}")),
    "suite": ("suite.yaml", read_yaml),
    "record": ("record.json", read_record),
    "card": ("card.json", lambda path: read_card(path.parent)),
    "report": ("suite.json", lambda path: collate(path.parent)),
    "image": ("image.png", size_of_file),
    **{
        f"predictions of {name}": (
            "p.npz",
            lambda path, name=name: score_file(task_named(name), path, None, None),
        )
        for name in parts("task")
    },
}


@pytest.mark.parametrize("form", [torch_file, plain_pickle, array, archive, yaml, postscript])
@pytest.mark.parametrize("reader", READERS)
def test_a_planted_command_does_not_run(
    reader: str, form: Callable[[Command], bytes], tmp_path: Path
) -> None:
    name, read = READERS[reader]
    made = tmp_path / "made"
    path = tmp_path / "folder" / name
    path.parent.mkdir()
    path.write_bytes(form(Command(made)))
    (path.parent / "features.json").write_text("{}")
    with suppress(EvalSuiteError, OSError):  # an image that is none is worded where it is decoded
        read(path)
    assert not made.exists()


def test_the_plant_would_work(tmp_path: Path) -> None:
    pickle.loads(plain_pickle(Command(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()


def test_no_format_is_read_by_another_program() -> None:
    assert not {"EPS", "PDF", "WMF", "FITS"} & set(FORMATS)
