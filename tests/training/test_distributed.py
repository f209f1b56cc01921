"""One run on two processes gives the same result as on one, even if one is killed; some runs cannot be split."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import multiprocessing, nn

from metarun.algorithms import Reptile
from metarun.errors import UserError
from metarun.training.distributed import SINGLE_PROCESS, Ranks, process_group
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.synthetic import make_conv4, make_stream

SMALL = [
    *("train.iterations=6", "train.validate_every=3", "train.validate_tasks=6", "train.meta_batch=5", "test.tasks=8"),
    *("backbone.filters=8", "precision=float64"),
]
# Biases before batch norm, and a shift of the last block before a distance, have gradients of rounding only, which Adam
# turns into steps. The largest differences after six steps of 1e-3:
ROUNDING_ONLY = {"0.bias": 1e-4, "running_mean": 1e-4, "layers.3.1.bias": 1e-9}


@pytest.mark.parametrize(("tasks", "count"), [(4, 1), (4, 2), (5, 2), (7, 3), (3, 3)])
def test_shares_are_consecutive_and_cover_all_tasks(tasks, count):
    shares = [Ranks(number, count).share_of(tasks) for number in range(count)]
    assert [task for first, size in shares for task in range(first, first + size)] == list(range(tasks))
    assert max(size for _, size in shares) - min(size for _, size in shares) <= 1


def test_a_single_process_does_not_communicate():
    tensor = torch.ones(2)
    SINGLE_PROCESS.all_sum([tensor])
    SINGLE_PROCESS.merge_running_statistics(nn.BatchNorm1d(2), {})
    assert tensor.tolist() == [1, 1]
    assert (SINGLE_PROCESS.broadcast("it"), SINGLE_PROCESS.all_max(3), SINGLE_PROCESS.share_of(4)) == ("it", 3, (0, 4))


def schedule(meta_batch: int) -> Schedule:
    return Schedule(6, None, meta_batch, 0.1, 1.0, 1, None, 3, 2, 1)


@pytest.mark.parametrize(
    ("splittable", "meta_batch", "sentence"),
    [
        (
            False,
            4,
            r"processes a meta-batch as a whole, so it cannot be split among 2 processes; start it without torchrun",
        ),
        (True, 1, r"train.meta_batch=1 tasks cannot be split among 2 processes; raise `train.meta_batch`"),
    ],
)
def test_a_run_that_cannot_be_split_is_refused(splittable, meta_batch, sentence):
    algorithm = nn.Linear(1, 1)
    algorithm.splittable, algorithm.sequential = splittable, False
    with pytest.raises(UserError, match=sentence):
        Training(algorithm, schedule(meta_batch), make_stream(), make_stream(), 0, Ranks(0, 2))


def test_tasks_that_follow_each_other_are_not_split():
    with pytest.raises(
        UserError, match="Reptile passes state from task to task, so a meta-batch cannot be split among 2"
    ):
        Training(Reptile(make_conv4(), 5, 0.1, 2, 5, 5), schedule(2), make_stream(), make_stream(), 0, Ranks(0, 2))


def communicate(number: int, folder: str) -> None:
    """What one of two processes does in the test below."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    ranks = Ranks(number, 2)
    mine = [torch.full((2,), float(number + 1)), torch.tensor(10.0 * number)]
    ranks.all_sum(mine)
    assert [tensor.tolist() for tensor in mine] == [[3.0, 3.0], 10.0]
    assert ranks.broadcast({"number": number}) == {"number": 0}
    assert ranks.all_max(7 * number) == 7
    torch.manual_seed(0)
    batches = torch.randn(3, 4, 2, dtype=torch.float64) * 3 + 1
    alone, shared = (nn.BatchNorm1d(2, momentum=0.3, dtype=torch.float64) for _ in range(2))
    before = {name: value.clone() for name, value in shared.state_dict().items()}
    for batch in batches:
        alone(batch)
    for batch in batches[: 2 - number] if number == 0 else batches[2:]:
        shared(batch)
    ranks.merge_running_statistics(
        nn.ModuleDict({"norm": shared}), {f"norm.{name}": each for name, each in before.items()}
    )
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, rtol=1e-12, atol=0)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    multiprocessing.spawn(communicate, (str(tmp_path),), nprocs=2)


