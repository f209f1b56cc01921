"""`metarun data` and `metarun doctor`, with tiny data sources."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from metarun.cli import data as data_command
from metarun.cli import doctor
from metarun.data import ClassDataset, Examples, Navigation2D
from metarun.data.duplicates import find_duplicates, log_duplicates
from metarun.errors import UserError

pytestmark = pytest.mark.command


class Drawn:
    """A data source of four classes, three examples each."""

    name, summary, licence = "drawn", "four drawn classes", "MIT"

    def __init__(self, here: bool = True, alike: Sequence[int] = ()) -> None:
        self.here = here
        self.alike = alike

    def load(self) -> ClassDataset:
        drawn = np.arange(12, dtype=np.uint8).repeat(16)
        drawn = drawn.reshape(4, 3, 1, 4, 4)
        drawn[self.alike, 0] = 99
        examples = dict(zip("abcd", drawn, strict=True))
        one, two, rest = ({name: examples[name] for name in names} for names in ("a", "b", "cd"))
        return ClassDataset(
            "drawn",
            {
                "train": Examples.from_classes(rest),
                "val": Examples.from_classes(one),
                "test": Examples.from_classes(two),
            },
        )

    def where(self) -> str | None:
        return "drawn here" if self.here else None

    def check(self) -> str:
        return "drawn: 12 examples, all well."


@pytest.fixture
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_command, "names", lambda: ["drawn", "far"])
    for builder in ("build_source", "_unchanged_source"):
        monkeypatch.setattr(data_command, builder, lambda name, settings=(): Drawn(here=name == "drawn"))


@pytest.mark.usefixtures("_drawn")
def test_list_shows_the_location_of_each_data_set_or_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert data_command.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "four drawn classes" in shown
    assert "drawn here" in shown
    assert "metarun data get far" in shown


@pytest.mark.usefixtures("_drawn")
def test_get_prints_the_contents_of_each_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert data_command.main(["get", "drawn"]) == 0
    shown = capsys.readouterr().out
    assert shown == "drawn: train 2 classes of 3 examples, val 1 of 3, test 1 of 3\n"


@pytest.mark.usefixtures("_drawn")
def test_check_prints_the_result_of_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert data_command.main(["check", "drawn"]) == 0
    assert capsys.readouterr().out == "drawn: 12 examples, all well.\n"


@pytest.mark.parametrize(
    ("alike", "warning"),
    [
        (
            (0, 1),
            "1 example found in more than one split of drawn: number 1 of class 'a' in 'val' and number 1 of class "
            "'b' in 'test'; meta-test may have been seen in training, and the results say so",
        ),
        (
            (2, 3),
            "1 example found in more than one class of a split of drawn: number 1 of class 'c' in 'train' and "
            "number 1 of class 'd' in 'train'; no method can tell which class it is, and the results say so",
        ),
    ],
)
def test_get_and_check_report_duplicates_like_a_run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    alike: Sequence[int],
    warning: str,
) -> None:
    source = Drawn(alike=alike)
    monkeypatch.setattr(data_command, "build_source", lambda name, settings=(): source)
    for action in ("get", "check"):
        assert data_command.main([action, "drawn"]) == 0
        assert capsys.readouterr().out.splitlines()[1:] == [warning]
    data = source.load()
    found = find_duplicates(data.name, data.hash, lambda: data.splits)
    assert found is not None
    log_duplicates("drawn", found)
    assert caplog.messages == [warning]


def test_every_packaged_data_set_is_listed() -> None:
    listed = dict(data_command.sources())
    assert set(listed) == set(data_command.names())
    assert all(source.summary and source.licence for source in listed.values())


@pytest.mark.parametrize("name", ["omniglot", "plants"])  # without and with keys outside `data`
def test_the_list_shows_the_source_that_a_run_would_use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_command, "names", lambda: [name])
    assert [vars(source) for _, source in data_command.sources()] == [vars(data_command.build_source(name))]


def test_a_setting_is_passed_to_the_data_source() -> None:
    assert data_command.build_source("omniglot", ["split=lake"]).split == "lake"  # type: ignore[attr-defined]


def test_an_unknown_data_set_is_reported_with_the_closest_name() -> None:
    with pytest.raises(UserError, match=r"unknown data set 'glyfs'\. Did you mean 'glyphs'\?"):
        data_command.build_source("glyfs")


@pytest.mark.slow
def test_doctor_finds_no_problems_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("METARUN_MIRROR", raising=False)
    assert doctor.main(["--results-dir", str(tmp_path / "results")]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("torch", "processor", "METARUN_DATA", "data=glyphs", "learn2learn"))
    assert shown.splitlines()[-1] == "No problems found."


def test_doctor_says_what_to_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("METARUN_MIRROR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(doctor, "IMPORTED", ("numpy", "no_such_module"))
    assert doctor.main(["--results-dir", str(tmp_path)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("To fix: reinstall metarun (no_such_module is broken); correct or unset METARUN_MIRROR=")


def test_the_list_knows_a_data_set_whose_file_builds_on_another() -> None:
    source = dict(data_command.sources())["navigation2d_sparse"]
    assert isinstance(source, Navigation2D)
    assert source.reward == "sparse"
