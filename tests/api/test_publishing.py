"""A run packed into one file and imported elsewhere is the same run; what is no such file changes nothing."""

import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import metarun
from metarun.api.publishing import _ORDER
from metarun.cli import main as cli
from metarun.errors import UserError
from metarun.results import checksums, pack
from metarun.training import checkpoint

EARLIER = Path(__file__).parents[1] / "runner" / "earlier_runs"
NAME = "protonet-glyphs-5w1s-f649e085"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EARLIER / NAME, tmp_path / "results" / "runs" / NAME)
    return metarun.load("f649")


@pytest.fixture
def contents(run):
    """The files of a valid pack by name."""
    run.publish("run.zip")
    return pack.read(Path("run.zip"))


def command(monkeypatch, capsys, *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["metarun", *words])
    return cli.main(), "".join(capsys.readouterr())


def files_below(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_an_imported_run_has_the_same_files_and_weights(run, monkeypatch, capsys):
    code, said = command(monkeypatch, capsys, "publish", "run=f649")
    assert code == 0
    assert f"→ {NAME}.zip (" in said
    assert "Its environment.json names the host" in said
    code, said = command(monkeypatch, capsys, "import", f"{NAME}.zip", "--results-dir", "other")
    assert (code, said.splitlines()[-1]) == (0, f"→ other/runs/{NAME}")
    assert said.splitlines()[-2] == "protonet on glyphs: accuracy % 35.56 ± 10.53"
    imported = metarun.load("f649", "other")
    for file in ("config.yaml", "result.json", "tasks.parquet", "curve.csv", "environment.json"):
        assert (imported.path / file).read_bytes() == (run.path / file).read_bytes()
        checksums.check(imported.path / file)
    before, now = (checkpoint.load(each.path / "best.pt", each.id)["algorithm"] for each in (run, imported))
    assert list(before) == list(now)
    assert checkpoint.checksum(before) == checkpoint.checksum(now)
    code, said = command(monkeypatch, capsys, "import", f"{NAME}.zip", "--results-dir", "other")
    assert code == 0
    assert "is already there, with the same content" in said


@pytest.mark.slow
def test_an_imported_run_adapts_and_can_be_tested_as_before(run, monkeypatch, capsys):
    imported = metarun.import_run(run.publish("run.zip"), "other")
    rows = []
    for results in ("results", "other"):
        words = ("test", "run=f649", f"results_dir={results}", "test.tasks=5", "task.shot=2")
        assert command(monkeypatch, capsys, *words)[0] == 0
        (row,) = (row for row in metarun.load_results(results).to_dict("records") if row["test_shot"] == 2)
        rows.append((row["accuracy"], row["checkpoint_hash"], row["id"]))
    assert rows[0] == rows[1]
    task = metarun.load_tasks("glyphs", way=3, shot=2, query=1).batch(0, 1)
    answers = [
        each.adapt(task.support_x[0], task.support_y[0].tolist()).predict(task.query_x[0]) for each in (run, imported)
    ]
    assert (answers[0] == answers[1]).all()


def test_equal_runs_are_equal_files(run):
    run.publish("run.zip")
    metarun.import_run("run.zip", "other").publish("again.zip")
    assert Path("again.zip").read_bytes() == Path("run.zip").read_bytes()


def test_the_card_says_what_it_is(contents):
    card = contents[pack.CARD].decode()
    assert card.startswith("# protonet on glyphs\n")
    for part in ("Bitstream Vera (free to use and embed)", "| accuracy, % | ", " ± ", "floor", "metarun import"):
        assert part in card


def test_the_card_tells_a_model_below_its_floor(run, monkeypatch):
    monkeypatch.setitem(run.result, "floor_accuracy", 0.99)
    monkeypatch.setitem(run.result, "iterations", 5)
    run.publish("run.zip")
    assert "**the model does not exceed it**" in pack.read(Path("run.zip"))[pack.CARD].decode()


def test_a_damaged_run_is_not_published(run):
    checksums.write(run.path, {"result.json": run.path.joinpath("result.json").read_bytes(), "curve.csv": b"other"})
    with pytest.raises(UserError, match=r"curve\.csv has changed since the run finished"):
        run.publish("run.zip")
    assert not Path("run.zip").exists()


class Evil:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def with_record(contents, **changes) -> bytes:
    return json.dumps({**json.loads(contents["result.json"]), **changes}).encode()


CHANGES = {
    "pickle": (lambda _: {pack.WEIGHTS: pickle.dumps(Evil())}, r"cannot be imported \(.*; ask for a new copy"),
    "no order": (lambda _: {pack.WEIGHTS: save({"a": torch.ones(2)})}, "order of its weights is missing"),
    "other order": (lambda _: {pack.WEIGHTS: save({"a": torch.ones(2)}, {_ORDER: '["b"]'})}, "order of its weights"),
    "cut weights": (lambda c: {pack.WEIGHTS: c[pack.WEIGHTS][:-4]}, "cannot be imported"),
    "no record": (lambda _: {"result.json": b"{}"}, r"its result\.json is not valid: `status` is neither"),
    "failed": (
        lambda c: {"result.json": with_record(c, status="failed", reason="x")},
        "not that of a finished training",
    ),
    "a test": (lambda c: {"result.json": with_record(c, trained_by="f649e085")}, "not that of a finished training"),
    "id": (lambda c: {"result.json": with_record(c, id="../../evil")}, "not that of a finished training"),
    "config": (lambda _: {"config.yaml": b"- 1\n"}, r"its config\.yaml is not a config"),
    "aliases": (lambda _: {"config.yaml": b"a: &a [1]\nb: *a\n"}, "it has an alias"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_malicious_pack_leaves_nothing_behind(contents, change):
    changes, message = CHANGES[change]
    pack.write(Path("bad.zip"), {**contents, **changes(contents)})
    with pytest.raises(UserError, match=message):
        metarun.import_run("bad.zip", "other")
    assert not Path("other").exists()
    assert not Path("executed").exists()


def test_names_in_the_record_cannot_leave_the_results(contents):
    pack.write(Path("bad.zip"), {**contents, "result.json": with_record(contents, algo="../../up", data="/etc")})
    assert metarun.import_run("bad.zip", "other").path.parent == Path("other/runs")


def test_a_pack_of_the_users_own_code_is_imported_but_not_executed(contents):
    config = contents["config.yaml"].replace(b"metarun.algorithms.ProtoNet", b"os.system")
    assert config != contents["config.yaml"]
    pack.write(Path("own.zip"), {**contents, "config.yaml": config})
    imported = metarun.import_run("own.zip", "other")
    with pytest.raises(UserError, match=r"algo\._target_=os\.system\), so it is not run without your consent"):
        _ = imported.algorithm


def test_another_run_with_the_same_id_is_kept(run, contents):
    changed = {**contents, "result.json": with_record(contents, accuracy=0.9)}
    pack.write(Path("other.zip"), changed)
    before = (run.path / "result.json").read_bytes()
    with pytest.raises(UserError, match="is another run with the same id; remove it, or import into another"):
        metarun.import_run("other.zip")
    assert (run.path / "result.json").read_bytes() == before
    state = checkpoint.load(run.path / "best.pt", run.id)
    checkpoint.save(run.path / "best.pt", {**state, "algorithm": {k: v + 1 for k, v in state["algorithm"].items()}})
    with pytest.raises(UserError, match="is another run with the same id"):
        metarun.import_run("run.zip")


def test_an_unfinished_training_is_kept(run, contents):
    (run.path / "result.json").unlink()
    (run.path / "last.pt").touch()
    with pytest.raises(UserError, match="is an unfinished run; finish or remove it"):
        metarun.import_run("run.zip")


def test_a_full_disk_leaves_nothing_behind(contents, monkeypatch):
    def fail(path, content):
        raise UserError(f"{path} cannot be written (No space left on device)")

    monkeypatch.setattr("metarun.api.publishing.write_bytes", fail)
    with pytest.raises(UserError, match="No space left"):
        metarun.import_run("run.zip", "other")
    assert files_below("other") == []


def test_a_missing_package_is_one_sentence(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(UserError, match="the package safetensors is not installed; run `pip install safetensors`"):
        run.publish("run.zip")


def test_a_pack_that_cannot_be_written_asks_for_another_file(run, monkeypatch, capsys):
    said = "metarun: error: no dir/x.zip cannot be written (No such file or directory); choose another file with -o.\n"
    assert command(monkeypatch, capsys, "publish", "run=f649", "-o", "no dir/x.zip") == (2, said)


def test_bad_files_exit_with_2(run, monkeypatch, capsys):
    for words in (("import", "missing.zip"), ("publish", "run=0000"), ("import", str(run.path / "best.pt"))):
        code, said = command(monkeypatch, capsys, *words)
        assert code == 2
        assert said.startswith("metarun: error: ")
        assert len(said.splitlines()) == 1
