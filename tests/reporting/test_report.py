"""The page of `metarun report`: its contents for known results, and that no run can break it or inject code."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from metarun.reporting.configurations import configurations
from metarun.reporting.html.axes import Frame, evenly, ticks
from metarun.reporting.html.charts import shortened
from metarun.reporting.html.entries import DRAWN
from metarun.reporting.html.sections import settings_of
from metarun.reporting.label_placement import spread
from metarun.reporting.tables.run_labels import run_names
from metarun.results.example_tasks import ExampleTask, save
from metarun.results.records import read_records
from metarun.results.run_directory import RunDirectory
from metarun.system.atomic_write import write_csv, write_json, write_parquet, write_text
from tests.cli.test_compare import record

ACCURACY = np.array([[0.2, 0.2, 0.2, 0.2], [0.6, 0.8, 0.8, 1.0]])  # (steps + 1, tasks)


def example_task() -> ExampleTask:
    labels = np.array([0, 1], dtype=np.int16)
    pictures = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    return ExampleTask(
        pictures, labels, pictures, labels, np.array([0, 0], dtype=np.int16), np.array([0.9, 0.6], dtype=np.float32)
    )


def wave_task() -> ExampleTask:
    x = np.array([[0.0], [1.0]], dtype=np.float32)
    return ExampleTask(x, x, x, x, x + 1, np.empty(0, dtype=np.float32))


def write_run(name="0", by_step=ACCURACY, examples=(), files=True, **changes) -> Path:
    """Write the files of a run with known numbers."""
    run = RunDirectory(Path("results/runs") / name)
    run.path.mkdir(parents=True)
    steps, tasks = by_step.shape
    own = record(id=f"{int(name):08x}", steps=steps - 1, test_tasks=tasks, stream_hash="same", **changes)
    columns = {"task": np.tile(np.arange(tasks), steps), "step": np.repeat(np.arange(steps), tasks)}
    if "mse" in own:
        own = {key: value for key, value in own.items() if "accuracy" not in key} | {"floor_mse": 4.0}
        columns |= {"loss": by_step.ravel()}
    else:
        columns |= {"loss": by_step.ravel(), "accuracy": by_step.ravel(), "confidence": by_step.ravel() * 0.9}
    if files:
        write_parquet(run.tasks, columns)
        rows = [
            {"iteration": i, "split": split, "loss": 2 - i / 100, "accuracy": i / 100 if split == "val" else None}
            for i in (10, 20)
            for split in ("train", "val")
        ]
        write_csv(run.curve, rows, ["iteration", "split", "loss", "accuracy", "seconds"])
        write_text(run.config, "algo: maml\n")
        write_json(run.environment, {"host": "here"})
    if examples:
        save(run.examples, examples)
    write_json(run.result, own)
    return run.path


@pytest.fixture
def report(metarun):
    return partial(metarun, "report")


class Page(HTMLParser):
    """The tags with their attributes, the text of the table cells, and the whole text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.cell = tag in ("td", "th") or (self.cell and tag in ("a", "button"))

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def page() -> Page:
    return Page(Path("report.html").read_text())


def test_the_table_equals_that_of_compare(report, metarun):
    write_run("1")
    write_run("2", algo="protonet", by_step=ACCURACY[1:], order=None, transductive=False)
    code, printed, _ = report()
    assert (code, printed[:23]) == (0, "→ report.html (2 runs, ")
    lines = [line for line in metarun("compare", "--format", "md").out.splitlines() if line.startswith("|")]
    compared = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| :")]
    assert page().rows[:3] == compared


def test_all_sections_are_shown(report):
    write_run("1", examples=[example_task()] * 3)
    write_run("2", test_way=10)
    report()
    shown = page().text
    for title in (
        *("All runs", "Adaptation by step", "Adaptation by time", "Meta-validation", "Training loss", "Task by task"),
        *("Calibration over tasks", "Example tasks", "Way and shot", "Provenance", "glyphs, 10-way 1-shot"),
    ):
        assert title in shown
    assert "3 of the 6 queries shown are correct" in shown
    labels = [tag.get("aria-label") for tag in page().all("span") if tag.get("role") == "img"]
    assert labels[:3] == [
        "support A",
        "query A, predicted A, confidence 90 percent",
        "support B",
    ]
    assert "query B, predicted A, confidence 60 percent" in labels
    assert '"host": "here"' in shown


