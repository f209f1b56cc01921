import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from metarun.reporting.tables.pivot import cell_figure
from metarun.reporting.tables.render import Best, as_text
from metarun.system.atomic_write import write_json


def record(**changes) -> dict:
    base = {
        "id": "00000000",
        "status": "done",
        **{"algo": "maml", "data": "glyphs", "test_data": "glyphs", "way": 5, "shot": 1, "query": 15, "seed": 0},
        **{"test_way": 5, "test_shot": 1, "test_query": 15, "test_tasks": 1000},
        **{"accuracy": 0.9, "accuracy_ci95": 0.004, "floor_accuracy": 0.58, "norm": "batch", "transductive": True},
        **{
            "order": 2,
            "steps": 3,
            "adapt_ms": 12.0,
            "train_seconds": 90.0,
            "backbone": "conv4",
            "iterations": 9,
            "device": "cpu",
        },
    }
    return {**base, **changes}


@pytest.fixture
def compare(metarun):
    def run(*words, records=()):
        for i, each in enumerate(records):
            folder = Path(f"results/runs/{i}")
            folder.mkdir(parents=True)
            write_json(folder / "result.json", each)
        return metarun("compare", *words)

    return run


RECORDS = [
    record(),
    record(id="11111111", algo="protonet", accuracy=0.951, transductive=False, order=None, norm="running", steps=0),
    record(id="22222222", algo="protonet", accuracy=0.8, test_way=20, transductive=False, order=None),
]


def test_every_row_has_its_columns_and_the_best_of_a_setting_comes_first(compare):
    code, printed, _ = compare(records=RECORDS)
    assert code == 0
    rows = [line for line in printed.splitlines() if " ± " in line and "glyphs" in line]
    assert [row.split() for row in rows] == [
        [
            "protonet",
            "glyphs",
            "5w1s",
            "95.10",
            "±",
            "0.40",
            "58.0",
            "no",
            "–",
            "1.5",
            "min",
            "11111111",
            "running",
            "–",
        ],
        [
            *("maml", "glyphs", "5w1s", "90.00", "±", "0.40", "†", "58.0", "yes", "2", "1.5", "min", "00000000"),
            *("batch", "3"),
        ],
        [
            "protonet",
            "glyphs",
            "5w1s",
            "→",
            "20w1s",
            "80.00",
            "±",
            "0.40",
            "58.0",
            "no",
            "–",
            "1.5",
            "min",
            "22222222",
            "batch",
            "3",
        ],
    ]
    assert "In all rows: queries 15, ms/task 12, tasks 1,000, seed 0." in printed
    assert "± is the closed 95 % interval over meta-test tasks (Student t), drawn with replacement." in printed
    assert "† transductive: predictions depend on the other queries." in printed


def test_a_pivot_of_methods_by_task_sizes(compare):
    code, printed, _ = compare("--rows", "algo", "--columns", "test_way,test_shot", "--format", "md", records=RECORDS)
    assert code == 0
    assert printed.splitlines()[:4] == [
        "| algo     | test_way=5, test_shot=1 | test_way=20, test_shot=1 |",
        "| :------- | :---------------------- | :----------------------- |",
        "| maml     | 90.00 ± 0.40 †          | –                        |",
        "| protonet | 95.10 ± 0.40            | 80.00 ± 0.40             |",
    ]


def test_a_pivot_as_json_and_csv_has_numbers(compare):
    words = ("--rows", "algo,order", "--columns", "test_way", "--format")
    _, printed, _ = compare(*words, "json", records=[*RECORDS, record(id="another", seed=1, accuracy=0.8)])
    maml, protonet = json.loads(printed)
    spread = {"sd": pytest.approx(0.1 / np.sqrt(2)), "seeds": 2, "flags": ["transductive"], "standing": ""}
    five_way = {"accuracy": pytest.approx(0.85), "ci95": None, **spread}  # no interval: the runs have no tasks.parquet
    assert maml == {"algo": "maml", "order": 2, "test_way=5": five_way, "test_way=20": None}
    alone = {"sd": None, "seeds": 1, "flags": [], "standing": ""}
    assert protonet["test_way=20"] == {"accuracy": 0.8, "ci95": 0.004, **alone}
    _, printed, _ = compare(*words, "csv")
    table = pd.read_csv(io.StringIO(printed))
    parts = ("accuracy", "ci95", "sd", "seeds", "flags", "standing")
    assert list(table) == ["algo", "order", *(f"test_way={way} {part}" for way in (5, 20) for part in parts)]
    assert table["test_way=20 accuracy"].tolist() == [pytest.approx(np.nan, nan_ok=True), 0.8]
    assert table["test_way=5 flags"][0] == "transductive"


