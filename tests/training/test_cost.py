"""What a training costs the machine."""

import mmap
import sys

import pytest
import torch

from eval_suite.training.cost import forget_peak, peak_memory

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot measure a process's memory anew")
def test_memory_held_before_a_training_is_not_its_own() -> None:
    forget_peak(CPU)
    before, held = peak_memory(CPU), 64 << 20
    # Mapped, since an allocation may be served from memory that this process holds already.
    with mmap.mmap(-1, held) as filled:
        for offset in range(0, held, mmap.PAGESIZE):
            filled[offset] = 1
        assert peak_memory(CPU) > before + held // 2
    forget_peak(CPU)
    assert peak_memory(CPU) < before + held // 2
