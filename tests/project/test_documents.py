"""Every command and file in the README and docs/ works, in a shortened form."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.commands import run_here
from tests.support.fake_images import make_picture, write_pictures
from tests.support.fake_sounds import write_tones
from tests.support.fake_texts import write_texts
from tests.support.reference import import_learn2learn

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SAMPLED = [DOCUMENTS[0], *(pytest.param(page, marks=pytest.mark.sampled) for page in DOCUMENTS[1:])]
ON_GITHUB = "https://github.com/metarun/metarun/blob/main/"
SHORT = ["train.iterations=2", "train.validate_every=1", "train.validate_tasks=2", "test.tasks=3", "train.meta_batch=2"]

ON_THE_MIRROR = re.compile("[= _](omniglot|caltech101|fsdd|plants|parkinsons|movielens|clinc150|banking77|hwu64)")


def write_tables() -> None:
    """Write the tables of docs/data_tables.md: ten classes of 20 rows, and twelve machines of 40 rows."""
    rng = np.random.default_rng(0)
    flowers = pd.DataFrame(rng.normal(size=(200, 2)), columns=["length", "width"])
    flowers.assign(species=np.repeat(list("abcdefghij"), 20)).to_csv("flowers.csv", index=False)
    machines = pd.DataFrame(rng.normal(size=(480, 3)), columns=["load", "heat", "noise"])
    machines.assign(machine=np.repeat(range(12), 40), day=np.tile(range(40), 12)).to_csv("machines.csv", index=False)


def write_questions() -> None:
    """Write questions of three intents."""
    rows = [f"{words} {i},{intent}" for intent, words in (("a", "wake me"), ("b", "book it")) for i in range(3)]
    for name in ("questions.csv", "new_questions.csv"):
        Path(name).write_text("\n".join(["text,label", *rows]) + "\n")


def write_leaves() -> None:
    """Write leaves of three species, with the columns of data=plants."""
    leaves = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 64)), columns=[str(i) for i in range(64)])
    for name in ("leaves.csv", "new_leaves.csv"):
        leaves.assign(species=np.repeat(list("abc"), 3)).to_csv(name, index=False)


def write_visits() -> None:
    """Write recordings of a patient, with the columns of data=parkinsons."""
    columns = ["age", "sex", "test_time", "Jitter(%)", "Jitter(Abs)", "Jitter:RAP", "Jitter:PPQ5", "Jitter:DDP"]
    columns += ["Shimmer", "Shimmer(dB)", *(f"Shimmer:{each}" for each in ("APQ3", "APQ5", "APQ11", "DDA"))]
    columns += ["NHR", "HNR", "RPDE", "DFA", "PPE", "motor_UPDRS", "total_UPDRS"]
    for name in ("patient.csv", "later_visits.csv"):
        visits = pd.DataFrame(np.random.default_rng(0).normal(size=(6, len(columns))), columns=columns)
        visits.to_csv(name, index=False)


def write_runs() -> None:
    """Write two runs laid out as Omniglot's one-shot classification."""
    with zipfile.ZipFile("all_runs.zip", "w") as archive:
        for run in ("run01", "run02"):
            pairs = [(f"{run}/test/item0{i}.png", f"{run}/training/class0{i}.png") for i in range(1, 6)]
            for i, pair in enumerate(pairs):
                for j, file in enumerate(pair):
                    archive.writestr(file, make_picture(10 * i + j + 100 * int(run[-1])))
            archive.writestr(f"{run}/class_labels.txt", "\n".join(map(" ".join, pairs)))


WRITTEN: dict[str, Callable[[], object]] = {
    "my_pictures": lambda: write_pictures(Path("my_pictures"), count=20),
    "my_sounds": lambda: write_tones(Path("my_sounds"), [f"c{i}" for i in range(32)], count=8),
    "my_texts": lambda: write_texts(Path("my_texts.csv")),
    "flowers.csv": write_tables,
    "machines.csv": write_tables,
    "my_voice": lambda: write_tones(Path("my_voice"), ["stop", "go", "left"], count=4),
    "questions.csv": write_questions,
    "leaves.csv": write_leaves,
    "patient.csv": write_visits,
    "all_runs.zip": write_runs,
}