def test_regression_is_drawn_as_errors_and_waves(report):
    errors = np.array([[4.0, 3.0, 5.0], [1.0, 2.0, 0.5]])
    write_run("1", by_step=errors, examples=[wave_task()], mse=1.17, test_data="sinusoid", data="sinusoid", test_way=1)
    assert report()[0] == 0
    shown = page().text
    assert "sinusoid, 1 support point" in shown
    assert "mean squared error" in shown
    assert "Calibration" not in shown
    assert "support points, the function, and the predictions" in [t.get("aria-label") for t in page().all("svg")]


def test_texts_and_rows_are_written_out_with_their_predictions(report):
    labels, predicted = np.array([0, 1], np.int16), np.array([0, 0], np.int16)
    certain, rows = np.array([0.9, 0.6], np.float32), np.array([["1.5", "<b>"], ["2", "red"]])
    table = ExampleTask(rows, labels, rows, labels, predicted, certain, np.array(["size", "colour"]))
    texts = ExampleTask(rows[:, :1], labels, rows[:, 1:], labels, predicted, certain)
    write_run("1", examples=[table, texts])
    assert report()[0] == 0
    rows = page().rows[2:]
    assert rows[:4] == [
        ["", "", "size", "colour", "predicted"],
        ["A", "support", "1.5", "<b>", ""],
        ["", "queries", "1.5", "<b>", "✓ 90"],
        ["B", "support", "2", "red", ""],
    ]
    assert rows[4:8] == [
        ["", "queries", "2", "red", "✗ A 60"],
        ["", "", "text", "predicted"],
        ["A", "support", "1.5", ""],
        ["", "queries", "<b>", "✓ 90"],
    ]


def test_rows_of_several_inputs_are_drawn_one_target_each(report):
    x, y = np.float32([[0], [1]]), np.float32([[0, 5], [1, 6]])
    task = ExampleTask(x, y, x, y, y + 1, np.empty(0, np.float32), np.array(["time", "motor", "total"]))
    write_run("1", by_step=np.array([[4.0, 3.0], [1.0, 2.0]]), examples=[task], mse=1.17, test_way=1)
    assert report()[0] == 0
    labels = [tag.get("aria-label") for tag in page().all("svg")]
    assert "motor by time: support rows, queries, and their predictions" in labels
    assert "total by time: support rows, queries, and their predictions" in labels
    assert "drawn along time" in page().text


def test_pictures_keep_their_shape_and_spectrograms_name_their_axes(report):
    task = example_task()
    sounds = np.zeros((2, 1, 4, 6), np.uint8)
    write_run("1", examples=[replace(task, support_x=sounds, query_x=sounds, names=np.array(["time", "frequency"]))])
    assert report()[0] == 0
    assert "aspect-ratio:6/4" in Path("report.html").read_text()
    assert "spectrograms: time to the right, frequency upwards" in page().text


