"""MMDetection as this suite uses it: imported without its noise, with the faults of its fork patched.

What is patched, each until upstream does it (tests/tasks/detect/test_openmmlab.py says when):

1. ``SSDHead.predict`` reads ``self.loss_cls``, which SSDHead never sets: AttributeError.
   open-mmlab/mmdetection issues 11063, 11305 and 11780; pull request 11524 was never merged.
2. Importing mmdet prints "Could not import OneDL. Skipping OneDL datasets.", the fork's own, and warns of
   ``torch.jit.script``, which torch gives up, for each of some seventy functions of its dependencies.
3. MMEngine picks the device when it is imported and the Runner asks nobody else, so a CPU cannot be chosen where
   there is a GPU. Upstream's answer is to hide the GPU from the process: open-mmlab/mmdetection issue 7346.
4. Several processes together always want a GPU each: ``init_dist`` and ``Runner.wrap_model`` name one to torch also
   for gloo. No issue upstream.
5. Under autocast to bfloat16 anchors and regions take the type of the feature maps, 8 bits for a coordinate;
   ``AmpOptimWrapper`` refuses to work on a CPU. No issue upstream.
6. The Runner speaks to the console (open-mmlab/mmengine pull request 781, closed unmerged), describes the machine with
   the help of a compiler (since pull request 384; 1647, which leaves it out, is open), and dumps an empty config.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from eval_suite.backbones.inference import autocast
from eval_suite.core.errors import EvalSuiteError, first_line
from eval_suite.core.packages import install_command
from eval_suite.tasks.detect.operators import register_operators


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what OpenMMLab's packages print and warn from the user."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@cache
def load_openmmlab() -> None:
    """Import MMDetection, register its modules, and mend them.

    Raises:
        EvalSuiteError: if it is not installed.
    """
    register_operators()
    try:
        with quiet():
            import mmdet.datasets
            import mmdet.models  # noqa: F401 - imported for what it registers
            from mmdet.models.dense_heads import SSDHead
            from mmengine.registry import DefaultScope
    except ImportError as error:
        raise EvalSuiteError(
            f"detection needs MMDetection, which cannot be imported ({first_line(error)}); "
            f"install it with: {install_command('detection')}"
        ) from error
    if not hasattr(SSDHead, "loss_cls"):
        SSDHead.loss_cls = None
    # Names in configs are looked up in MMDetection first.
    DefaultScope.get_instance("eval_suite", scope_name="mmdet")


def keep_float32_between_parts(model: torch.nn.Module) -> None:
    """Have each part of a detector pass on float32, whatever its inside computes in."""
    parts = ("backbone", "neck", "bbox_head", "rpn_head", "roi_head.shared_head", "roi_head.bbox_head")
    modules = dict(model.named_modules())
    for name in parts:
        if name in modules:
            modules[name].register_forward_hook(_answer_in_float32)


def optim_wrapper_at(precision: str, device: torch.device) -> type:
    """The Runner's class that steps the optimiser after a forward pass at a precision."""
    from mmengine.optim import OptimWrapper

    class AutocastOptimWrapper(OptimWrapper):
        """Without loss scaling, which bfloat16 needs none of."""

        @contextlib.contextmanager
        def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
            with super().optim_context(model), autocast(device, precision):
                yield

    return AutocastOptimWrapper


def runner_state(runner: Any, step: int) -> dict[str, Any]:
    """What a Runner needs to continue after a step, as tensors and plain values."""
    return {
        "model": getattr(runner.model, "module", runner.model).state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
        "step": step,
    }


def make_runner(
    work: Path,
    device: torch.device,
    state: Mapping[str, Any] | None = None,
    resuming: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    **settings: Any,
) -> Any:
    """MMEngine's Runner, silent, on our device, and with its files in a folder of ours.

    Args:
        work: the folder.
        device: where to compute.
        state: of `runner_state`, to continue from. The Runner's own checkpoints are no way to do it: where they hold more
            than tensors, it reads them as code.
        resuming: what words the errors of continuing.
        settings: the Runner's.
    """
    import mmengine.device.utils
    from mmengine.model import MMDistributedDataParallel
    from mmengine.runner import Runner

    mmengine.device.utils.DEVICE = device.type
    # The Runner's word for torchrun. Its Slurm launcher is left alone: training knows torchrun only, which srun can start.
    launcher = "pytorch" if "LOCAL_RANK" in os.environ else "none"
    together_without_gpu = launcher != "none" and device.type == "cpu"
    if together_without_gpu and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")

    class QuietRunner(Runner):
        """Logs to its file only."""

        def build_logger(self, *arguments: Any, **keywords: Any) -> Any:
            logger = super().build_logger(*arguments, **keywords)
            for handler in list(logger.handlers):
                if not isinstance(handler, logging.FileHandler):
                    logger.removeHandler(handler)
            return logger

        def load_or_resume(self) -> None:
            if state is None:
                return
            model: Any = getattr(self.model, "module", self.model)
            with resuming():
                model.load_state_dict(state["model"])
                parts = [self.optim_wrapper, *(self.param_schedulers or ())]
                for part, saved in zip(parts, [state["optimizer"], *state["schedulers"]], strict=True):
                    part.load_state_dict(saved)
                self.train_loop._iter = state["step"]  # noqa: SLF001 - the loop has no other way to start later

        def wrap_model(self, wrapper: Any, model: Any) -> Any:
            if together_without_gpu:
                return MMDistributedDataParallel(model, broadcast_buffers=False)
            return super().wrap_model(wrapper, model)

        def _log_env(self, _env: Any) -> None:
            """The record holds what there is to know of the machine."""

        def dump_config(self) -> None:
            """The options in the record are the configuration."""

    return QuietRunner(work_dir=str(work), launcher=launcher, default_scope="mmdet", **settings)


def _answer_in_float32(_part: torch.nn.Module, _given: Any, output: Any) -> Any:
    return _float32(output)


def _float32(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.float()
    return type(output)(_float32(each) for each in output)
