"""Only commands that need the network use it.

An audit hook stops every Python process that connects. Other programs, such as wandb's service, get a proxy that
records requests.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.command

HOOK = Path(__file__).parents[1] / "support" / "without_network"
SMALL = [
    *("algo=protonet", "backbone.filters=4", "train.iterations=2", "train.validate_every=1", "train.validate_tasks=2"),
    *("train.meta_batch=1", "test.tasks=3"),
]
LOGGERS = "logger=[csv,tensorboard,wandb,mlflow]"
PROXIES = [name for way in ("http", "https", "all") for name in (f"{way}_proxy", f"{way}_proxy".upper())]
NOT_HANDED_ON = ("no_proxy", "METARUN_MIRROR", "WANDB", "MLFLOW", "DO_NOT_TRACK")  # unset by default


class Proxy(BaseHTTPRequestHandler):
    """Record each request without an answer."""

    requests: list[str]

    def handle_one_request(self) -> None:
        self.requests.append(self.rfile.readline().decode(errors="replace"))
        self.close_connection = True


class Offline:
    """Run commands without a network and record what they try to reach."""

    def __init__(self, folder: Path, port: int, requests: list[str]) -> None:
        self.folder, self.requests = folder, requests
        self.attempts = folder / "attempts"
        kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(tuple(map(str.upper, NOT_HANDED_ON)))}
        self.environment = {
            **kept,
            **dict.fromkeys(PROXIES, f"http://127.0.0.1:{port}"),
            "ATTEMPTS": str(self.attempts),
            "PYTHONPATH": os.pathsep.join([str(HOOK), os.environ.get("PYTHONPATH", "")]),
        }

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=280
        )

    def metarun(self, *words: str) -> None:
        done = self.python("-m", "metarun", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert self.attempted() == [], words

    def attempted(self) -> list[str]:
        return [*(self.attempts.read_text().splitlines() if self.attempts.exists() else []), *self.requests]


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Offline]:
    handler = type("Handler", (Proxy,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Offline(tmp_path, server.server_port, handler.requests)
    server.shutdown()
    thread.join()
    server.server_close()


def test_attempts_are_recorded(offline):
    offline.environment["METARUN_DATA"] = str(offline.folder)
    request = "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('https://example.org')"
    assert "this test blocks the connection to example.org" in offline.python("-c", request).stderr
    assert len(offline.attempted()) == 1
    got = offline.python("-m", "metarun", "data", "get", "omniglot")
    assert (got.returncode, "could not be downloaded" in got.stderr) == (2, True)
    assert any(line.startswith("CONNECT github.com") for line in offline.requests)


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("words", [["--help"], ["data", "list"], ["doctor"], ["train", "--cfg", "job"]])
def test_read_only_commands_use_no_network(words, offline):
    offline.metarun(*words)


@pytest.mark.slow
@pytest.mark.sampled
def test_a_run_with_every_logger_uses_no_network(offline):
    offline.metarun("train", *SMALL, LOGGERS)


@pytest.mark.slow
@pytest.mark.sampled
def test_no_other_command_uses_the_network(offline):
    offline.metarun("train", "-m", *SMALL, LOGGERS, "seed=0,1")
    offline.metarun("train", "-m", *SMALL, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "train.outer_lr=0.1,0.2")
    offline.metarun("train", "-m", *SMALL, "hydra/launcher=joblib", "seed=2,3")
    run = next((offline.folder / "results" / "runs").iterdir())
    offline.metarun("test", f"run={run}", "task.way=3")
    offline.metarun("rerun", run.name)
    offline.metarun("compare")
    offline.metarun("report")
    offline.metarun("plot", "heatmap", "-o", "heatmap.pdf")
    offline.metarun("plot", "tasks", run.name, "-o", "tasks.png")
    offline.metarun("data", "check", "glyphs")