def test_it_works_offline_and_runs_only_its_own_script(report):
    write_run("1", examples=[example_task()])
    report()
    text, parsed = Path("report.html").read_text(), page()
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in ("src", "href", "srcset", "data", "action"):
                assert value.startswith("#"), f"<{tag} {name}={value}>"
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "@import" not in text
    assert all(url.startswith("data:image/png;base64,") for url in re.findall(r"url\((.*?)\)", text))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(tag["content"] for tag in parsed.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in policy


def test_strings_of_a_run_are_escaped(report):
    evil = "</style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    path = write_run("1", algo=evil, norm=evil, data=evil, test_data=evil, backbone=evil, examples=[example_task()])
    write_run("2", algo=evil, norm="layer", data=evil, test_data=evil, test_shot=5)
    (path / "config.yaml").write_text(f"evil: {evil}")
    (path / "environment.json").write_text(json.dumps({"command": evil}))
    report()
    parsed = page()
    assert len(parsed.all("script")) == 1
    assert len(parsed.all("style")) == 1
    assert not parsed.all("img")
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert parsed.rows[1][0] == evil
    assert f"evil: {evil}" in parsed.text


def test_an_invalid_curve_is_skipped(report):
    path = write_run("1")
    (path / "curve.csv").write_text("iteration,split,loss,accuracy\n1e999,val,1e308,-1e308\n2,val,x,y\n")
    code, _, stderr = report()
    assert code == 0
    assert "skipped: results/runs/1/curve.csv cannot be read (could not convert string to float" in stderr


def test_a_folder_name_may_be_invalid_utf_8(report):
    write_run("1").rename("results/runs/\udcff")
    code, _, _ = report()
    assert code == 0
    assert "results/runs/?" in page().text


@pytest.mark.parametrize("damaged", ["tasks.parquet", "curve.csv", "examples.npz"])
def test_a_damaged_file_only_affects_its_own_charts(report, damaged):
    path = write_run("1", examples=[example_task()])
    (path / damaged).write_bytes(b"\xff no such file")
    code, _, stderr = report()
    assert code == 0
    assert f"skipped: results/runs/1/{damaged} cannot be read" in stderr.replace("\n", " ")
    shown = page().text
    assert ("Adaptation by step" in shown) == (damaged != "tasks.parquet")
    assert ("Training loss" in shown) == (damaged != "curve.csv")
    assert ("Example tasks" in shown) == (damaged != "examples.npz")


def test_a_run_with_only_its_row_is_in_the_table(report):
    write_run("1", files=False)
    assert report()[0] == 0
    assert page().rows[1][0] == "maml"


@pytest.mark.slow
def test_the_page_of_a_hundred_runs_is_small(report):
    random = np.random.default_rng(0)
    for i in range(100):
        accuracy = random.integers(40, 76, (4, 200)) / 75
        write_run(str(i), accuracy, [example_task()] * 3, algo=f"method{i % 10}", seed=i, test_shot=1 + i % 25)
    report()
    assert Path("report.html").stat().st_size < 2_000_000
    assert len(page().all("details")) >= 100
    assert len(page().all("details")) - len([tag for tag in page().all("details") if "open" in tag]) > 100


def test_the_best_run_of_each_method_is_drawn_first(report, tmp_path):  # protonet is the worst of all
    for i in range(12):
        write_run(str(i), algo="maml" if i else "protonet", seed=i, accuracy=0.8 + i / 100)
    (setting,), *_ = settings_of(configurations(read_records([tmp_path])[0]))
    assert len(setting.runs) == 12
    assert [run.record["algo"] for run in setting.runs[:DRAWN]] == ["maml"] * (DRAWN - 1) + ["protonet"]
    results = next(chart for chart in setting.charts if chart.title == "Results")
    entries = re.findall(r'<g class="entry.*?>', results.drawing)
    assert [" hidden" in each for each in entries] == [False] * DRAWN + [True] * 4
    assert "8 of 12 configurations are drawn, the best of each method first" in setting.note


def test_runs_are_named_by_their_differences():
    unread = {"path": "nowhere"}
    changes = ({}, {"seed": 1}, {"algo": "anil"}, {"norm": "layer"})
    assert run_names([record(id=f"{i}", **unread, **each) for i, each in enumerate(changes)]) == [
        "maml, norm=batch, seed 0",
        "maml, norm=batch, seed 1",
        "anil",
        "maml, norm=layer, seed 0",
    ]


def test_indistinguishable_runs_are_named_by_id(report):
    write_run(str(0x1234ABCD), algo="protonet")
    write_run(str(0xABCD1234), algo="protonet")
    assert report()[0] == 0
    page = Path("report.html").read_text()
    assert "protonet 1234abcd" in page
    assert "protonet abcd1234" in page


def test_a_heat_map_needs_two_cells_and_only_seeds_share_a_cell(report):
    write_run("1", accuracy=0.9)
    write_run("2", accuracy=0.8, seed=1)
    write_run("3", accuracy=0.95, test_shot=5)
    write_run("4", algo="anil")
    write_run("5", accuracy=0.7, norm="layer", test_shot=5)
    assert report()[0] == 0
    page = Path("report.html").read_text()
    sizes = page[page.index('id="sizes"') : page.index('id="runs"')]
    assert re.findall("<h4>(.*?)</h4>", sizes) == ["maml, norm=batch"]
    written = re.findall("<text[^>]*middle[^>]*>(.*?)</text>", sizes)
    assert written == ["1", "5", "85.0 † ¶", "± 26.0", "sd 7.1", "95.0 † ¶", "± 0.4"]
    assert "† transductive: predictions depend on the other queries." in sizes


def test_the_worst_five_percent_of_the_tasks_are_marked(report, tmp_path):
    accuracy = np.concatenate([np.full(57, 0.8), np.full(3, 0.4)])[None]  # 60 tasks: 3 are the worst
    write_run("1", accuracy)
    (setting,), *_ = settings_of(configurations(read_records([tmp_path])[0]))
    chart = next(chart for chart in setting.charts if chart.title == "Task by task")
    assert "worst 5 %: 40.0" in chart.drawing
    bars = re.findall(r'<path class="(bar.*?)" d="(.*?)"', chart.drawing)
    assert [(kind, path.count("z")) for kind, path in bars] == [("bar", 2), ("bar marked", 1)]


def test_the_time_axis_ends_at_the_time_of_one_task(report, tmp_path):
    write_run("1", adapt_ms=40.0)
    (setting,), *_ = settings_of(configurations(read_records([tmp_path])[0]))
    chart = next(chart for chart in setting.charts if chart.title == "Adaptation by time")
    assert ">40</text>" in chart.drawing
    assert ">80</text>" in chart.drawing  # the mean accuracy at the end, in percent


def test_numbers_are_mapped_to_positions():
    frame = Frame((0, 10), (0, 100), "steps", "accuracy, %")
    assert (frame.px(0), frame.px(10)) == (34, frame.end)
    assert frame.py(0) == frame.bottom
    assert frame.py(100) == 24
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(57.3, 91.2) == [60, 70, 80, 90]
    assert evenly(5, 10) == [0, 1, 2, 3, 4]
    assert evenly(101, 3) == [0, 50, 100]
    assert spread([10, 11, 50], 10, 0, 100) == [10, 20, 50]
    assert spread([95, 96, 97], 10, 0, 100) == [80, 90, 100]


@pytest.mark.parametrize("by_step", [np.ones((2, 4)), np.zeros((1, 4)), np.full((2, 1), 0.5), np.full((12, 1), 0.0)])
@pytest.mark.parametrize("regression", [False, True])
def test_results_without_spread_are_drawn(report, by_step, regression):
    write_run("1", by_step, **({"mse": 0.0, "test_way": 1} if regression else {}))
    assert report()[::2] == (0, "")
    text = Path("report.html").read_text()
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', text)


def test_folders_and_the_output_file_can_be_given(report):
    write_run("1")
    write_run("2")
    code, printed, _ = report("results/runs/2", "-o", "two.html")
    assert code == 0
    assert "→ two.html (1 run, " in printed
    assert "00000001" not in Path("two.html").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere does not exist; name a folder with runs, such as"),
        (
            ["-o", "missing/report.html"],
            "missing/report.html cannot be written (No such file or directory); choose another file with -o.",
        ),
        (["-o", "results"], "results cannot be written (Is a directory); choose another file with -o."),
    ],
)
def test_an_error_is_one_sentence(report, words, sentence):
    write_run("1")
    code, _, stderr = report(*words)
    assert code == 2
    assert sentence in " ".join(stderr.split())


