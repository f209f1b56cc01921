"""`metarun compare --against`: the paired comparison, what it refuses, and how to go on."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metarun.system.atomic_write import write_json, write_parquet
from tests.cli.test_compare import record

TASKS = 200
HARD = np.random.default_rng(0).normal(0.8013, 0.01, TASKS)  # what is hard about each task, the same for every method


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


def test_a_real_difference_is_told_from_none(compare):
    code, printed, complaint = compare("--against", "0000000a", runs=three())
    assert (code, complaint) == (0, "")
    lines = {line.split()[0]: line for line in printed.splitlines() if line.rstrip().endswith(("0a", "0b", "0c"))}
    assert "compared with" in lines["maml"]
    assert " better " in lines["protonet"]
    assert "<0.001" in lines["protonet"]
    assert "cannot tell with 200 tasks; about" in lines["anil"]
    assert "corrected for 2 comparisons (Holm)" in printed


def test_it_is_the_other_way_round_from_the_other_side(compare):
    code, printed, _ = compare("--against", "0000000b", "--format", "json", runs=three())
    assert code == 0
    rows = {row["algo"]: row for row in json.loads(printed)}
    assert rows["maml"]["verdict"] == "worse"
    assert rows["maml"]["difference"] == pytest.approx(-0.01, abs=0.004)
    assert rows["maml"]["p_holm"] >= rows["maml"]["p_permutation"]


def test_less_error_is_better(compare):
    runs = [made("0000000a", "maml", 0.0, mse=0.2), made("0000000b", "reptile", 0.01, mse=0.19)]
    for run in runs:
        del run["accuracy"]
    code, printed, _ = compare("--against", "0000000a", "--format", "csv", runs=runs)
    assert code == 0
    (row,) = pd.read_csv(io.StringIO(printed)).to_dict("records")
    assert row["verdict"] == "better"
    assert row["difference"] < 0


def test_other_tasks_are_left_out_with_the_command_that_would_do(compare):
    other = made("0000000d", "relation", 0.1, stream_hash="other", test_way=20)
    code, printed, complaint = compare("--against", "0000000a", runs=[*three(), other])
    assert code == 0
    assert "0000000d" not in printed
    retest = "metarun test run=0000000d data=glyphs task.way=5 task.shot=1 task.query=15 test.tasks=200 test.seed=0"
    assert f"left out: 0000000d (relation) was judged on other tasks; `{retest}`" in complaint


def test_of_many_that_were_judged_on_other_tasks_the_number_is_told(compare):
    others = [made(f"000000{i}f", "relation", 0.1, stream_hash="other") for i in range(11)]
    _, _, complaint = compare("--against", "0000000a", runs=[*three(), *others])
    assert len(complaint.splitlines()) == 9
    assert complaint.endswith("left out: 3 more that were judged on other tasks\n")


def test_the_command_that_would_do_asks_for_disjoint_tasks_where_the_base_has_them(compare):
    runs = [made("0000000a", "maml", 0.0, interval="open"), made("0000000d", "relation", 0.1, stream_hash="other")]
    _, _, complaint = compare("--against", "0000000a", runs=runs)
    assert "test.tasks=200 test.interval=open test.seed=0" in complaint


def test_transductive_beside_not_is_marked(compare):
    runs = [made("0000000a", "maml", 0.0), made("0000000b", "protonet", 0.01, transductive=False)]
    _, printed, _ = compare("--against", "0000000a", runs=runs)
    assert "protonet †" in printed


def of_seeds(gain: float, first: int, seeds: int, spread: float, **changes) -> list[dict]:
    """Runs that differ in nothing but their seed."""
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
    _, methods = printed.split(" method ")
    lines = {line.split()[0]: line.split() for line in methods.splitlines() if line.strip()}
    assert lines["maml"][1:] == ["3", "80.15", "0.20", "–", "–", "–", "compared", "with"]
    assert lines["protonet"][1:5] == ["4", "82.15", "0.26", "+2.00"]
    assert lines["protonet"][-1] == "better"
    assert " ".join(lines["anil"]).endswith("cannot tell with 200 tasks, however many seeds")
    assert "relation" not in lines, "one training says nothing of a method"
    assert "for other trainings (Student t; the variances over tasks and over the seeds" in " ".join(methods.split())
    _, printed, _ = compare("--against", "00000011", "--format", "json")
    row = next(row for row in json.loads(printed) if row.get("seeds") == 4)
    assert (row["algo"], row["against_seeds"], row["verdict"]) == ("protonet", 3, "better")
    assert row["id"] == "00000020 00000021 00000022 00000023"
    assert row["difference_ci95"] > row["difference_ci95_tasks"]


def test_a_luckier_training_is_not_a_better_method(compare):
    # Every training of the one is told from the other's first by its tasks; but their trainings differ by as much.
    runs = [*of_seeds(0.0, 0x10, 3, 0.02, algo="maml"), *of_seeds(0.025, 0x20, 3, 0.02, algo="protonet")]
    _, printed, _ = compare("--against", "00000010", "--format", "csv", runs=runs)
    rows = pd.read_csv(io.StringIO(printed))
    alone = rows[rows.seeds.isna() & (rows.algo == "protonet")]
    assert list(alone.verdict) == ["better"] * 3
    assert list(rows[rows.seeds == 3].verdict) == ["cannot tell"]
    _, printed, _ = compare("--against", "00000010")
    assert "cannot tell with these seeds; about 7 each would" in printed


def test_runs_are_named_by_what_tells_them_apart(compare):
    runs = [made("0000000a", "maml", 0.0), made("0000000b", "maml", 0.01, backbone="resnet12")]
    _, printed, _ = compare("--against", "0000000a", runs=runs)
    assert "maml, resnet12" in printed
    assert "on the same 200 tasks (glyphs, 5w1s, 15 queries)" in printed


@pytest.mark.parametrize("form", ["md", "latex"])
def test_papers_get_it_too(compare, form):
    code, printed, _ = compare("--against", "0000000a", "--format", form, runs=three())
    assert code == 0
    assert "cannot tell with" in printed


@pytest.mark.parametrize(
    ("run", "runs", "sentence"),
    [
        ("zzz", three(), "--against zzz is the start of no finished run's id; there are 0000000"),
        ("0000000", three(), "--against 0000000 could be 0000000"),
        ("0000000a", three()[:1], "no other run was judged on the tasks of 0000000a; judge one on them: `metarun test"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_sentence(compare, run, runs, sentence):
    code, _, complaint = compare("--against", run, runs=runs)
    assert code == 2
    assert sentence in complaint


@pytest.mark.parametrize("damage", [b"", b"no parquet"])
def test_a_damaged_table_of_tasks_is_named(compare, damage):
    compare(runs=three())
    Path("results/runs/protonet-0000000b/tasks.parquet").write_bytes(damage)
    code, _, complaint = compare("--against", "0000000a")
    assert code == 2
    assert "tasks.parquet cannot be read" in complaint
    Path("results/runs/protonet-0000000b/tasks.parquet").unlink()
    code, _, complaint = compare("--against", "0000000a")
    assert code == 2
    assert "tasks.parquet cannot be read" in complaint