def test_a_missing_value_is_a_dash_and_empty_in_csv(compare):
    _, printed, _ = compare("--rows", "algo,order", "--format", "md", records=RECORDS[:2])
    assert [line[:20] for line in printed.splitlines()[2:4]] == ["| maml     | 2     |", "| protonet | –     |"]
    _, printed, _ = compare("--rows", "algo,order", "--format", "csv")
    assert printed.splitlines() == [
        "algo,order,accuracy,ci95,sd,seeds,flags,standing",
        "maml,2,0.9,0.004,,1,transductive,",
        "protonet,,0.951,0.004,,1,,",
    ]


def test_seeds_share_a_cell_and_their_spread_is_shown_separately(compare):
    records = [record(seed=0, accuracy=0.9), record(seed=1, accuracy=0.8)]
    _, printed, _ = compare("--rows", "algo", "--format", "md", records=records)
    assert "| maml | 85.00 (sd 7.07, 2 seeds) † |" in printed
    assert "sd: the standard deviation over the seeds, which ± does not include." in printed


def test_the_interval_of_several_seeds_covers_their_mean_on_other_tasks(monkeypatch):
    monkeypatch.setattr("metarun.reporting.tables.flags.figures_by_step", lambda record: record["by_task"])
    random, covered = np.random.default_rng(5), 0
    offsets = np.array([-0.02, 0.0, 0.03])  # of three trainings
    for _ in range(2000):
        by_task = random.normal(0.8, 0.1, 60) + offsets[:, None] + random.normal(0, 0.05, (3, 60))
        runs = [{"accuracy": each.mean(), "stream_hash": "same", "by_task": each[None]} for each in by_task]
        found = cell_figure(runs)
        covered += abs(found.mean - (0.8 + offsets.mean())) <= found.ci95
    assert 0.93 <= covered / 2000 <= 0.97


def test_a_pivot_over_a_key_of_the_config(compare):
    compare(records=[record(), record(id="11111111", accuracy=0.8)])
    for i, rate in enumerate((0.4, 0.1)):
        (Path("results/runs") / str(i) / "config.yaml").write_text(f"algo: {{inner_lr: {rate}}}\n")
    code, printed, _ = compare("--rows", "algo", "--columns", "algo.inner_lr", "--format", "json")
    assert code == 0
    (maml,) = json.loads(printed)
    assert {name: cell["accuracy"] for name, cell in maml.items() if name != "algo"} == {
        "algo.inner_lr=0.1": 0.8,
        "algo.inner_lr=0.4": 0.9,
    }


def two_rates(compare) -> None:
    """Two runs that differ in their inner rate and in their seed."""
    compare(records=[record(id=f"{i}" * 8, seed=i, seedless_id=f"{i + 5}" * 8, accuracy=0.8 + i / 10) for i in (0, 1)])
    for i, rate in enumerate((0.4, 0.1)):
        (Path("results/runs") / str(i) / "config.yaml").write_text(f"algo: {{inner_lr: {rate}, order: 2}}\n")


def test_runs_that_differ_in_more_than_their_seed_do_not_share_a_cell(compare):
    two_rates(compare)
    code, _, stderr = compare("--rows", "algo")
    assert code == 2
    assert "runs that differ in algo.inner_lr (0.1, 0.4) would share a cell; select fewer runs" in stderr


def test_differing_settings_without_a_column_are_in_the_settings_column(compare):
    two_rates(compare)
    _, printed, _ = compare("--format", "md")
    head, _, *rows = printed.splitlines()
    assert [cell.strip() for cell in head.split("|")][1:6] == ["method", "data", "task", "settings", "accuracy %"]
    assert [row.split("|")[4].strip() for row in rows[:2]] == ["algo.inner_lr=0.1", "algo.inner_lr=0.4"]