def test_torch_is_not_imported(report, tmp_path):
    write_run("1", examples=[example_task()])
    program = "import sys; from metarun.cli.report import main; main([]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60, capture_output=True)


def test_two_copies_of_a_run_only_affect_the_heatmaps(report):
    write_run("1")
    shutil.copytree("results/runs/1", "results/runs/2")
    code, _, stderr = report()
    assert code == 0
    assert "skipped: heatmaps by way and shot: run 00000001 is in more than one of the folders; name folders" in stderr
    assert len([tag for tag in page().all("tr") if "data-run" in tag]) == 2


def test_seeds_are_one_row_and_one_line_with_each_seed_below(report):
    for seed in range(3):
        write_run(str(seed), seed=seed, seedless_id="a", accuracy=0.6 + seed / 10, transductive=False)
    write_run("9", algo="protonet", by_step=ACCURACY[1:], seedless_id="b", transductive=False)
    report()
    found = page()
    lines = [tag["data-run"] for tag in found.all("tr") if "data-run" in tag]
    assert sorted(map(len, map(str.split, lines))) == [1] * 5 + [3]
    assert "Each seed 4 runs" in " ".join(found.text.split())
    assert "means over 3 seeds" in found.text
    assert "3 seeds)" in found.text


def test_methods_are_compared_in_words_and_charts(report):
    for i, (algo, shot) in enumerate((("maml", 1), ("protonet", 1), ("maml", 5), ("protonet", 5))):
        by_step = ACCURACY if algo == "maml" else ACCURACY[1:] * 0.5
        write_run(str(i), by_step, algo=algo, test_shot=shot, accuracy=float(by_step[-1].mean()), transductive=False)
    assert report()[0] == 0
    text = " ".join(page().text.split())
    assert "glyphs, 5-way 1-shot: maml beats protonet by 40.00 ± 12.99 points (p = 0.002, for these trainings" in text
    for title in ("Results", "Differences", "Ranks over settings", "Wins, ties and losses", "2/0/0", "wins 100 %"):
        assert title in text
    assert "scroll or swipe it sideways to see all columns" in text
    assert "Meta-val has other classes than meta-test" in text


