import logging
import warnings
from pathlib import Path

import pytest
import torch

from metarun.system.torch_warnings import torch_warnings_logged

OF_TORCH = str(Path(torch.__file__).parent / "nn" / "functional.py")


def warn(text: str, where: str) -> None:
    warnings.warn_explicit(text, UserWarning, where, 1)


@pytest.mark.filterwarnings("always")
def test_torch_warnings_are_logged_once_and_others_are_shown(monkeypatch, caplog):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(str(message)))
    with caplog.at_level(logging.WARNING, "metarun"), torch_warnings_logged():
        for _ in range(2):
            warn("a dim is guessed. (Triggered internally at /a/b.cpp:7.)", OF_TORCH)
        warn("mine", "my_nets.py")
    assert [record.getMessage() for record in caplog.records] == ["torch: a dim is guessed."]
    assert shown == ["mine"]
    warn("afterwards", OF_TORCH)
    assert shown == ["mine", "afterwards"]