def test_runs_that_differ_only_in_their_seed_have_no_settings_column(compare):
    _, printed, _ = compare("--format", "md", records=[record(), record(id="11111111", seed=1)])
    assert "settings" not in printed


@pytest.mark.parametrize(
    ("intervals", "sentence"),
    [
        (
            ["open", "open"],
            "± is the open 95 % interval over meta-test tasks (Student t), which share no example.",
        ),
        (["open", "closed"], "closed: tasks drawn with replacement, open: tasks that share no example."),
    ],
)
def test_the_notes_explain_the_interval(compare, intervals, sentence):
    records = [record(id=f"0000000{i}", interval=interval) for i, interval in enumerate(intervals)]
    _, printed, _ = compare(records=records)
    assert sentence in printed


@pytest.mark.parametrize("width", [55, 80, 140])
def test_columns_that_do_not_fit_a_terminal_are_named_and_nothing_is_truncated(compare, monkeypatch, width):
    monkeypatch.setattr(
        "metarun.reporting.tables.render.Console", lambda **_: Console(width=width, force_terminal=True)
    )
    differing = [record(id=f"{i}" * 8, steps=i, norm=f"{i}" * 12, accuracy=0.8 + i / 100) for i in (1, 2)]
    _, printed, _ = compare(records=differing)
    table = printed[: printed.index("± is")]
    assert "…" not in table
    assert "22222222" in table
    assert max(map(len, re.sub("\x1b.*?m", "", table).splitlines())) <= width
    assert ("Hidden columns: " in printed) == (width < 80)
    assert ("In all rows: transductive yes" in " ".join(printed.split())) == (width == 80)


def test_runs_that_differ_only_in_their_seed_share_a_row(compare):
    of_maml = [record(id=f"{i}" * 8, seed=i, seedless_id="m", accuracy=0.8 + i / 100) for i in range(3)]
    lucky = record(id="99999999", algo="protonet", accuracy=0.815, seed=7, seedless_id="p")
    _, printed, _ = compare(records=[*of_maml, lucky])
    rows = [line.split() for line in printed.splitlines() if "glyphs" in line]
    assert [row[0] for row in rows] == ["protonet", "maml"], "the best mean, not the best seed, comes first"
    assert "81.00 (sd 1.00, 3 seeds)" in " ".join(rows[1])
    assert "00000000 +2" in printed
    assert "0–2" in printed
    assert "With several seeds: the mean; sd: the standard deviation over the seeds" in printed
    _, printed, _ = compare("--each-seed")
    assert len([line for line in printed.splitlines() if "glyphs" in line]) == 4
    _, printed, _ = compare("--format", "csv")
    assert len(printed.splitlines()) == 5