def join_and_leave(number: int, port: int) -> None:
    """What one of two processes does in the test below."""
    os.environ |= {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"TORCHELASTIC_RUN_ID": "a test", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    with process_group() as ranks:
        assert ranks.broadcast(number) == 0
        torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)  # makes PyTorch import what may keep the group
        assert threads_of_the_group()
    assert not threads_of_the_group()


def threads_of_the_group() -> list[str]:
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


@pytest.mark.slow
def test_no_thread_of_the_process_group_is_left():
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    multiprocessing.spawn(join_and_leave, (store.port,), nprocs=2)


def command(*words: str, processes: int = 2) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "metarun"]
    return [sys.executable, *(torchrun if processes > 1 else ["-m", "metarun"]), "train", *words]


def run(folder: Path, *words: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = command(*words, processes=processes)
    return subprocess.run(done, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)


def left_behind(folder: Path) -> tuple[dict, dict]:
    (path,) = (folder / "results/runs").iterdir()
    return json.loads((path / "result.json").read_text()), torch.load(path / "last.pt", weights_only=True)["algorithm"]


@pytest.mark.sampled
@pytest.mark.slow
@pytest.mark.parametrize(
    "algo",
    ["maml", "protonet"],  # batch statistics and running statistics
)
def test_two_processes_give_the_result_of_one(tmp_path, algo):
    words = [f"algo={algo}"]
    one = run(tmp_path / "one", *words, *SMALL, processes=1)
    assert one.returncode == 0, one.stderr
    two = run(tmp_path / "two", *words, *SMALL)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("each meta-batch is split among 2 processes") == 1
    assert two.stdout.count("→ results/runs") == 1
    (row, weights), (expected, expected_weights) = left_behind(tmp_path / "two"), left_behind(tmp_path / "one")
    assert row["id"] == expected["id"]
    assert row["accuracy_by_step"] == pytest.approx(expected["accuracy_by_step"], abs=1e-12)
    assert row["loss_by_step"] == pytest.approx(expected["loss_by_step"], rel=1e-6)
    for name, value in weights.items():
        atol = next((atol for end, atol in ROUNDING_ONLY.items() if name.endswith(end)), 1e-11)
        torch.testing.assert_close(value, expected_weights[name], rtol=1e-9, atol=atol)


@pytest.mark.sampled
@pytest.mark.slow
def test_after_a_kill_one_process_resumes_with_the_same_result(tmp_path):
    words = ["algo=maml", "data=sinusoid", "precision=float64", "test.tasks=20", "train.validate_tasks=20"]
    words += ["train.iterations=600", "train.validate_every=20"]
    training = subprocess.Popen(
        command(*words),
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    for line in training.stdout:
        if line.startswith("step 40:"):
            break
    os.kill(children_of(training.pid)[-1], signal.SIGKILL)
    begin = time.monotonic()
    training.communicate(timeout=60)
    assert training.returncode != 0
    assert time.monotonic() - begin < 45
    last = torch.load(next(tmp_path.rglob("last.pt")), weights_only=True)["progress"]
    assert 40 <= last["iteration"] < 600
    done = run(tmp_path, *words, processes=1)
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stdout
    undisturbed = run(tmp_path / "undisturbed", *words, processes=1)
    assert undisturbed.returncode == 0, undisturbed.stderr
    again = run(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("Already finished") == 1
    row, expected = left_behind(tmp_path)[0], left_behind(tmp_path / "undisturbed")[0]
    assert row["mse_by_step"] == pytest.approx(expected["mse_by_step"], rel=1e-6)


def children_of(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
