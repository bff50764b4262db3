"""What a few passes tell of a network: its outputs, its last feature map, and what is odd about the way it answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from eval_suite.backbones.structure.vectors import lacks_last_layer, vectors_of
from eval_suite.core.errors import InputError, first_line

OTHER_CHANNELS = (
    "let a factory of yours load its weights and put a conversion before it, for grey images "
    "nn.Sequential(torchvision.transforms.Grayscale(), net), and give --mean and --std equal for all channels"
)
_SUMS_TO_ONE = 1e-3
_SAME = 1e-3  # of the range of the outputs: passes over the same images differ by rounding alone
_SAME_ALONE = 1e-2  # other batch sizes take other kernels
_ENOUGH_OUTPUTS = 4  # below, outputs may all lie in 0..1 by chance
_BEHAVES_AT = (64, 64)


class Probe(NamedTuple):
    """What a few passes showed of a network.

    Attributes:
        outputs: how many logits it gives an image; 0 where it gives features.
        feature_layer: the dotted name of the layer with its last feature map; None where it has none.
        warnings: each a name, a colon, and what it means for the numbers.
        features: in words, what its vectors are where it has no classes; else empty.
    """

    outputs: int
    feature_layer: str | None
    warnings: tuple[str, ...] = ()
    features: str = ""


def probe(net: nn.Module, input_size: tuple[int, int], *, headless: bool = False) -> Probe:
    """Run two images of noise through a network, and watch its layers finish; nothing of it is changed.

    The feature layer is the last one to finish whose output is (N, C, h, w) with h*w > 1; None where later layers
    work on token sequences (N, tokens, C), since then no such map is what the logits are pooled from, or where timm
    says that the network's maps are (N, h, w, C).

    Args:
        net: network taking (N, 3, H, W), in single precision.
        input_size: (H, W) of the probe.
        headless: the network is said to return features. What is no (N, classes), and what ends where the last layer
            should be, is taken for features without being named.

    Raises:
        InputError: if the network cannot take such images, or returns neither logits nor features of each.
    """
    _require_values(net)
    finished: list[tuple[str, torch.Size]] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                finished.append((name, output.shape))

        return hook

    with unchanged(net) as buffers:
        noise = torch.randn(2, 3, *input_size, generator=torch.Generator().manual_seed(0))
        images = noise.to(_device(net)).requires_grad_()
        handles = [
            module.register_forward_hook(watch(name))
            for name, module in net.named_modules()
            if name and not isinstance(module, torch.jit.ScriptModule)  # these cannot be watched
        ]
        try:
            with torch.enable_grad():
                output = net.eval()(images.clone())  # networks may change their input in place
        except (Exception, SystemExit) as error:
            raise _refusal(net, input_size, error) from error
        finally:
            for handle in handles:
                handle.remove()
        vectors = vectors_of(output)
        if vectors is None or len(vectors.values) != len(images) or not vectors.values.numel():
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(
                expected="a classifier returning logits (N, classes), or a network returning features of each image",
                found=f"{found} for 2 images",
                remedy="let the network return its logits or its features alone",
            )
        classifies = isinstance(output, Tensor) and output.ndim == 2
        headless = headless or not classifies or (bool(finished) and lacks_last_layer(net, finished[-1][0]))
        output = vectors.values
        warnings = [] if headless else _of_values(output.detach())
        warnings += _of_repetition(net, images.detach(), output.detach())
        warnings += _of_gradient(images, output)
        if any(not torch.equal(value, buffers[name]) for name, value in net.named_buffers()):
            warnings.append(
                "changing: the network changes its own buffers while it is evaluated, so that results depend on the order "
                "of images; let it stay in evaluation mode"
            )
    layer = _feature_layer(net, finished)
    if headless:
        return Probe(0, layer, tuple(warnings), f"{vectors.how}, {output.shape[1]:,} numbers")
    return Probe(output.shape[1], layer, tuple(warnings))


def behaviour(net: nn.Module, input_size: tuple[int, int]) -> str | None:
    """What a network makes of noise, in three rounded numbers; None where that cannot be said.

    Weights do not tell all of a network: the code of its forward pass may have changed, or a pooling been exchanged. Of
    the outputs' magnitudes the mean, and how much of it positive and negative ones hold, later ones weighing more: no sum
    in which rounding grows, so that three digits are the same on other machines.

    Args:
        net: network taking (N, 3, H, W), in single precision.
        input_size: (H, W) that it takes, used where it cannot take 64x64 pixels, so that the size asked for hardly counts.
    """
    for size in (_BEHAVES_AT, input_size):
        with suppress(Exception, SystemExit), unchanged(net), torch.no_grad():
            torch.manual_seed(0)  # for a network that draws
            images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(_device(net))
            found = vectors_of(net.eval()(images))
            if found is not None:
                return _in_numbers(found.values.double().cpu())
    return None


def _in_numbers(values: Tensor) -> str:
    mean = float(values.abs().mean())
    weights = torch.linspace(1, 2, values.shape[1], dtype=values.dtype)
    shares = [float((part.clamp(min=0) * weights).mean()) / (mean or 1) for part in (values, -values)]
    return f"{mean:.2e} {shares[0]:.3f} {shares[1]:.3f}"


def _require_values(net: nn.Module) -> None:
    """Refuse tensors that hold no numbers, on the meta device or of lazy layers that have never run, and variances that are none."""
    tensors = dict(chain(net.named_parameters(), net.named_buffers()))
    if empty := [name for name, value in tensors.items() if value.is_meta or is_lazy(value)]:
        raise InputError(
            expected="a network whose parameters hold values",
            found=f"{len(empty):,} without, first '{empty[0]}'",
            remedy="make it on a real device, and run lazy layers once or load weights into them",
        )
    # What BatchNorm divides by infinity is 0, whatever the image: the outputs would look sound.
    variances = {name: value for name, value in tensors.items() if name.endswith("running_var")}
    if wrong := [name for name, value in variances.items() if not ((value >= 0) & value.isfinite()).all()]:
        raise InputError(
            expected="finite running variances of 0 or more",
            found=f"{len(wrong):,} of others, first '{wrong[0]}'",
            remedy="the training diverged, or the weights were averaged or edited; give others",
        )


@contextmanager
def unchanged(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Restore modes, buffers and random numbers afterwards; gives the buffers as they were."""
    modes = {module: module.training for module in net.modules()}
    buffers = {name: value.detach().clone() for name, value in net.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        try:
            yield buffers
        finally:
            for module, training in modes.items():
                module.training = training
            with torch.no_grad():
                for name, value in list(net.named_buffers()):
                    before = buffers.get(name, value)
                    if (
                        before.shape != value.shape
                    ):  # a table that is laid out anew for images of another size
                        owner, _, own = name.rpartition(".")
                        setattr(net.get_submodule(owner), own, before)
                    elif not torch.equal(value, before):
                        value.copy_(before)


def _device(net: nn.Module) -> torch.device:
    parameter = next(net.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _refusal(net: nn.Module, input_size: tuple[int, int], error: BaseException) -> InputError:
    first = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and first.in_channels != 3 and f"{first.in_channels} channels" in str(error):
        return InputError(
            expected="a network for RGB images",
            found=f"one whose first convolution takes {first.in_channels} channel{'s' * (first.in_channels != 1)}",
            remedy=OTHER_CHANNELS,
        )
    return InputError(
        f"the network cannot take a {input_size[0]}x{input_size[1]} image: {first_line(error)}; see --input-size"
    )


def _feature_layer(net: nn.Module, finished: list[tuple[str, torch.Size]]) -> str | None:
    layer: str | None = None
    for name, shape in finished:
        if len(shape) == 4 and shape[2] * shape[3] > 1:
            layer = name
        elif len(shape) == 3 and shape[1] > 1:
            layer = None
    return None if getattr(net, "output_fmt", "NCHW") == "NHWC" else layer


def _of_values(output: Tensor) -> list[str]:
    """What the values (N, classes) look like."""
    if output.shape[1] < 2 or not output.isfinite().all():
        return []
    remedy = "let the network return logits, without its last activation"
    one = torch.ones(len(output), dtype=output.dtype, device=output.device)
    in_range = bool(((output >= 0) & (output <= 1)).all())
    if in_range and torch.allclose(output.sum(1), one, atol=_SUMS_TO_ONE):
        return [
            f"probabilities: outputs lie in 0..1 and sum to 1, as after a softmax; NLL, ECE, attacks and OOD scores take "
            f"them for logits and are wrong; {remedy}"
        ]
    if in_range and output.shape[1] >= _ENOUGH_OUTPUTS:
        return [
            f"probabilities: all outputs lie in 0..1, as after a sigmoid; NLL, ECE, attacks and OOD scores take them for "
            f"logits and are wrong; {remedy}"
        ]
    if bool((output <= 0).all()) and torch.allclose(output.exp().sum(1), one, atol=_SUMS_TO_ONE):
        return [
            "log-probabilities: the exponentials of the outputs sum to 1, as after a log-softmax; max logit, energy and "
            f"other OOD scores on logits are not those of the network; {remedy}"
        ]
    return []


def _of_repetition(net: nn.Module, images: Tensor, output: Tensor) -> list[str]:
    """Whether the same images give the same outputs again, and each alone."""
    spread = float(output.max() - output.min())
    if not spread or not output.isfinite().all():
        return []
    with torch.no_grad():
        again = vectors_of(net.eval()(images.clone()))
        if again is None or _differ(again.values, output, _SAME * spread):
            return [
                "random: two passes over the same images give other outputs; numbers cannot be repeated, and paired "
                "comparisons take chance for the network; switch its random layers off in evaluation"
            ]
        try:
            alone = vectors_of(net.eval()(images[:1].clone()))
        except Exception:  # noqa: BLE001 - such a network is given its image twice
            return []
    if alone is None or alone.values.numel() != output.shape[1]:
        return []
    if not _differ(alone.values.reshape(1, -1), output[:1], _SAME_ALONE * spread):
        return []
    return [
        "batch-dependent: an image alone gives other outputs than in a batch, as with BatchNorm in training mode; "
        "numbers depend on --batch-size and on the order of images; use the running statistics"
    ]


def _differ(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return one.shape != other.shape or bool((one - other).abs().max() > tolerance)


def _of_gradient(images: Tensor, output: Tensor) -> list[str]:
    """Whether the outputs depend on the images in a way that a gradient shows."""
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    try:
        (gradient,) = torch.autograd.grad(output, images, direction, allow_unused=True)
    except RuntimeError:  # nothing that requires a gradient, or a step without one
        gradient = None
    if gradient is not None and bool(gradient.any()):
        return []
    return [
        "no gradient: the network passes no gradient to its input; attacks, ODIN and gradient maps see a constant "
        "network, and robustness to attacks is overstated"
    ]
