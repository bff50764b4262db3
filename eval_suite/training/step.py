"""One optimiser step on one batch: regularised, in parts where memory is short, alone or with other processes."""

from contextlib import nullcontext
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from eval_suite.core.runtime import derive_seed
from eval_suite.data.loading import Batch
from eval_suite.training.batch_norm import GroupedBatchNorm, synchronise
from eval_suite.training.objective import TrainInit
from eval_suite.training.preparation import regularised_network
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers import Shard, regularise

_STEP = 0x57E9  # purpose of `derive_seed`


def accelerator_on(device: torch.device, precision: Literal["fp32", "bf16"]) -> Accelerator:
    """What moves batches, networks and gradients, for a training on this kind of device."""
    torch.backends.cudnn.benchmark = device.type == "cuda"
    # Accelerate keeps one state per process; another training in this process may choose another precision.
    AcceleratorState._reset_state()  # noqa: SLF001 - accelerate's state outlives a training otherwise
    return Accelerator(cpu=device.type == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")


class TrainStep:
    """The network in training, with its optimiser and all that happens between a batch and its gradient.

    Attributes:
        model: the objective as the processes share it.
        optimizer: SGD over the start's parameter groups.
        network: the network with the regularizers that act inside it; None where none does.
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
        optimizer = torch.optim.SGD(
            start.parameter_groups(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
        self.model, self.optimizer = accelerator.prepare(objective, optimizer)

    def begin(self, epoch: int) -> None:
        """Set the network to training, and the learning rates of an epoch, counted from 0."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * self._recipe.learning_rate(epoch)

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
        # For the passes that some regularizers look at images with; everything else keeps its precision.
        with self._accelerator.autocast():
            images, targets = regularise(
                self._regularizers,
                batch.images,
                batch.labels,
                self._classes,
                torch.Generator().manual_seed(key),
                self._fill,
                progress=(epoch + step / steps_per_epoch) / self._recipe.epochs,
                share=self._share,
                network=self.network,
            )
        if self._recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        total = self._gradients(images, targets)
        self.optimizer.step()
        return self._accelerator.reduce(total, "mean") if self._share.world > 1 else total

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
                loss: Tensor = self.model(some, their) * (len(some) / len(images))
                self._accelerator.backward(loss)
            total += loss.detach()
        return total
