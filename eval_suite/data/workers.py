"""The one loader whose worker processes make batches: it does not wait for one that is gone, and needs no shared memory."""

import multiprocessing.queues
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from eval_suite.core.errors import EvalSuiteError, first_line
from eval_suite.core.machine import machine_error, shared_memory_free, worker_ended

# The slowest batch that is waited for: of images on a slow network disk, or of all corruptions of large images.
_SECONDS = 900
_SIGNAL_SECONDS = 0.2
# Below this, batches go through pipes: a container gives 64 MiB, and a full /dev/shm loses a batch without a word.
_SHARED_BYTES = 2**30


class WorkerLoader(DataLoader[Any]):
    """Torch's loader, with an end to every wait, and errors of data sets as they were raised.

    Args:
        data: items.
        workers: processes that make batches; 0 makes them here.
        collate: makes of what a data set gave, or of a list of it, what is handed over.
        start: runs first in each worker.
        settings: of torch's loader, such as ``sampler`` and ``batch_size``.
    """

    def __init__(
        self,
        data: Dataset[Any],
        *,
        workers: int,
        collate: Callable[[Any], Any] | None = None,
        start: Callable[[], None] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            _Guarded(data),
            num_workers=workers,
            collate_fn=_Collate(collate),
            worker_init_fn=_Start(shared_memory_free() < _SHARED_BYTES, start),
            timeout=_SECONDS if workers else 0,
            generator=torch.Generator(),  # or each pass would draw from torch's global one
            **settings,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Batches.

        Raises:
            EvalSuiteError: if a worker ends or does not answer in time, or what the data set raised.
        """
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                worded = self._worded(error)
                if worded is None:
                    raise
            else:
                worded = batch.error if isinstance(batch, _Failed) else None
            if worded is not None:
                # Out of the handler, where nothing keeps torch's iterator alive: with it go the other workers.
                del batches
                raise worded
            yield batch

    def _worded(self, error: Exception) -> EvalSuiteError | None:
        # Torch begins so where the data set raised; anything else is the connection to a worker that is gone.
        if not self.num_workers or str(error).startswith("Caught "):
            return machine_error(error)
        # The signal of a worker's end may follow the broken connection, and torch raises wherever it arrives.
        with suppress(RuntimeError):
            time.sleep(_SIGNAL_SECONDS)
        return machine_error(error) or worker_ended(first_line(error))


class _Failed(NamedTuple):
    """In the place of an item or a batch: the error to raise where batches are taken."""

    error: EvalSuiteError


class _Guarded(Dataset[Any]):
    """A data set whose errors travel as values: torch would wrap them in the text of a traceback."""

    def __init__(self, data: Dataset[Any]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.data[key]
        except EvalSuiteError as error:
            return _Failed(error)
        except (MemoryError, OSError, RuntimeError) as error:
            worded = machine_error(error)
            if worded is None:
                raise
            return _Failed(worded)


class _Collate:
    def __init__(self, collate: Callable[[Any], Any] | None) -> None:
        self._collate = collate

    def __call__(self, made: Any) -> Any:
        if isinstance(made, _Failed):
            return made
        failed = (
            next((each for each in made if isinstance(each, _Failed)), None)
            if isinstance(made, list)
            else None
        )
        return failed or (made if self._collate is None else self._collate(made))


class _Start:
    """Readies a worker process."""

    def __init__(self, through_pipes: bool, then: Callable[[], None] | None) -> None:
        self._through_pipes, self._then = through_pipes, then

    def __call__(self, _worker: int) -> None:
        # Python prints the error of a batch that cannot be sent and drops the batch, for which its reader waits for ever.
        multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]  # noqa: SLF001 - torch asks no other way
        if self._through_pipes:
            ForkingPickler.register(torch.Tensor, _by_value)
        if self._then is not None:
            self._then()


def _end(_error: BaseException, _batch: Any) -> None:
    os._exit(1)


def _by_value(tensor: torch.Tensor) -> Any:
    return torch.from_numpy, (tensor.numpy(),)