def blocks(language: str, document: Path) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def shown_commands(document: Path) -> list[str]:
    lines = [line for block in blocks("console", document) for line in block.splitlines()]
    return [line.removeprefix("$ ").split("  #")[0].strip() for line in lines if line.startswith("$ ")]


def shortened(command: str) -> list[str]:
    """Return the arguments of a metarun command, with keys that shorten it."""
    _, *words = shlex.split(command)
    if words[0] == "train" and "--cfg" not in words:
        words += SHORT if "query" in command else [*SHORT, "task.query=2"]
        if "hydra/sweeper=optuna" in words:
            words += ["hydra.sweeper.n_trials=2"]
        elif "-m" in words or "+sweep=" in command:
            # In this process, which is faster; other tests cover the launchers.
            words = [word for word in words if not word.startswith(("hydra.launcher.", "hydra/launcher="))]
            words += ["hydra/launcher=basic"]
    # Robots need an extra; `data.environment` is a key of theirs.
    words = [re.sub("^data=(halfcheetah|ant|metaworld)_.*", "data=navigation2d", word) for word in words]
    words = [word for word in words if not word.startswith("data.environment=")]
    if words[0] == "export":  # the other formats need extras; tests/export runs them for real
        words += ["--tasks", "2", "-o", f"exported-{words[2]}"]
        words[2] = "format=torch"
    if any(re.search(r"\bRUN\b", word) for word in words):
        weights = next(Path("results/runs").glob("protonet-*/best.pt"))  # `metarun test` writes none
        trained = json.loads(weights.with_name("result.json").read_text())["id"]
        words = [re.sub(r"\bRUN\b", trained, word) for word in words]
    return words


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", SAMPLED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_shown_command_works(document, monkeypatch, tmp_path, request):
    monkeypatch.chdir(tmp_path)
    if document.stem == "learn2learn":
        import_learn2learn()
    for text in [*blocks("python", document), *blocks("yaml", document)]:
        path = Path(re.search(r"^# (\S+\.(?:py|yaml))$", text, re.MULTILINE)[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r'"train.iterations": \d+', '"train.iterations": 2, "test.tasks": 3', text))
    for command in shown_commands(document):
        if ON_THE_MIRROR.search(command):
            monkeypatch.setenv("METARUN_MIRROR", str(request.getfixturevalue("mirror")))
        for name, write in WRITTEN.items():
            if name in command:
                write()
        if command.startswith("metarun "):
            assert run_here(*shortened(command)) == 0, command
        elif command.startswith("python "):
            subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, capture_output=True, timeout=300)
        elif command.startswith("make "):
            subprocess.run(
                ["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, check=True, capture_output=True, timeout=60
            )
        elif command.startswith("torchrun "):
            shared = [sys.executable, "-m", "torch.distributed.run", *shlex.split(command)[1:], *SHORT]
            subprocess.run(shared, check=True, capture_output=True, timeout=120)
        else:
            assert command.startswith("git clone "), f"no test for {command!r}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_shown_command_can_be_pasted_into_a_shell(document):
    """Bash rejects unquoted parentheses; zsh looks for files that match an unquoted [ or ?."""
    commands = [line for line in shown_commands(document) if not line.startswith("git clone ")]
    for shell in filter(shutil.which, ("bash", "zsh")):
        ended = subprocess.run(
            [shell, "-n"], check=False, input="\n".join(commands), capture_output=True, text=True, timeout=60
        )
        assert (ended.returncode, ended.stderr) == (0, "")
    unquoted = [re.sub(r"'[^']*'|\"[^\"]*\"", "", command) for command in commands]
    assert [command for command in unquoted if re.search(r"[\[\](){}?<>|;&$`!]", command)] == []


def test_the_readme_starts_with_two_commands():
    assert [command for command in shown_commands(ROOT / "README.md") if command.startswith("make")] == [
        "make run",
        "make test",
    ]


def test_every_link_to_a_file_works():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            if target.startswith(ON_GITHUB):
                assert (ROOT / target.removeprefix(ON_GITHUB)).exists(), f"{document.name} links to {target}"
            elif not target.startswith("https://"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_has_only_links_that_work_on_pypi():
    assert re.findall(r"\]\((?!https://)([^)]+)", (ROOT / "README.md").read_text()) == []
