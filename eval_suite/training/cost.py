"""What a training costs the machine: where it computes, and the most memory it has held."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def processor_of(device: torch.device) -> str:
    """What a training's times were measured on: the GPU's name, or the CPU threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"


def forget_peak(device: torch.device) -> None:
    """Measure memory anew, so that a training does not show what was held before it; on a CPU only Linux can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        _FORGET.write_text("5")


def peak_memory(device: torch.device) -> int:
    """The most bytes held since `forget_peak`: by tensors on a GPU, else by the whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    # Never forgotten; Linux counts KiB, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
