import os

import pytest
import torch

from metarun.errors import UserError
from metarun.system.determinism import CUBLAS, torch_settings


def state():
    products = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    return torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic, *products


@pytest.mark.parametrize(("deterministic", "tf32"), [(False, False), (False, True), (True, False), (True, True)])
def test_torch_settings_are_applied_and_restored(monkeypatch, deterministic, tf32):
    monkeypatch.delenv(CUBLAS, raising=False)
    before = state()
    with torch_settings(deterministic, tf32):
        kind = "tf32" if tf32 else "ieee"
        assert state() == (deterministic, deterministic, kind, kind)
        assert (CUBLAS in os.environ) == deterministic
    assert state() == before


def test_a_cublas_setting_of_the_user_is_kept(monkeypatch):
    monkeypatch.setenv(CUBLAS, ":16:8")
    with torch_settings(deterministic=True, tf32=False):
        assert os.environ[CUBLAS] == ":16:8"


def test_an_operation_that_is_not_deterministic_is_one_sentence(monkeypatch):
    monkeypatch.delenv(CUBLAS, raising=False)
    before = state()
    with (
        pytest.raises(
            UserError, match=r"deterministic=true but put_ does not have a deterministic implementation; use"
        ),
        torch_settings(deterministic=True, tf32=False),
    ):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert state() == before


@pytest.mark.parametrize("deterministic", [True, False])
def test_other_errors_pass_through(monkeypatch, deterministic):
    monkeypatch.delenv(CUBLAS, raising=False)
    with pytest.raises(RuntimeError, match="something else"), torch_settings(deterministic, tf32=False):
        raise RuntimeError("something else")


def test_a_gpu_that_was_used_before_is_an_error(monkeypatch):
    monkeypatch.delenv(CUBLAS, raising=False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(UserError, match="deterministic=true must be set before the GPU is first used"):
        torch_settings(deterministic=True, tf32=False).__enter__()
