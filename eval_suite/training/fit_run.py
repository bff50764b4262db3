"""One fit in one folder, however often it is stopped: the frame that every training and fine-tuning runs in."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from eval_suite.backbones.checkpoint import load_state, save_state, state_sha256, unusable
from eval_suite.core.errors import DivergenceError, EvalSuiteError
from eval_suite.core.files import read_file
from eval_suite.core.machine import machine_error
from eval_suite.core.runtime import first_process
from eval_suite.core.store import atomic_write, exclusive, write_json

log = logging.getLogger(__name__)

WEIGHTS, STATE, LOG = "model.safetensors", "state.pt", "log.jsonl"


class FitRun:
    """The lock, identity, state, guard against divergence and log of a fit.

    A finished fit leaves ``model.safetensors``, its description and ``log.jsonl``; until then ``state.pt`` holds the
    last good state, from which the same call continues. Of several processes that fit together, the first alone writes.

    Args:
        folder: of the fit.
        identity: all that decides the outcome, as plain values; a state or a description that differs in one of them
            belongs to another fit and is not used.
        purpose: what is done, for messages: ``"training"``.
        description: name of the file that a finished fit is described in.
        save_interval: minutes between saved states.

    Example:
        >>> with FitRun(folder, {"digest": "ab12"}, purpose="training").held() as fit:  # doctest: +SKIP
        ...     state = fit.state()
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        purpose: str,
        description: str = "fitted.json",
        save_interval: float = 1.0,
    ) -> None:
        self.folder = folder
        self._identity, self._purpose = dict(identity), purpose
        self._description, self._save_seconds = folder / description, 60 * save_interval
        self._saved = time.monotonic()

    @contextmanager
    def held(self) -> Iterator["FitRun"]:
        """Hold the folder against other fits, and torch's global random state for this one.

        Steps of a fit seed the global generators by their number, since layers such as dropout draw from them; outside
        they are as they were before.

        Raises:
            BusyError: if another process fits in the folder.
        """
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        lock = exclusive(self.folder, self._purpose) if first_process() else nullcontext()
        with lock, torch.random.fork_rng(devices=devices):
            yield self

    def finished(self) -> dict[str, Any] | None:
        """The description that a finished fit of this identity left, None where there is none."""
        try:
            found = json.loads(read_file(self._description))
        except (OSError, ValueError, RecursionError):
            return None
        whole = isinstance(found, dict) and (self.folder / WEIGHTS).is_file()
        return found if whole and self._is_this(found) else None

    def state(self) -> dict[str, Any] | None:
        """The last good state of this fit, None where it has not begun.

        Raises:
            InputError: if there is a state that cannot be read.
        """
        state = load_state(self.folder / STATE)
        if state is None:
            return None
        if not self._is_this(state):
            log.info(
                "the unfinished %s in %s had other options or data: starting again",
                self._purpose,
                self.folder,
            )
            return None
        return state

    @contextmanager
    def resuming(self) -> Iterator[None]:
        """Word what goes wrong while a state is taken up.

        Raises:
            InputError: if it lacks something, or does not fit the network.
        """
        with _taking_up(self.folder / STATE, "a state to continue from"):
            yield

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved > self._save_seconds

    def save(self, state: Mapping[str, Any], rows: Iterable[NamedTuple] = ()) -> None:
        """Save a state (tensors and plain values) that `require_good` has passed, and the log so far."""
        if first_process():
            save_state(self.folder / STATE, {**state, **self._identity})
            write_log(self.folder / LOG, rows)
        self._saved = time.monotonic()

    def require_good(
        self, loss: float, weights: Mapping[str, Tensor] | None, *, where: str, remedy: str
    ) -> None:
        """Check that nothing has diverged.

        Args:
            loss: of the last step or the sum of many.
            weights: checked too before anything is kept, as a finite loss can still be followed by a step to infinity.
            where: the place in the fit, for the message: ``"in epoch 3"``.
            remedy: what to do.

        Raises:
            DivergenceError: if the loss or a weight is not finite; the last good state stays.
        """
        diverged = "" if math.isfinite(loss) else "the loss"
        if (
            not diverged
            and weights is not None
            and not all(bool(v.isfinite().all()) for v in weights.values())
        ):
            diverged = "a weight"
        if diverged:
            kept = (
                f"the last good state is kept in {self.folder}"
                if (self.folder / STATE).is_file()
                else "no state was saved yet"
            )
            raise DivergenceError(f"{diverged} stopped being finite {where}; {kept}", remedy=remedy)

    def finish(
        self, weights: Mapping[str, Tensor], description: Mapping[str, Any], rows: Iterable[NamedTuple] = ()
    ) -> None:
        """Write the weights and then their description, whose presence means that they are whole and its own."""
        if not first_process():
            return
        self._description.unlink(missing_ok=True)
        write_log(self.folder / LOG, rows)
        # Cloned, because safetensors refuses tensors that share their memory, as tied weights do.
        held = {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}
        with atomic_write(self.folder / WEIGHTS, "wb") as stream:
            stream.write(save(held))
        write_json(self._description, {"weights_sha256": state_sha256(held), **description})
        (self.folder / STATE).unlink(missing_ok=True)

    def _is_this(self, content: Mapping[str, Any]) -> bool:
        return all(content.get(key) == value for key, value in self._identity.items())


_Used = TypeVar("_Used")


def read_fitted(
    folder: Path, description: Mapping[str, Any], use: Callable[[dict[str, Tensor]], _Used]
) -> _Used:
    """Use the weights that a finished fit left in a folder.

    Args:
        folder: of the fit.
        description: what the fit left about them; with their hash, they are held to it.
        use: takes the weights; what it gives is returned.

    Raises:
        InputError: if they are damaged, others than the fit's, or do not fit the network.
    """
    path = folder / WEIGHTS
    with _taking_up(path, "the weights that the fit left"):
        weights: dict[str, Tensor] = load_file(path)
        expected, found = description.get("weights_sha256"), state_sha256(weights)
        if expected not in (None, found):
            raise ValueError(f"weights {found[:12]} and not {expected[:12]}")
        return use(weights)


@contextmanager
def _taking_up(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except EvalSuiteError:
        raise
    except Exception as error:
        # What a damaged file raises is anyone's guess; the machine's errors have words of their own.
        if machine_error(error) is not None:
            raise
        raise unusable(path, what, error) from None


def write_log(path: Path, rows: Iterable[NamedTuple]) -> None:
    """Write what is known of each epoch, or of some steps, as JSON lines, atomically."""
    with atomic_write(path) as stream:
        stream.writelines(json.dumps(row._asdict(), allow_nan=False) + "\n" for row in rows)
