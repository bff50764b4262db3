"""How many operations a network takes for an image."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eval_suite.backbones.probe import unchanged


def multiply_adds(net: nn.Module, input_size: tuple[int, int]) -> int | None:
    """Multiply-adds of one image's forward pass: of convolutions, matrix products and attention, as torch counts them.

    Args:
        net: normalised images (N, 3, H, W) to anything.
        input_size: (H, W).

    Returns:
        Half the floating-point operations; None where the network cannot be counted, as one of TorchScript.
    """
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    counter, fast = FlopCounterMode(display=False), torch.backends.mha.get_fastpath_enabled()
    # Two images, as networks that squeeze their outputs take no one image alone.
    images = torch.zeros(2, 3, *input_size, device=device)
    try:
        # Fused attention is not counted on every device; as matrix products it is.
        torch.backends.mha.set_fastpath_enabled(False)
        with unchanged(net), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            net.eval()(images)
    except Exception:  # noqa: BLE001 - what cannot be counted still can be evaluated
        return None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // (2 * len(images)) or None