def test_a_table_over_seeds_imports_nothing_that_takes_a_third_of_a_second(compare, tmp_path):
    seeds = [record(id=f"{i}" * 8, seed=i, seedless_id="m", test_tasks=2, steps=0) for i in range(2)]
    compare(records=seeds)
    for i in range(2):
        table = pd.DataFrame({"task": [0, 1], "step": [0, 0], "accuracy": np.float32([0.25, 0.5])})
        table.to_parquet(tmp_path / f"results/runs/{i}/tasks.parquet")
    program = """if True:
        import sys
        from metarun.cli.compare import main
        main([])
        sys.exit(not {"pandas", "torch", "hydra", "scipy.stats"}.isdisjoint(sys.modules))"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_pivot_is_wider_than_a_page_or_wrapped_but_never_truncated(compare, monkeypatch, terminal):
    console = {"width": 80, "force_terminal": True}
    if terminal:
        monkeypatch.setattr("metarun.reporting.tables.render.Console", lambda **_: Console(**console))
    records = [record(id=f"{i:08x}", test_way=5 + i // 2, seed=i % 2, accuracy=0.9 - i / 100) for i in range(20)]
    _, printed, _ = compare("--rows", "algo", "--columns", "test_way", records=records)
    assert "…" not in printed
    assert len(re.findall(r"\(sd", printed)) == 10
    widest = max(map(len, re.sub("\x1b.*?m", "", printed).splitlines()))
    assert widest <= 80 if terminal else widest > 200


def test_regression_has_a_different_floor(compare):
    _, printed, _ = compare(records=[record(), {**record(id="11111111", mse=0.3), "floor_mse": 4.0}])
    assert "The floor is the nearest centroid of raw inputs, in regression the mean of the support targets." in printed


def test_the_floor_column_has_the_better_floor_and_says_what_it_is(metarun):
    text = record(id="0000000a", floor_accuracy=0.76, floor_inputs="TF-IDF")
    ridge = record(id="0000000b", mse=1.0, floor_mse=4.0, floor_ridge_mse=2.0)
    del ridge["accuracy"]
    for own in (text, ridge):
        folder = Path("results/runs") / own["id"]
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(own))
    printed = " ".join(metarun("compare", "--format", "md").out.split())
    assert "| 76.0 |" in printed
    assert "| 2.000 |" in printed
    assert (
        "The floor is the nearest centroid of TF-IDF, in regression the better of the mean of the support targets and "
        "ridge regression of each task's support set."
    ) in printed


def test_many_rows_are_written_as_plain_text(compare):
    records = [record(id=f"{i:08x}", accuracy=i / 600) for i in range(501)]
    code, printed, _ = compare(records=records)
    assert code == 0
    lines = printed.splitlines()
    assert lines[0].split()[:4] == ["method", "data", "task", "accuracy"]
    assert len([line for line in lines if line.startswith("maml")]) == 501
    assert len({line.index("glyphs") for line in lines[1:502]}) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"test_data": "omniglot"},
            "runs that differ in test_data (glyphs, omniglot) would share a cell; select fewer",
        ),
        ({"transductive": False}, "runs that differ in transductive (False, True) would share a cell"),
        ({"id": "other"}, "runs that differ in id (00000000, other) would share a cell; select fewer"),
    ],
)
def test_runs_with_different_settings_do_not_share_a_cell(compare, changes, sentence):
    code, _, stderr = compare("--rows", "algo", records=[record(), record(**changes)])
    assert code == 2
    assert sentence in stderr


def test_all_missing_axes_are_named_at_once_with_the_command(compare):
    runs = [
        record(id=f"{w}{s}" * 4, way=w, test_way=w, shot=s, test_shot=s, backbone=b)
        for w, s, b in ((5, 1, "conv4"), (5, 5, "conv4"), (20, 1, "conv4"), (20, 1, "resnet12"))
    ]
    _, _, stderr = compare("--rows", "algo", records=runs)
    assert (
        "runs that differ in backbone (conv4, resnet12) and test_way (20, 5) and test_shot (1, 5) would share" in stderr
    )
    assert stderr.endswith("use `metarun compare --rows algo,backbone --columns test_way,test_shot`.\n")
    assert compare("--rows", "algo,backbone", "--columns", "test_way,test_shot").code == 0


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--where", "algo=protonet"], ["11111111", "22222222"]),
        (["--where", "algo=PROTONET and test_way=5"], ["11111111"]),
        (["--where", "test_way>=6"], ["22222222"]),
        (["--where", "order=null and accuracy<0.9"], ["22222222"]),
        (["--where", "algo!=protonet"], ["00000000"]),
        (["--where", "order>=0"], ["00000000"]),  # null is not a number
        (["--sort", "accuracy"], ["11111111", "00000000", "22222222"]),
        (["--sort", "-accuracy"], ["22222222", "00000000", "11111111"]),
        (["--sort", "algo"], ["00000000", "11111111", "22222222"]),
    ],
)
def test_runs_can_be_selected_and_sorted(compare, words, ids):
    _, printed, _ = compare(*words, records=RECORDS)
    assert re.findall(r"\b(\d)\1{7}\b", printed) == [id[0] for id in ids]
    _, printed, _ = compare(*words, "--format", "json")
    assert sorted(row["id"] for row in json.loads(printed)) == sorted(ids)


def test_keys_can_be_shown(compare):
    two_rates(compare)
    _, printed, _ = compare("--show", "algo.inner_lr,val_accuracy", "--where", "seed=0")
    assert "unknown" not in printed


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--where", "algo"], "--where 'algo' is not of the form KEY=VALUE; write 'algo=maml and test_shot>=5'"),
        (["--where", "algo=mamm"], "no run has algo=mamm; there are algo: maml, protonet."),
        (["--where", "alog=maml"], "'alog' is not a key of a result"),
        (["--sort", "acuracy"], "Did you mean 'accuracy'?"),
        (["--show", "algo.iner_lr"], "'algo.iner_lr' is not a key of a result"),
        (["--rows", "algo", "--sort", "accuracy"], "--sort has no effect with --rows; omit one of them."),
        (["--columns", "way", "--show", "seed"], "--show has no effect with --columns; omit one of them."),
        (["--rows", "algo", "--each-seed"], "--each-seed has no effect with --rows; omit one of them."),
        (["--against", "0", "--only", "id"], "--only has no effect with --against; omit one of them."),
        (["--against", "0", "--rows", "algo"], "--rows has no effect with --against; omit one of them."),
        (["--only", "id", "--format", "csv"], "--only has no effect with --format csv, which has every key; omit it."),
    ],
)
def test_an_invalid_selection_is_an_error(compare, words, complaint):
    code, _, stderr = compare(*words, records=RECORDS)
    assert (code, complaint in stderr) == (2, True), stderr


def test_only_a_few_of_many_runs_that_would_share_a_cell_are_listed(compare):
    _, _, stderr = compare("--rows", "algo", records=[record(id=f"{i:08x}") for i in range(1200)])
    assert re.search(r"differ in id \(([0-9a-f]{8}, ){7}[0-9a-f]{8} and 1,192 more\) would share a cell", stderr)


@pytest.mark.parametrize("form", ["table", "md", "latex", "csv", "json"])
def test_every_format_has_every_row(compare, form):
    code, printed, _ = compare("--format", form, records=RECORDS)
    assert code == 0
    assert all(each["id"] in printed for each in RECORDS)


def test_csv_and_json_have_every_key(compare, tmp_path):
    _, printed, _ = compare("--format", "json", records=RECORDS)
    parsed = json.loads(printed)
    assert all(RECORDS[0].items() <= each.items() for each in parsed if each["id"] == "00000000")
    _, printed, _ = compare("--format", "csv")
    (tmp_path / "table.csv").write_text(printed)
    assert set(RECORDS[0]) <= set(pd.read_csv(tmp_path / "table.csv").columns)


def test_latex_uses_booktabs_and_aligns_decimal_points(compare):
    _, printed, _ = compare("--rows", "algo", "--columns", "test_way", "--format", "latex", records=RECORDS)
    first, _, *table = printed.splitlines()
    assert first == r"% \usepackage{booktabs}\usepackage{siunitx}"
    assert table == [
        r"\begin{tabular}{lS[table-format=2.2, detect-weight, table-space-text-post={ ± 0.40 †}]"
        r"S[table-format=2.2, detect-weight, table-space-text-post={ ± 0.40}]}",
        r"\toprule",
        r"algo     & {test\_way=5}     & {test\_way=20}  \\",
        r"\midrule",
        r"maml     & 90.00 { ± 0.40 †} & {–}             \\",
        r"protonet & 95.10 { ± 0.40}   & 80.00 { ± 0.40} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_columns_are_chosen_in_any_order(compare):
    _, printed, _ = compare("--only", "accuracy, method", "--format", "md", records=RECORDS)
    assert printed.startswith("| accuracy %")
    assert {line.count("|") for line in printed.splitlines() if line.startswith("|")} == {3}
    code, _, err = compare("--only", "acuracy")
    assert code == 2
    assert "--only acuracy: the table has no such column; it has: method, data, task," in err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("words", [[], ["--rows", "algo", "--columns", "test_way"]])
def test_latex_compiles(compare, tmp_path, words):
    rows = [*RECORDS, record(id="1", algo="best_of & 100 %", accuracy=0.99)]
    _, printed, _ = compare(*words, "--format", "latex", records=rows)
    packages = printed.splitlines()[0].removeprefix("% ")
    text = rf"\documentclass{{article}}{packages}\begin{{document}}\footnotesize {printed}\end{{document}}"
    (tmp_path / "table.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:]
    assert "Package siunitx Warning" not in done.stdout


def test_special_characters_of_a_format_are_escaped(compare):
    strange = [record(algo="a|b_c", norm="50 % & {x} #1 $2 ~ ^ \\"), record(id="1", algo="d<e>f", norm="batch")]
    _, printed, _ = compare("--format", "md", records=strange)
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert "| a\\|b_c " in rows[2]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    _, printed, _ = compare("--format", "latex")
    assert r"a|b\_c" in printed
    assert r"d\ensuremath{<}e\ensuremath{>}f" in printed
    assert r"50 \% \& \{x\} \#1 \$2 \textasciitilde{} \^{} \textbackslash{}" in printed


def test_the_best_is_bold(compare):
    rows = [record(stream_hash="same"), record(id="1", accuracy=0.8, stream_hash="same")]
    _, printed, _ = compare("--format", "latex", records=rows)
    assert printed.count(r"\bfseries 90.00 {\bfseries  ± 0.40}") == 1
    _, printed, _ = compare("--format", "md")
    assert printed.count("**90.00 ± 0.40**") == 1


def test_unfinished_failed_and_damaged_runs_are_skipped_and_named(compare):
    for name, text in {
        "damaged": "{",
        "array": "[]",
        "failed": '{"status": "failed", "reason": "NaN."}',
        "bare": '{"status": "done"}',
    }.items():
        folder = Path(f"results/runs/{name}")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(text)
    Path("results/runs/unfinished/result.json").mkdir(parents=True)
    code, printed, notes = compare(records=[record()])
    assert code == 0
    assert "00000000" in printed
    assert all(f"skipped: results/runs/{name}" in notes for name in ("damaged", "array", "failed", "bare"))
    assert "NaN." in notes


def test_other_folders_can_be_named(compare):
    compare(records=RECORDS)
    _, printed, _ = compare("results/runs/0", "results/runs/2", "--format", "csv")
    assert "11111111" not in printed
    assert "00000000" in printed


@pytest.mark.parametrize(
    ("words", "records", "sentence"),
    [
        ([], [], "results does not exist; name a folder with runs, such as"),
        (["nowhere"], RECORDS, "nowhere does not exist"),
        (["--rows", "algoo"], RECORDS, "'algoo' is not a key of a result"),
        (["--rows", "accuracy_by_step"], [record(accuracy_by_step=[0.2])], "'accuracy_by_step' is not a key of a"),
        (["--format", "cvs"], RECORDS, "invalid choice: 'cvs'"),
        ([], [{"status": "failed", "reason": "NaN."}], "no finished run in results"),
    ],
)
def test_an_error_is_one_sentence(compare, words, records, sentence):
    code, _, stderr = compare(*words, records=records)
    assert code == 2
    assert sentence in stderr


def test_another_precision_is_shown(compare):
    _, printed, _ = compare(records=[record(), record(id="11111111", precision="bf16")])
    assert "precision" in printed
    assert "bf16" in printed
    code, _, stderr = compare("--rows", "algo", "--columns", "way")
    assert (code, "precision" in stderr) == (2, True), stderr


def test_the_default_precision_is_not_shown(compare):
    assert "precision" not in compare(records=[record(), record(id="11111111", precision="float32")])[1]


def test_a_latex_row_that_starts_with_a_bracket_or_star_is_not_an_argument_of_the_line_before():
    text = as_text(["[a]", "b"], [["[x]", "[y]"], ["* z", "1"], [Best("[w]"), "2"]], [], "latex")
    rows = [line.split("&")[0].strip() for line in text.splitlines() if "&" in line]
    assert rows == ["{[}a]", "{[}x]", "{*} z", r"\textbf{[w]}"]
    assert "& [y]" in text


def test_in_a_long_table_the_interval_over_seeds_is_not_shown_and_no_file_is_read(compare, monkeypatch):
    monkeypatch.setattr("metarun.reporting.tables.rows.LONG", 3)
    monkeypatch.setattr("metarun.reporting.tables.pivot.by_task", None)
    seeds = [
        record(id=f"0000000{i}", seed=i, seedless_id="a", accuracy=0.8 + i / 100, stream_hash="s") for i in range(4)
    ]
    out = " ".join(compare(records=seeds).out.split())
    assert "81.50 (sd 1.29, 4 seeds)" in out
    assert "their ± is not shown in tables of more than 3 runs: select fewer" in out
