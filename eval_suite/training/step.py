"""One optimiser step on one batch: regularised, in parts where memory is short, alone or with other processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.runtime import derive_seed
from eval_suite.data.loading import Batch
from eval_suite.training.averaging import WeightAverage
from eval_suite.training.batch_norm import GroupedBatchNorm, synchronise
from eval_suite.training.objective import TrainInit
from eval_suite.training.optimisers import optimiser_of
from eval_suite.training.preparation import regularised_network
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Shard, regularise

_STEP = 0x57E9  # purpose of `derive_seed`


def accelerator_on(
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    trackers: Sequence[str] = (),
    folder: Path | None = None,
) -> Accelerator:
    """What moves batches, networks and gradients, for a training on this kind of device.

    Args:
        device: a CPU or GPU.
        precision: of the network's arithmetic.
        trackers: those that shall get the log.
        folder: where trackers that write files do so.
    """
    torch.backends.cudnn.benchmark = device.type == "cuda"
    # Accelerate keeps one state per process; another training in this process may choose another precision.
    AcceleratorState._reset_state()  # noqa: SLF001 - accelerate's state outlives a training otherwise
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        log_with=list(trackers) or None,
        project_dir=folder,
    )


class TrainStep:
    """The network in training, with its optimiser and all that happens between a batch and its gradient.

    Attributes:
        model: the objective as the processes share it.
        optimizer: the recipe's, over the start's parameter groups.
        network: the network with the regularizers that act inside it; None where none does.
        average: the moving average of the weights; None where the recipe keeps none.
        passed: images that went forward through the network in the last step, those that regularizers looked at included.
    """

    def __init__(
        self, recipe: Recipe, start: TrainInit, accelerator: Accelerator, share: Shard, seed: int
    ) -> None:
        """Install the regularizers, and place the network; an error of either is that of `regularised_network`."""
        self._recipe, self._accelerator, self._share, self._seed = recipe, accelerator, share, seed
        objective = start.objective
        self._classes = len(objective.backbone.card.classes)
        self._fill = torch.tensor(objective.backbone.card.mean)
        self._regularizers = recipe.ordered_regularizers()
        groups = recipe.batch_norm_groups
        if groups == 1 and share.world > 1:
            synchronise(objective, accelerator.device)
        passes = share.world * recipe.accumulate
        self._norms = GroupedBatchNorm(objective, max(1, (groups or 0) // passes))
        self.network = regularised_network(recipe, start)
        memory = torch.channels_last if recipe.channels_last else torch.contiguous_format
        objective.to(accelerator.device, memory_format=memory)  # type: ignore[call-overload]
        self.average = None if recipe.ema is None else WeightAverage(objective, recipe.ema)
        self.passed = 0
        self._net = objective.backbone.get_submodule(objective.network)
        optimizer = optimiser_of(recipe, start)
        if recipe.compile:
            # In place: the keys stay, and evaluation, which calls the backbone alone, is not compiled.
            objective.compile()
        self.model, self.optimizer = accelerator.prepare(objective, optimizer)

    def begin(self, epoch: int) -> None:
        """Set the network to training, and the learning rates of an epoch, counted from 0."""
        self.model.train()
        self._set_rate(epoch)

    def step(self, batch: Batch, epoch: int, step: int, steps_per_epoch: int) -> Tensor:
        """Learn from one batch.

        Args:
            batch: this process's images and labels.
            epoch: counted from 0.
            step: counted from 0 within the epoch.
            steps_per_epoch: of the whole epoch.

        Returns:
            The mean loss over the batches of all processes, a scalar.
        """
        # Seeding every step by its place lets a resumed run draw what the uninterrupted one would have drawn,
        # also in layers that use torch's global generator (dropout, stochastic depth).
        key = derive_seed(self._seed, epoch, step, _STEP)
        torch.manual_seed(key)
        place = epoch + step / steps_per_epoch
        if self._recipe.schedule_by == "step":
            self._set_rate(place)
        # For the passes that some regularizers look at images with; everything else keeps its precision.
        with self._counting(), self._accelerator.autocast():
            images, targets = regularise(
                self._regularizers,
                batch.images,
                batch.labels,
                self._classes,
                torch.Generator().manual_seed(key),
                self._fill,
                progress=place / self._recipe.epochs,
                share=self._share,
                network=self.network,
            )
        self.passed += len(images)
        if self._recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        total = self._gradients(images, targets)
        if self._recipe.clip_grad is not None:
            self._accelerator.clip_grad_norm_(self.model.parameters(), self._recipe.clip_grad)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return self._accelerator.reduce(total, "mean") if self._share.world > 1 else total

    def _set_rate(self, place: float) -> None:
        rate = self._recipe.learning_rate(place)
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * rate

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Count the images that the network sees inside, from none on; a hook here would be traced where it is compiled."""
        self.passed = 0

        def see(_network: object, inputs: tuple[Any, ...]) -> None:
            self.passed += len(inputs[0])

        handle = self._net.register_forward_pre_hook(see)
        try:
            yield
        finally:
            handle.remove()

    def _gradients(self, images: Tensor, targets: Tensor) -> Tensor:
        """Those of the mean loss, part by part; only the last part's are exchanged, and hold those of all."""
        count = self._recipe.accumulate
        parts = list(zip(images.chunk(count), targets.chunk(count), strict=True))
        total = torch.zeros((), device=self._accelerator.device)
        for number, (some, their) in enumerate(parts):
            last = number == len(parts) - 1
            first_group = number == 0 or self._recipe.batch_norm_groups is None
            with (
                nullcontext() if last else self._accelerator.no_sync(self.model),
                nullcontext() if first_group else self._norms.frozen(),
            ):
                with _compiling() if self._recipe.compile else nullcontext():
                    loss: Tensor = self.model(some, their)
                loss = loss * (len(some) / len(images))
                self._accelerator.backward(loss)
            total += loss.detach()
        return total


@contextmanager
def _compiling() -> Iterator[None]:
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise InputError(
            expected="a network and a compiler that torch.compile can work with",
            found=first_line(error),
            remedy="leave compile out of the recipe, or install a C++ compiler (on a GPU: Triton)",
        ) from None
