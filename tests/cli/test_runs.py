"""`metarun runs`, `rm` and `diff`, and the names `last` and `best`."""

import os
from pathlib import Path

import pytest
import yaml

from metarun.errors import UserError
from metarun.results.find_run import find_run
from metarun.results.run_directory import RunDirectory
from metarun.system.atomic_write import write_json
from metarun.system.durations import format_age, short_duration
from tests.cli.test_compare import record


@pytest.fixture
def write(metarun, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def write_run(id, age=0, files=("best.pt",), config=(), **changes) -> Path:
        path = Path(f"results/runs/maml-glyphs-5w1s-{id}")
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(yaml.safe_dump({"seed": 0, **dict(config)}))
        if changes.pop("is_finished", True):
            write_json(path / "result.json", record(**{"id": id, "val_accuracy": 0.5, "stream_hash": "s", **changes}))
        for name in files:
            (path / name).touch()
        for file in path.iterdir():
            os.utime(file, (10**9 - age, 10**9 - age))
        return path

    return write_run


def test_last_is_the_training_that_finished_last(write):
    write("aaaa0000", age=10)
    newest = write("bbbb0000", age=5)
    write("cccc0000", age=0, files=(), trained_by="aaaa0000")  # of `metarun test`
    assert find_run(Path("results"), "last").path == newest


def test_best_is_the_best_on_meta_val_among_runs_of_the_data_and_task_of_the_last(write, capsys):
    best = write("aaaa0000", age=10, val_accuracy=0.7)
    write("bbbb0000", val_accuracy=0.6)
    write("cccc0000", age=5, val_accuracy=0.9, way=20)
    write("dddd0000", age=5, val_accuracy=0.9, trained_by="bbbb0000")
    assert find_run(Path("results"), "best").path == best
    assert capsys.readouterr().out == (
        "run=best is maml-glyphs-5w1s-aaaa0000: meta-val 70.00%, the best of 2 on glyphs 5w1s\n"
    )


def test_a_diverged_training_is_neither_the_best_nor_what_the_best_is_like(write, capsys):
    best = write("aaaa0000", age=10, val_accuracy=0.7)
    write("bbbb0000", age=5, val_accuracy=0.9, way=20, trained_by="aaaa0000")
    diverged = write("cccc0000", is_finished=False)
    write_json(diverged / "result.json", {"status": "failed", "id": "cccc0000", "algo": "maml", "reason": "diverged."})
    assert find_run(Path("results"), "best").path == best
    write_json(best / "result.json", {"status": "failed", "id": "aaaa0000", "algo": "maml", "reason": "diverged."})
    with pytest.raises(UserError, match=r"results/runs have no meta-val result; name a run by its id"):
        find_run(Path("results"), "best")


@pytest.mark.parametrize("name", ["last", "best"])
def test_without_a_finished_run_there_is_no_last_or_best(tmp_path, name):
    with pytest.raises(UserError, match=r"there is no finished run in .*runs; run `metarun train` first"):
        find_run(tmp_path, name)


def test_the_list_shows_the_state_of_every_run(write, metarun):
    write("aaaa0000", age=3600)
    write("bbbb0000", is_finished=False)
    Path("results/runs/maml-glyphs-5w1s-bbbb0000/curve.csv").write_text("iteration,loss\n1200,0.3\n")
    running = write("cccc0000", is_finished=False)
    (write("dddd0000", is_finished=False) / "result.json").write_text("{")
    write_json(
        write("eeee0000", is_finished=False) / "result.json", {"status": "failed", "id": "e", "reason": "diverged."}
    )
    with RunDirectory(running).locked():
        code, printed, _ = metarun("runs")
    assert code == 0
    lines = {line.split()[0]: line.split()[2:-1] for line in printed.splitlines() if "0000" in line}
    assert lines["aaaa0000"][:4] == ["finished", "90.00", "±", "0.40"]
    assert lines["bbbb0000"][:3] == ["interrupted", "step", "1,200"]
    assert lines["cccc0000"][0] == "running"
    assert lines["dddd0000"][0] == "damaged"
    assert lines["eeee0000"][:2] == ["failed", "diverged."]
    assert "Rerun the command of an interrupted run to resume it." in printed
    _, printed, _ = metarun("runs", "--state", "failed")
    assert ("eeee0000" in printed, "aaaa0000" in printed) == (True, False)


def test_the_list_is_shown_although_files_and_runs_vanish_while_it_is_made(write, metarun, monkeypatch):
    running = write("aaaa0000", files=[".last.pt.tmp"], is_finished=False)
    (running / "link").symlink_to("nowhere")
    write("bbbb0000")
    iterdir = Path.iterdir

    def replaced(folder: Path):
        files = list(iterdir(folder))
        if folder.name.endswith("aaaa0000"):
            (folder / ".last.pt.tmp").rename(folder / "last.pt")
        if folder.name.endswith("bbbb0000"):
            folder.rename("removed")
        return iter(files)

    monkeypatch.setattr(Path, "iterdir", replaced)
    code, printed, complaint = metarun("runs")
    assert (code, complaint) == (0, "")
    assert ("aaaa0000" in printed, "bbbb0000" in printed) == (True, False)


def test_a_run_without_files_is_as_old_as_its_folder(write, metarun):
    Path("results/runs/maml-glyphs-5w1s-aaaa0000").mkdir(parents=True)
    code, printed, _ = metarun("runs")
    line = next(line for line in printed.splitlines() if "aaaa0000" in line)
    assert (code, line.split()[2:]) == (0, ["interrupted", "0", "s", "0.0"])


def test_without_runs_the_list_says_how_to_start_one(metarun, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, complaint = metarun("runs")
    assert (code, complaint) == (2, "metarun: error: there are no runs in results; start one with `metarun train`.\n")


def test_a_removed_run_is_in_the_bin_and_no_table_shows_it(write, metarun):
    for id in ("aaaa0000", "bbbb0000"):
        write(id)
    assert metarun("rm", "aaaa")[0] == 0
    assert [path.name for path in Path("results/.bin").iterdir()] == ["maml-glyphs-5w1s-aaaa0000"]
    _, printed, _ = metarun("compare")
    assert ("bbbb0000" in printed, "aaaa0000" in printed) == (True, False)
    write("aaaa0000")
    metarun("rm", "aaaa")
    assert len(list(Path("results/.bin").iterdir())) == 2, "an earlier one is kept"


def test_a_running_run_is_not_removed_and_neither_are_those_named_with_it(write, metarun):
    write("aaaa0000")
    with RunDirectory(write("bbbb0000")).locked():
        code, _, complaint = metarun("rm", "aaaa", "bbbb")
    assert (code, "bbbb0000 is running; stop it first" in complaint) == (2, True)
    assert len(list(Path("results/runs").iterdir())) == 2


def test_a_run_named_twice_is_removed_once(write, metarun):
    path = write("aaaa0000")
    code, printed, complaint = metarun("rm", "aaaa", "aaaa0000", str(path), str(path.resolve()))
    assert (code, complaint, printed.count("→")) == (0, "", 1)
    assert [each.name for each in Path("results/.bin").iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("folder", "word"), [("results/runs/maml-glyphs-5w1s-aaaa0000", "."), ("results/runs", "maml-glyphs-5w1s-aaaa0000")]
)
def test_a_run_named_from_inside_the_results_is_removed_to_their_bin(
    write, metarun, monkeypatch, tmp_path, folder, word
):
    path = write("aaaa0000")
    monkeypatch.chdir(folder)
    assert metarun("rm", word)[::2] == (0, "")
    assert [each.name for each in (tmp_path / "results/.bin").iterdir()] == [path.name]
    assert not list((tmp_path / "results/runs").iterdir())


@pytest.mark.parametrize("word", ["mine", "link"])
def test_a_folder_with_a_config_that_is_no_run_is_not_removed_and_neither_are_the_runs_named_with_it(
    write, metarun, word
):
    run = write("aaaa0000")
    Path("mine").mkdir()
    Path("mine/config.yaml").touch()
    Path("link").symlink_to(run)
    code, _, complaint = metarun("rm", "aaaa", word)
    assert (code, complaint) == (
        2,
        f"metarun: error: {word} is not in the runs/ of a results folder; "
        "name a run by its id, which `metarun runs` shows.\n",
    )
    assert sorted(each.name for each in Path().iterdir()) == ["link", "mine", "results"]
    assert run.is_dir()


def test_where_the_runs_are_elsewhere_a_link_to_one_is_removed_and_not_the_run(write, metarun):
    run = write("aaaa0000")
    Path("results/runs").rename("disk")
    Path("results/runs").symlink_to("../disk")
    Path("archive").mkdir()
    Path("disk", run.name).rename(f"archive/{run.name}")
    Path("disk", run.name).symlink_to(f"../archive/{run.name}")
    assert metarun("rm", "aaaa")[::2] == (0, "")
    assert Path("results/.bin", run.name).is_symlink()
    assert Path("archive", run.name, "config.yaml").is_file()


def test_a_diff_shows_the_keys_that_differ_and_whether_the_tasks_are_the_same(write, metarun):
    write("aaaa0000", config={"train": {"outer_lr": 0.1, "query": 5}, "force": False})
    write("bbbb0000", accuracy=0.8, config={"train": {"outer_lr": 0.2, "query": 5}, "force": True})
    code, printed, _ = metarun("diff", "aaaa", "bbbb")
    assert code == 0
    rows = [line.split() for line in printed.splitlines()]
    assert ["train.outer_lr", "0.1", "0.2"] in rows
    assert ["accuracy", "90.00", "±", "0.40", "80.00", "±", "0.40"] in rows
    assert not any("query" in line or "force" in line for line in printed.splitlines())
    assert "environment: unknown" in printed
    assert "Both were tested on the same tasks; `metarun compare --against aaaa0000` tests the difference." in printed


def test_an_unfinished_run_has_no_diff(write, metarun):
    write("aaaa0000")
    write("bbbb0000", is_finished=False)
    code, _, complaint = metarun("diff", "aaaa", "bbbb")
    assert (code, "bbbb0000 is not a finished run; `metarun runs` shows" in complaint) == (2, True)


@pytest.mark.parametrize(("seconds", "text"), [(0.1, "0 s"), (6, "6 s"), (90, "1.5 min"), (7560, "2.1 h")])
def test_a_duration_in_a_table_is_short(seconds, text):
    assert short_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (61, "1 min"), (7200, "2 h"), (100_000, "28 h"), (200_000, "2 days")],
)
def test_an_age_is_in_its_largest_unit(seconds, text):
    assert format_age(seconds) == text
