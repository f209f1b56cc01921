"""Out-of-memory errors are recognised."""

import pytest
import torch

from metarun.system.memory import is_out_of_memory


def test_torchs_cpu_error_is_recognised():
    with pytest.raises(RuntimeError, match="alloc") as caught:
        torch.empty(2**52)  # 2**54 bytes
    assert is_out_of_memory(caught.value)


def test_other_errors_are_not_out_of_memory():
    with pytest.raises(RuntimeError, match="must match the size") as caught:
        torch.ones(2) + torch.ones(3)
    assert not is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
