"""No secret, wherever the user keeps it, is in anything that is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metarun.errors import UserError
from metarun.system.secrets import masked, refuse_secrets

SMALL = [
    *("algo=protonet", "backbone.filters=4", "train.iterations=2", "train.validate_every=1", "train.validate_tasks=2"),
    *("train.meta_batch=1", "test.tasks=3"),
]
MARK = "5ecre7"  # part of every secret
IN_ENVIRONMENT = {
    "WANDB_API_KEY": f"{MARK}{'0' * 34}",
    "MLFLOW_TRACKING_PASSWORD": f"{MARK}-mlflow-password",
    "MLFLOW_TRACKING_TOKEN": f"{MARK}-mlflow-token",
    "HF_TOKEN": f"hf_{MARK}",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}/aws+key",
    "MY_TOKEN": f"{MARK}-of-my-own",
}
LOGGER = """
class Chatty:
    def __init__(self, api_key, address):
        self.said = f"{api_key} is no key for {address}"

    def begin(self, run):
        raise RuntimeError(self.said)
"""


@pytest.mark.parametrize(
    "word",
    [
        *(
            "+logger.wandb.api_key=0123456789abcdef",
            "logger.mine.token=0123456789abcdef",
            "data.PASSWORD=correct-horse",
        ),
        *("logger.mlflow.tracking_uri=https://me:word@host", "logger.mlflow.tracking_uri=https://token@host/path"),
        "+logger.mine.auth=5ecre7-of-my-own",
    ],
)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(word, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", IN_ENVIRONMENT["MY_TOKEN"])
    key, _, value = word.partition("=")
    with pytest.raises(
        UserError, match=r"=… contains a password or token.*; set .* use '.*=\$\{oc\.env:MY_TOKEN\}'"
    ) as refused:
        refuse_secrets(["algo=maml", word])
    assert str(refused.value).startswith(key)
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    "word",
    [
        *("logger.mine.api_key=${oc.env:MY_TOKEN}", "logger.mlflow.tracking_uri=https://host:5000", "data.token=3"),
        *("data.tokenizer=characters", "results_dir=/home/me@work/results", "logger.wandb.entity=my-team"),
    ],
)
def test_other_words_are_accepted(word):
    refuse_secrets([word])


def test_only_the_secrets_of_a_config_are_masked(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", IN_ENVIRONMENT["MY_TOKEN"])
    config = {
        "logger": {
            "mine": {"api_key": "abcdefghij", "auth": f"Bearer {MARK}-of-my-own", "url": "https://me:pw@host/x"}
        },
        "train": {"outer_lr": 0.001, "tags": ["a", "https://token@host"], "token": None},
    }
    assert masked(config) == {
        "logger": {"mine": {"api_key": "***", "auth": "Bearer ***", "url": "https://***@host/x"}},
        "train": {"outer_lr": 0.001, "tags": ["a", "https://***@host"], "token": None},
    }


def test_paths_and_short_values_are_not_masked(monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json")
    monkeypatch.setenv("DB_PASSWORD", "maml")
    assert masked("maml /home/me/key.json") == "maml /home/me/key.json"


def leaks(folder: Path) -> list[str]:
    """Return the files below that contain a secret; fail if there are few files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    return [str(path.relative_to(folder)) for path in files if MARK.encode() in path.read_bytes()]


@pytest.fixture
def train(tmp_path):
    """Run `metarun train` with secrets in its environment and a logger that reveals one; return the output."""
    (tmp_path / "chatty.py").write_text(LOGGER)
    group = tmp_path / "my_conf" / "logger"
    group.mkdir(parents=True)
    (group / "chatty.yaml").write_text(
        "chatty:\n  _target_: chatty.Chatty\n  api_key: ${oc.env:MY_TOKEN}\n  address: https://me:5ecre7@host\n"
    )

    def start(*words: str) -> str:
        command = [sys.executable, "-m", "metarun", "train", "--config-dir", "my_conf", *SMALL, *words]
        environment = {**os.environ, **IN_ENVIRONMENT, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        environment["MLFLOW_TRACKING_URI"] = f"http://me:{MARK}@127.0.0.1:9"
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=True
        )
        return done.stdout + done.stderr

    return start


@pytest.mark.slow
def test_no_secret_is_written_by_any_logger(train, tmp_path):
    printed = train("logger=[csv,tensorboard,wandb,mlflow,chatty]")
    assert (
        "logger=chatty failed and is now disabled; the run continues: RuntimeError: *** is no key for https://***@host"
        in printed
    )
    assert "logger=mlflow failed and is now disabled" in printed
    assert MARK not in printed
    assert leaks(tmp_path / "results") == []


@pytest.mark.sampled
@pytest.mark.slow
def test_no_secret_is_written_by_a_launcher_or_a_search(train, tmp_path):
    train("-m", "logger=[csv,wandb,chatty]", "hydra/launcher=submitit_local", "seed=0,1")
    train(
        "-m", "logger=[chatty]", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "train.outer_lr=interval(1e-4,1)"
    )
    assert leaks(tmp_path / "results") == []
