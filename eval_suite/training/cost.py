"""What a training costs the machine: where it computes, and the most memory it has held."""

import resource
import sys

import torch


def processor_of(device: torch.device) -> str:
    """What a training's times were measured on: the GPU's name, or the CPU threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU, {torch.get_num_threads()} threads"


def forget_peak(device: torch.device) -> None:
    """Measure the memory of a GPU anew; that of a process cannot be."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: by tensors on a GPU, else by the whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # Linux counts KiB, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