def test_predicted_probabilities_are_a_table(report):
    figures = {"nll": 0.7, "nll_ci95": 0.0123, "brier": 0.35, "brier_ci95": None, "ece": 0.061, "ece_ci95": 0.004}
    write_run("1", algo="protonet", **figures)
    write_run("2", seedless_id="a", seed=0, **figures)
    write_run("3", seedless_id="a", seed=1, **{**figures, "nll": 0.9})
    write_run("4", algo="anil")  # of an older version
    report()
    cells = [row[1:] for row in page().rows if row[1:2] and row[1].startswith("0.")]
    assert sorted(cells) == [
        ["0.700 ± 0.012", "0.350", "6.1 ± 0.4"],
        ["0.800 sd 0.141", "0.350 sd 0.000", "6.1 sd 0.0"],
    ]


def test_classes_mixed_up_are_a_table_and_a_damaged_file_is_skipped(report):
    folder = write_run("1")
    write_json(folder / "classes.json", {"classes": [["<b>", 0.125, 8]], "mixed_up": [["<b>", "c", 0.75]]})
    report()
    assert ["<b>", "c", "75.0", "<b>", "12.5"] in page().rows
    write_json(folder / "classes.json", {"classes": [["a", 0.125]], "mixed_up": []})
    code, _, stderr = report()
    assert code == 0
    assert "classes.json cannot be read (a row is invalid)" in stderr


def test_labels_that_begin_alike_are_shortened_to_their_ends():
    assert shortened(["maml", "maml inner_lr=0.25", "maml inner_lr=0.5 ", "protonet with a long name"]) == {
        "maml inner_lr=0.25": "…inner_lr=0.25",
        "maml inner_lr=0.5 ": "…inner_lr=0.5 ",
        "protonet with a long name": "protonet with …",
    }


def test_the_environments_that_differ_are_listed_with_their_runs(report):
    for name, torch in (("1", "2.12.0"), ("2", "2.13.0"), ("3", "2.13.0")):
        path = write_run(name, test_shot=int(name))
        write_json(
            path / "environment.json", {"versions": {"torch": torch, "numpy": "2.4"}, "host": "here", "time": name}
        )
    assert report()[0] == 0
    rows = page().rows
    start = rows.index(["environment", "value", "runs"])
    assert rows[start + 1 :] == [["torch", "2.12.0", "1: 00000001"], ["torch", "2.13.0", "2: 00000002 00000003"]]


def test_all_of_a_chart_that_stands_for_a_row_is_marked_with_it(report):
    for i, algo in enumerate(("maml", "protonet", "anil")):
        write_run(str(i), algo=algo, accuracy=0.9 - i / 10)
    assert report()[0] == 0
    settings = Path("report.html").read_text().partition('id="settings"')[2].partition('id="runs"')[0]
    for figure in re.findall("<figure.*?</figure>", settings, re.DOTALL):
        rows = set(re.findall(r'data-row="(\d+)"', figure))
        assert rows == {"0", "1", "2"}, re.findall("<h4>(.*?)</h4>", figure)
