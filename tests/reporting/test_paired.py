"""`metarun compare --against`: the paired comparison, its errors and their remedies."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metarun.system.atomic_write import write_json, write_parquet
from tests.cli.test_compare import record

TASKS = 200
HARD = np.random.default_rng(0).normal(0.8013, 0.01, TASKS)  # difficulty of each task, the same for every method


def made(run_id: str, algo: str, gain: float, noise: float = 0.02, **changes) -> dict:
    random = np.random.default_rng(int(run_id, 16))
    chance = random.normal(0, noise, TASKS)
    by_task = HARD + gain + chance - chance.mean()
    accuracy = float(by_task.mean())
    base = record(id=run_id, algo=algo, accuracy=accuracy, test_tasks=TASKS, test_seed=0, stream_hash="same", steps=1)
    return {**base, "by_task": by_task, **changes}


@pytest.fixture
def compare(metarun):
    def run(*words, runs=()):
        for each in runs:
            by_task = each.pop("by_task")
            folder = Path("results/runs") / f"{each['algo']}-{each['id']}"
            folder.mkdir(parents=True)
            write_json(folder / "result.json", each)
            task, step = np.tile(np.arange(TASKS), 2), np.repeat([0, 1], TASKS)
            values = np.concatenate([np.full(TASKS, 0.2), by_task])
            shuffled = np.random.default_rng(0).permutation(2 * TASKS)
            columns = {"task": task, "step": step, "loss": 1 - values, "accuracy": values}
            write_parquet(folder / "tasks.parquet", {name: column[shuffled] for name, column in columns.items()})
        return metarun("compare", *words)

    return run


def three() -> list[dict]:
    return [made("0000000a", "maml", 0.0), made("0000000b", "protonet", 0.01), made("0000000c", "anil", 0.0005)]


def test_a_real_difference_is_significant_and_a_random_one_is_not(compare):
    code, printed, stderr = compare("--against", "0000000a", runs=three())
    assert (code, stderr) == (0, "")
    lines = {line.split()[0]: line for line in printed.splitlines() if line.rstrip().endswith(("0a", "0b", "0c"))}
    assert "baseline" in lines["maml"]
    assert " better " in lines["protonet"]
    assert "<0.001" in lines["protonet"]
    assert "cannot tell; needs roughly" in lines["anil"]
    assert "corrected for 2 comparisons (Holm, 0.05)" in " ".join(printed.split())


def test_swapping_the_runs_reverses_the_verdict(compare):
    code, printed, _ = compare("--against", "0000000b", "--format", "json", runs=three())
    assert code == 0
    rows = {row["algo"]: row for row in json.loads(printed)}
    assert rows["maml"]["verdict"] == "worse"
    assert rows["maml"]["difference"] == pytest.approx(-0.01, abs=0.004)
    assert rows["maml"]["p_holm"] >= rows["maml"]["p_t"]


def test_a_copy_of_a_run_is_neither_another_run_nor_another_seed(compare):
    compare(runs=[*of_seeds(0.0, 0x10, 2, 0.001, algo="maml"), *of_seeds(0.01, 0x20, 1, 0.0, algo="protonet")])
    shutil.copytree("results/runs", "backup/runs")
    code, printed, _ = compare("results", "backup", "--against", "00000010", "--format", "json")
    assert code == 0
    assert sorted(row["id"] for row in json.loads(printed)) == ["00000011", "00000020"]


def test_less_error_is_better(compare):
    runs = [made("0000000a", "maml", 0.0, mse=0.2), made("0000000b", "reptile", 0.01, mse=0.19)]
    for run in runs:
        del run["accuracy"]
    code, printed, _ = compare("--against", "0000000a", "--format", "csv", runs=runs)
    assert code == 0
    (row,) = pd.read_csv(io.StringIO(printed)).to_dict("records")
    assert row["verdict"] == "better"
    assert row["difference"] < 0


def test_runs_on_other_tasks_are_skipped_with_the_command_to_compare_them(compare):
    other = made("0000000d", "relation", 0.1, stream_hash="other", test_way=20)
    code, printed, stderr = compare("--against", "0000000a", runs=[*three(), other])
    assert code == 0
    assert "0000000d" not in printed
    retest = "metarun test run=0000000d data=glyphs task.way=5 task.shot=1 task.query=15 test.tasks=200 test.seed=0"
    assert f"skipped: 0000000d (relation) was tested on other tasks; to compare it, run `{retest}`" in stderr


def test_only_some_of_many_runs_on_other_tasks_are_listed(compare):
    others = [made(f"000000{i}f", "relation", 0.1, stream_hash="other") for i in range(11)]
    _, _, stderr = compare("--against", "0000000a", runs=[*three(), *others])
    assert len(stderr.splitlines()) == 9
    assert stderr.endswith("skipped: 3 more runs that were tested on other tasks\n")


def test_the_command_to_compare_a_run_uses_the_interval_of_the_base(compare):
    runs = [made("0000000a", "maml", 0.0, interval="open"), made("0000000d", "relation", 0.1, stream_hash="other")]
    _, _, stderr = compare("--against", "0000000a", runs=runs)
    assert "test.tasks=200 test.interval=open test.seed=0" in stderr


def test_a_comparison_of_transductive_and_other_runs_is_marked(compare):
    runs = [made("0000000a", "maml", 0.0), made("0000000b", "protonet", 0.01, transductive=False)]
    _, printed, _ = compare("--against", "0000000a", runs=runs)
    assert "maml †" in printed, "the mark says that a run is transductive, as in every table"
    assert "protonet †" not in printed
    assert "† transductive: predictions depend on the other queries. Compare such runs only with each other." in printed


def of_seeds(gain: float, first: int, seeds: int, spread: float, **changes) -> list[dict]:
    """Runs that differ only in their seed."""
    offsets = spread * (np.arange(seeds) - (seeds - 1) / 2)
    return [
        made(f"{first + i:08x}", gain=gain + float(offsets[i]), seed=i, seedless_id=f"{first:08x}", **changes)
        for i in range(seeds)
    ]


def test_methods_are_compared_over_their_seeds(compare):
    runs = [
        *of_seeds(0.0, 0x10, 3, 0.002, algo="maml"),
        *of_seeds(0.02, 0x20, 4, 0.002, algo="protonet"),
        *of_seeds(0.002, 0x30, 3, 0.004, algo="anil"),
        *of_seeds(0.1, 0x40, 1, 0.0, algo="relation"),
    ]
    code, printed, _ = compare("--against", "00000011", runs=runs)
    assert code == 0
    methods, _ = printed.split(" run ", 1)  # first, since they say more
    lines = {line.split()[0]: line.split() for line in methods.splitlines() if line.strip()}
    assert lines["maml"][1:] == ["†", "3", "80.15", "0.20", "–", "–", "–", "baseline"]
    assert lines["protonet"][2:6] == ["4", "82.15", "0.26", "+2.00"]
    assert lines["protonet"][-1] == "better"
    assert " ".join(lines["anil"]).endswith("cannot tell with 200 tasks and any number of seeds")
    assert "relation" not in lines, "one training is not enough to compare a method"
    assert "new trainings (Student t; the variances over tasks and over the seeds" in " ".join(methods.split())
    _, printed, _ = compare("--against", "00000011", "--format", "json")
    row = next(row for row in json.loads(printed) if row.get("seeds") == 4)
    assert (row["algo"], row["against_seeds"], row["verdict"]) == ("protonet", 3, "better")
    assert row["id"] == "00000020 00000021 00000022 00000023"
    assert row["difference_ci95"] > row["difference_ci95_tasks"]


def test_a_luckier_training_is_not_a_better_method(compare):
    # Every single training differs significantly from the other method's first; but the trainings differ as much.
    runs = [*of_seeds(0.0, 0x10, 3, 0.02, algo="maml"), *of_seeds(0.025, 0x20, 3, 0.02, algo="protonet")]
    _, printed, _ = compare("--against", "00000010", "--format", "csv", runs=runs)
    rows = pd.read_csv(io.StringIO(printed))
    alone = rows[rows.seeds.isna() & (rows.algo == "protonet")]
    assert list(alone.verdict) == ["better"] * 3
    assert list(rows[rows.seeds == 3].verdict) == ["cannot tell"]
    _, printed, _ = compare("--against", "00000010")
    assert "cannot tell with these seeds; needs about 7 each" in printed


def test_runs_are_named_by_their_differences(compare):
    runs = [made("0000000a", "maml", 0.0), made("0000000b", "maml", 0.01, backbone="resnet12")]
    _, printed, _ = compare("--against", "0000000a", runs=runs)
    assert "maml, resnet12" in printed
    assert "on the same 200 tasks (glyphs, 5w1s, 15 queries)" in printed


@pytest.mark.parametrize("form", ["md", "latex"])
def test_the_comparison_is_available_for_papers(compare, form):
    code, printed, _ = compare("--against", "0000000a", "--format", form, runs=three())
    assert code == 0
    assert "cannot tell; needs roughly" in printed


@pytest.mark.parametrize(
    ("run", "runs", "sentence"),
    [
        ("zzz", three(), "--against zzz: no finished run has this id; some ids: 0000000"),
        ("0000000", three(), "--against 0000000 is ambiguous: 0000000"),
        ("0000000a", three()[:1], "no other run was tested on the tasks of 0000000a; test one on them: `metarun test"),
    ],
)
def test_an_error_is_one_sentence(compare, run, runs, sentence):
    code, _, stderr = compare("--against", run, runs=runs)
    assert code == 2
    assert sentence in stderr


@pytest.mark.parametrize("damage", [b"", b"no parquet"])
def test_a_damaged_table_of_tasks_is_named(compare, damage):
    compare(runs=three())
    Path("results/runs/protonet-0000000b/tasks.parquet").write_bytes(damage)
    code, _, stderr = compare("--against", "0000000a")
    assert code == 2
    assert "tasks.parquet cannot be read" in stderr
    Path("results/runs/protonet-0000000b/tasks.parquet").unlink()
    code, _, stderr = compare("--against", "0000000a")
    assert code == 2
    assert "tasks.parquet cannot be read" in stderr
