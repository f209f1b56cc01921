"""How an error says that there is no memory left."""

import pytest
import torch

from metarun.system.memory import ran_out


def test_torchs_own_error_on_this_computer_is_known():
    with pytest.raises(RuntimeError, match="alloc") as caught:
        torch.empty(2**52)  # 2**54 bytes
    assert ran_out(caught.value)


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match="must match the size") as caught:
        torch.ones(2) + torch.ones(3)
    assert not ran_out(caught.value)
    assert ran_out(MemoryError())
