"""How many runs of a sweep are executed at a time."""

import json
from pathlib import Path

import pytest

from metarun.sweeps import parallel
from metarun.sweeps.parallel import choose_parallel, known_memory
from metarun.sweeps.pool import gpus
from metarun.system import machine
from tests.cli.test_compare import record

GB = 10**9


@pytest.fixture
def of_machine(monkeypatch):
    """Pretend to be on a machine of some cores and memory."""

    def pretend(cores: int, memory: int | None, threads: str = "") -> None:
        for module in (parallel, machine):
            monkeypatch.setattr(module, "cores", lambda: cores)
        monkeypatch.setattr(parallel, "available_memory", lambda: memory)
        monkeypatch.setenv("OMP_NUM_THREADS", threads)

    return pretend


@pytest.mark.parametrize(
    ("cores", "memory", "threads", "jobs", "runs", "of_each"),
    [
        (2, 24 * GB, "", 20, 2, 1),
        (8, 24 * GB, "", 3, 3, 2),  # fewer runs than cores: the others become threads
        (8, 5 * GB, "", 20, 3, 2),  # by memory, of 1.5 GB each
        (8, GB, "", 20, 1, 8),  # at least one
        (8, 24 * GB, "4", 20, 2, 4),  # the threads that a user asks for
        (2, 24 * GB, "4", 20, 1, 4),
        (4, None, "", 20, 4, 1),  # another system
    ],
)
def test_runs_and_their_threads_fit_the_cores_and_the_memory(of_machine, cores, memory, threads, jobs, runs, of_each):
    of_machine(cores, memory, threads)
    chosen = choose_parallel(jobs, 0, None)
    assert (chosen.runs, chosen.threads) == (runs, of_each)
    assert threads or chosen.runs * chosen.threads <= cores


def test_each_run_has_one_gpu(of_machine, monkeypatch):
    of_machine(16, GB)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5")
    assert choose_parallel(20, len(gpus()), None).runs == 3
    assert choose_parallel(2, len(gpus()), None).runs == 2


def test_a_line_says_what_was_chosen_and_which_key_overrides_it(of_machine):
    of_machine(2, 12 * GB)
    assert str(choose_parallel(8, 0, 0.6 * GB)) == (
        "2 runs at a time, 1 thread each (2 cores, 12.0 GB free, about 0.6 GB a run); "
        "hydra.launcher.n_jobs=N overrides this"
    )
    assert "assuming 1.5 GB a run" in str(choose_parallel(8, 0, None))


def test_memory_is_that_of_earlier_runs_of_all_methods_and_data(tmp_path):
    def write(name: str, peak: float, **changes) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(record(peak_memory_mb=peak, **changes)))

    write("maml-glyphs-5w1s-00000001", 1000.0)
    write("maml-glyphs-5w5s-00000002", 3000.0)
    write("protonet-glyphs-5w1s-00000003", 500.0)
    write("protonet-cub-5w1s-00000004", 9.0, device="cuda")
    (tmp_path / "anil-glyphs-5w1s-00000005").mkdir()
    (tmp_path / "anil-glyphs-5w1s-00000005" / "result.json").write_text("{")
    assert known_memory(tmp_path, [("maml", "glyphs"), ("protonet", "glyphs")]) == 3000 * 2**20
    assert known_memory(tmp_path, [("protonet", "glyphs")]) == 500 * 2**20
    assert known_memory(tmp_path, [("protonet", "cub")]) is None
    assert known_memory(tmp_path, [("protonet", "glyphs"), ("anil", "glyphs")]) is None
    assert known_memory(tmp_path / "nowhere", [("maml", "glyphs")]) is None


def test_the_cores_and_memory_of_this_machine_are_known(monkeypatch, tmp_path):
    assert machine.cores() >= 1
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:    2 kB\n")
    monkeypatch.setattr(machine, "MEMINFO", meminfo)
    assert machine.available_memory() == 2048
    monkeypatch.setattr(machine, "MEMINFO", Path(tmp_path / "missing"))
    assert machine.available_memory() is None
