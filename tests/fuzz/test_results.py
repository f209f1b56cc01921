"""Untrusted run directories, read by `metarun compare`, `report` and `plot`."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzz.inputs import tiers, try_inputs
from tests.fuzz.sandbox import command
from tests.fuzz.strange import TEXTS
from tests.fuzz.strange_runs import RESULTS, ROW, strange_runs

pytestmark = pytest.mark.command

RUNS = Path("results/runs")


@pytest.fixture(scope="module", autouse=True)
def _drawn_once() -> None:
    """Import matplotlib before the watch starts, since it searches for fonts."""
    import matplotlib.figure
    import pandas as pd
    import scipy.stats  # noqa: F401

    matplotlib.figure.Figure()
    pd.DataFrame()


def write_runs(*runs: dict[str, bytes]) -> None:
    shutil.rmtree(RUNS, ignore_errors=True)
    for number, files in enumerate(({"result.json": json.dumps(ROW).encode()}, *runs)):
        folder = RUNS / f"maml-glyphs-5w1s-{number}"
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


class Page(HTMLParser):
    """The active elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.active: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "object", "embed", "link", "form", "base"):
            self.active.append(tag)
        self.active += [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]


@tiers
def test_every_record_is_compared_or_skipped_with_a_message(tier: str, sandbox: Path) -> None:
    def check(result: bytes, words: list[str]) -> None:
        write_runs({"result.json": result})
        answer = command("compare", *words)
        assert "0123abcd" in answer.out or answer.code == 2 or "--rows" in words

    formats = st.sampled_from(["table", "csv", "md", "latex", "json"]).map(lambda form: ["--format", form])
    keys = st.sampled_from(["algo", "seed", "more", "id,norm", "algo.inner_lr", "published"]).map(
        lambda key: ["--rows", key]
    )
    try_inputs(tier, 0.15, check, result=RESULTS, words=st.one_of(formats, keys, st.just(["--against", "0"])))


@tiers
def test_a_report_shows_readable_runs_and_has_no_foreign_script(tier: str, sandbox: Path) -> None:
    def check(files: dict[str, bytes]) -> None:
        write_runs(files, files)
        command("report")
        page = Path("report.html")
        assert Page(page.read_text(encoding="utf-8")).active == ["script"], "only the report's script"
        page.unlink()

    try_inputs(tier, 0.06, check, files=strange_runs())


@tiers
def test_a_comparison_reads_the_other_files_of_a_run_or_reports_an_error(tier: str, sandbox: Path) -> None:
    def check(files: dict[str, bytes], words: list[str]) -> None:
        write_runs(files, files)
        command("compare", *words)

    words = [
        ["--against", "0123abcd"],
        ["--rows", "algo"],
        ["--rows", "id,algo.inner_lr"],
        ["--columns", "data.split"],
        [],
    ]
    try_inputs(tier, 0.05, check, files=strange_runs(), words=st.sampled_from(words))


@tiers
def test_readable_runs_are_plotted(tier: str, sandbox: Path) -> None:
    def check(files: dict[str, bytes], words: list[str]) -> None:
        write_runs(files)
        command("plot", *words, "-o", "x.svg")

    kinds = [
        ["curve"],
        ["heatmap"],
        ["tasks", str(RUNS / "maml-glyphs-5w1s-1")],
        ["curve", "--against", "milliseconds"],
    ]
    try_inputs(tier, 0.02, check, files=strange_runs(), words=st.sampled_from(kinds))


@tiers
def test_arguments_are_accepted_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    write_runs()

    def check(verb: str, words: list[str]) -> None:
        command(verb, *(word.replace("\0", "") for word in words if word.strip(" /.~") or "-" in word))

    known = st.sampled_from(
        ["--rows", "--columns", "--against", "--format", "-o", "results", "list", "get", "check", "curve"]
    )
    words = st.lists(st.one_of(known, TEXTS), max_size=4)
    try_inputs(
        tier, 0.03, check, verb=st.sampled_from(["compare", "report", "plot", "data", "doctor", "no"]), words=words
    )
