"""Batches of worker processes: whatever ends a worker, nobody waits for it."""

import gc
import os
import signal
import time
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.data import workers
from eval_suite.data.workers import WorkerLoader


class Unsendable:
    """What full shared memory does to a batch: it cannot be handed over."""

    def __reduce__(self) -> Any:
        raise RuntimeError("unable to allocate shared memory(shm)")


class Items(Dataset[Any]):
    """Numbers 0 to 5, of which the fourth is trouble."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble = trouble

    def __len__(self) -> int:
        return 6

    def __getitem__(self, number: int) -> Any:
        if number == 3 and self.trouble:
            return self._meet_trouble()
        return torch.full((4,), number)

    def _meet_trouble(self) -> Any:
        if self.trouble == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble == "stands still":
            time.sleep(600)
        if self.trouble == "wrong":
            raise InputError("expected this, found that; do so")
        if self.trouble == "memory":
            raise MemoryError
        return Unsendable()


def loader(trouble: str = "", workers: int = 1) -> WorkerLoader:
    return WorkerLoader(Items(trouble), workers=workers, batch_size=2, collate=torch.stack)


# Torch raises from its handler of SIGCHLD wherever that arrives, be it among the temporary files by which it looks for a limit:
# what is left of them goes here, where it may complain, or it would in some later test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("trouble", ["killed", "unsendable"])
def test_a_worker_that_ends_is_an_error_with_the_way_out(trouble: str) -> None:
    with pytest.raises(EvalSuiteError, match=r"--workers 0.*--shm-size"):
        list(WorkerLoader(Items(trouble), workers=1, batch_size=None))
    gc.collect()


def test_a_worker_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_SECONDS", 1)
    with pytest.raises(EvalSuiteError, match=r"stands still \(DataLoader timed out after 1 seconds\)"):
        list(loader("stands still"))


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    ("trouble", "kind", "message"),
    [
        ("wrong", InputError, "expected this, found that; do so"),
        (
            "memory",
            EvalSuiteError,
            "the machine is out of memory; lower --batch-size or --workers, or free some memory",
        ),
    ],
)
def test_errors_of_the_data_arrive_as_they_were_raised(
    count: int, trouble: str, kind: type[EvalSuiteError], message: str
) -> None:
    batches = iter(loader(trouble, count))
    assert next(batches).tolist() == [[0] * 4, [1] * 4]
    with pytest.raises(EvalSuiteError) as raised:
        next(batches)
    assert type(raised.value) is kind
    assert str(raised.value) == message


def test_through_pipes_or_shared_memory_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for free in (0, 2**40):
        monkeypatch.setattr(workers, "shared_memory_free", lambda free=free: free)
        batches = list(loader())
        assert all(batch.is_shared() == (free > 0) for batch in batches)
        found[free] = torch.cat(batches)
    assert torch.equal(*found.values())
    assert torch.equal(found[0], torch.cat(list(loader(workers=0))))
