"""`metarun plot`: the contents and notes of figures, and that the same runs give the same bytes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from metarun.reporting.plots.from_records import curve_of
from metarun.reporting.significance import one_over_seeds
from metarun.results.example_tasks import ExampleTask, save
from metarun.results.plane_paths import PlanePaths
from metarun.results.plane_paths import save as save_paths
from metarun.results.statistics import mean_and_ci95
from metarun.system.atomic_write import write_json, write_parquet
from tests.cli.test_compare import record
from tests.support.markers import few_of

TASKS = 30


def made(run_id: str, **changes) -> dict:
    return record(id=run_id, **{"test_tasks": TASKS, "test_seed": 0, "steps": 3, **changes})


def accuracies(run: dict) -> np.ndarray:
    """(steps + 1, tasks), rising from chance."""
    random = np.random.default_rng(int(run["id"], 16))
    rising = np.linspace(0.2, run.get("accuracy", 0.9), run["steps"] + 1)
    return np.clip(rising[:, None] + random.normal(0, 0.02, (run["steps"] + 1, TASKS)), 0, 1)


@pytest.fixture
def draw(metarun, monkeypatch):
    """Write runs and run `metarun plot` on them; return its exit code, stdout, stderr and the figure."""
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *to, **how: (drawn.append(figure), save(figure, *to, **how)))

    def run(*words, runs=()):
        for each in runs:
            folder = Path("results/runs") / each["id"]
            folder.mkdir(parents=True)
            if "config" in each:
                (folder / "config.yaml").write_text(json.dumps(each.pop("config")))
            write_json(folder / "result.json", each)
            values = accuracies(each)
            step, task = (index.ravel() for index in np.indices(values.shape))
            columns = {"task": task, "step": step, "accuracy": values.ravel(), "loss": 3 * values.ravel()}
            write_parquet(folder / "tasks.parquet", columns)
        return *metarun("plot", *words), drawn[-1] if drawn else None

    return run


def pixels_across(path: Path | str) -> int:
    with Image.open(path) as image:
        return image.width


def two_methods() -> list[dict]:
    return [
        made("0000000a"),
        made("0000000b", algo="protonet", accuracy=0.95, transductive=False, order=None, norm="running", steps=0),
    ]


def texts(figure: Figure) -> str:
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    titles = [axes.get_title() for axes in figure.axes]
    cells = [text.get_text() for axes in figure.axes for text in axes.texts]
    return "\n".join([*legends, *titles, *cells, *(text.get_text() for text in figure.texts)])


def test_a_curve_is_the_mean_over_tasks_with_its_interval(draw):
    runs = two_methods()
    code, printed, stderr, figure = draw("curve", runs=runs)
    assert (code, printed, stderr) == (0, "→ curve.png\n", "")
    (axes,) = figure.axes
    lines = {text.get_text(): line for text, line in zip(figure.legends[0].get_texts(), axes.lines[::-1], strict=True)}
    assert list(lines) == ["protonet", "maml †"]
    expected = [mean_and_ci95(100 * values) for values in accuracies(runs[0])]
    adapted = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    np.testing.assert_allclose(adapted.get_ydata(), [mean for mean, _ in expected])
    np.testing.assert_array_equal(adapted.get_xdata(), range(4))
    band = max(axes.collections, key=lambda collection: len(collection.get_paths()[0].vertices))
    edges = band.get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose(edges.max(), max(mean + half for mean, half in expected))
    level = next(line for line in axes.lines if len(line.get_xdata()) == 2)
    assert level.get_ydata()[0] == level.get_ydata()[1] == pytest.approx(100 * accuracies(runs[1]).mean())
    assert "95 % intervals over 30 meta-test tasks (Student t)" in texts(figure)
    assert "† transductive: predictions depend on the other queries." in texts(figure).replace("\n", " ")


def test_against_milliseconds_the_last_step_is_at_the_time_of_the_whole_adaptation(draw):
    runs = two_methods()
    runs[1]["adapt_ms"] = 4.0
    _, _, _, figure = draw("curve", "--against", "milliseconds", runs=runs)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "milliseconds per task, on cpu"
    points = sorted((list(line.get_xdata()) for line in axes.lines if line.get_marker() != "None"), key=len)
    assert [4.0] in points
    assert points[-1] == [0.0, 4.0, 8.0, 12.0]


def test_regression_is_drawn_as_squared_error(draw):
    runs = [made("0000000a", mse=2.7), made("0000000b", mse=2.6, algo="reptile")]
    for run in runs:
        del run["accuracy"]
    _, _, _, figure = draw("curve", runs=runs)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "mse"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 3 * accuracies({**runs[1]}).mean(1))
    _, _, _, figure = draw("heatmap")
    assert "2.700 †" in texts(figure)


@pytest.mark.cross
@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
@pytest.mark.parametrize("kind", ["curve", "heatmap"])
def test_the_same_runs_give_the_same_bytes_whatever_the_users_style(draw, monkeypatch, kind, form):
    draw(kind, "-o", f"one.{form}", runs=two_methods())
    with monkeypatch.context() as patch:
        patch.setitem(rcParams, "font.size", 30)
        patch.setenv("SOURCE_DATE_EPOCH", "1")
        assert draw(kind, "-o", f"two.{form}")[0] == 0
    assert Path(f"one.{form}").read_bytes() == Path(f"two.{form}").read_bytes()


def test_vector_graphics_keep_text_as_text(draw):
    draw("heatmap", "-o", "figures/sizes.svg", runs=two_methods())
    svg = Path("figures/sizes.svg").read_text()
    assert re.search(r"<text [^>]*>maml</text>", svg)
    assert "<dc:date>" not in svg
    draw("curve", "-o", "curve.pdf")
    pdf = Path("curve.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf


def test_the_width_is_a_paper_column_or_as_given(draw):
    draw("curve", runs=two_methods())
    assert pixels_across("curve.png") == 990  # 3.3 inches, 300 dots each
    draw("curve", "--width", "5", "-o", "wide.png")
    assert pixels_across("wide.png") == 1500


LONG = ("mse", [0.0025, 0.01, 0.003, 0.0131])  # numbers next to the colour bar


@pytest.mark.parametrize(("key", "values"), few_of([("accuracy", [0.9] * 4), LONG], LONG))
def test_every_label_stays_inside_the_figure(draw, key, values):
    changes = [{"backbone": backbone, "algo": algo} for backbone in ("conv4", "resnet12") for algo in ("maml", "anil")]
    runs = [
        made(f"0000000{i}", data=f"a_data_set_of_a_long_name_{i % 3}", **each, **{key: values[i]})
        for i, each in enumerate(changes)
    ]
    if key == "mse":
        for run in runs:
            del run["accuracy"]
    for kind in ("curve", "heatmap", "pareto", "forest"):
        _, _, _, figure = draw(kind, runs=runs)
        runs = ()
        width, height = figure.get_size_inches() * figure.dpi
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        screen = canvas.get_renderer()
        boxes = [axes.get_tightbbox(screen) for axes in figure.axes]
        boxes += [part.get_window_extent(screen) for part in (*figure.legends, *figure.texts)]
        for box in boxes:
            assert box.x0 >= 0
            assert box.x1 <= width
            assert box.y0 >= 0
            assert box.y1 <= height
        for i, box in enumerate(boxes):  # nothing overlaps
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_lines_are_labelled_by_the_keys_in_which_they_differ(draw):
    runs = [made("0000000a", seed=0), made("0000000b", seed=1), made("0000000c", seed=0, test_shot=5)]
    _, _, _, figure = draw("curve", runs=runs)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "1-shot, seed 0 †",
        "1-shot, seed 1 †",
        "5-shot, seed 0 †",
    ]


def test_a_heatmap_has_one_panel_per_method_and_one_colour_scale(draw):
    sizes = [(5, 1), (5, 5), (20, 1)]
    runs = [
        made(f"0000{way:02d}{shot}{i}", algo=algo, test_way=way, test_shot=shot, accuracy=0.5 + shot / 20 + i / 10)
        for i, algo in enumerate(("maml", "protonet"))
        for way, shot in sizes
    ]
    code, printed, _, figure = draw("heatmap", "--width", "6.8", runs=runs)
    assert (code, printed) == (0, "→ heatmap.png\n")
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == ["maml", "protonet"]
    assert [text.get_text() for text in panels[0].texts] == [
        "55.00 † ↓\n± 0.40",
        "75.00 †\n± 0.40",
        "55.00 † ↓\n± 0.40",
        "–",
    ]
    assert bar.get_ylabel() == "accuracy %"
    colours = {axes.get_title(): [to_hex(patch.get_facecolor()) for patch in axes.patches] for axes in panels}
    assert colours["maml"][0] != colours["protonet"][0]
    assert colours["maml"][0] == colours["maml"][2]
    strongest, blue = (np.array(to_rgb(each)) for each in (colours["protonet"][1], "#0072b2"))
    assert np.allclose(strongest, 1 - 0.95 * (1 - blue), atol=1 / 255), "the blue of the report"
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["5", "20"]


def test_seeds_are_averaged_with_a_note(draw):
    runs = [
        made("0000000a", seed=0, accuracy=0.9),
        made("0000000b", seed=1, accuracy=0.8),
        made("0000000c", test_shot=5),
    ]
    _, _, _, figure = draw("heatmap", runs=runs)
    assert [text.get_text() for text in figure.axes[0].texts] == ["85.00 †\nsd 7.07", "90.00 †\n± 0.40"]
    assert "Mean over 2 seeds; sd: the standard deviation" in texts(figure).replace("\n", " ")


def test_settings_of_the_config_distinguish_runs(draw):
    runs = [made(f"0000000{i}", seed=i % 2, config={"algo": {"inner_lr": 0.1 * (1 + i // 2)}}) for i in range(4)]
    _, _, _, figure = draw("heatmap", runs=runs)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["maml, algo.inner_lr=\n0.1", "maml, algo.inner_lr=\n0.2"]
    assert "Mean over 2 seeds; sd:" in texts(figure)
    stepless = made("0000000f", algo="protonet", steps=0, config={"algo": {"distance": ["a", "list"]}})
    _, _, _, figure = draw("curve", runs=[stepless])
    assert "maml, seed 1, algo.inner_lr=0.2 †" in texts(figure)
    assert "protonet, seed 0 †" in texts(figure)


def test_a_long_setting_is_wrapped_after_its_key(draw):
    settings = ["squared_euclidean", "cosine"]
    runs = [made(f"0000000{i}", config={"algo": {"distance": each}}) for i, each in enumerate(settings)]
    _, _, _, figure = draw("heatmap", runs=runs)
    assert "maml, algo.distance=\nsquared_euclidean" in texts(figure)


def test_indistinguishable_runs_are_labelled_by_id(draw):
    _, _, _, figure = draw("curve", runs=[made("0000000a"), made("0000000b")])
    assert "0000000b †" in texts(figure)
    _, _, _, figure = draw("heatmap")
    assert "maml, 0000000b" in texts(figure)


def test_a_run_with_unreadable_tasks_is_skipped_with_the_reason(draw):
    draw("heatmap", runs=two_methods())
    Path("results/runs/0000000b/tasks.parquet").write_bytes(b"no parquet")
    code, _, stderr, figure = draw("curve")
    assert code == 0
    assert "skipped: results/runs/0000000b/tasks.parquet cannot be read" in stderr
    assert len(figure.axes[0].lines) == 1


@pytest.mark.parametrize(
    ("words", "runs", "sentence"),
    [
        (["curve"], [], "results does not exist"),
        (
            ["curve"],
            two_methods()[1:],
            "none of these runs adapts in steps, so there is no curve; use `metarun plot heatmap`",
        ),
        (
            ["heatmap"],
            [made("0000000a"), made("0000000b", mse=2.0)],
            "these runs mix accuracy and squared error; select runs with the same metric.",
        ),
        (["curve", "-o", "curve.gif"], two_methods(), "-o curve.gif: unknown format; the suffix must be one of png,"),
        (
            ["curve", "-o", "results/runs/0000000a/result.json/x.png"],
            two_methods(),
            "x.png cannot be written (File exists); choose another file",
        ),
        (
            ["ranks"],
            two_methods(),
            "ranks need at least 2 methods that were tested in each of at least 2 settings",
        ),
        (["pareto", "--cost", "parameters"], two_methods(), "none of these runs has parameters; choose another --cost"),
        (["forest", "--width", "1.5"], two_methods(), "--width 1.5 is too narrow for these labels; use at least 2."),
        (
            ["heatmap", "--width", "2"],
            [made(f"{shot:08x}", test_shot=shot) for shot in range(1, 6)],
            "--width 2 is too narrow for 5 shots; use at least 3.3 inches.",
        ),
        (["curve", "--width", "0"], two_methods(), "argument --width: '0' is not a number of inches from 1.5 to 40"),
        (["curve", "--width", "wide"], two_methods(), "argument --width: 'wide' is not a number of inches"),
        (
            ["heatmpa"],
            two_methods(),
            "invalid choice: 'heatmpa' (choose from 'curve', 'heatmap', 'forest', 'pareto', 'ranks', 'tasks').",
        ),
        ([], two_methods(), "metarun plot: the following arguments are required: curve | heatmap | forest | "),
    ],
)
def test_an_error_is_one_sentence(draw, words, runs, sentence):
    code, _, stderr, _ = draw(*words, runs=runs)
    assert code == 2
    assert sentence in stderr
    assert stderr.count("\n") == 1


def seeds_of_two_methods(shots=(1, 5)) -> list[dict]:
    """Two seeds of MAML and of ProtoNet for each shot."""
    methods = {"maml": {}, "protonet": {"transductive": False, "order": None, "norm": "running", "steps": 0}}
    return [
        made(
            f"{shot}{i}{seed}",
            **{"algo": algo, "seed": seed, "test_shot": shot, "accuracy": 0.5 + 0.2 * i + 0.02 * seed, **changes},
            **{"seedless_id": f"{algo}{shot}", "stream_hash": str(shot), "parameters": 100 + i, "train_seconds": 9 - i},
        )
        for shot in shots
        for i, (algo, changes) in enumerate(methods.items())
        for seed in (0, 1)
    ]


def test_seeds_of_which_other_tasks_diverged_have_no_band():
    runs = [made(f"0000000{seed}", mse=0.5, diverged=1, stream_hash="same", seed=seed) for seed in range(2)]
    values = np.random.default_rng(0).normal(0.5, 0.1, (2, 4, TASKS - 1))  # each lost one task, not the same
    drawn = curve_of(list(zip(runs, values, strict=True)), "maml", in_steps=True)
    assert drawn.mean == pytest.approx(values.mean((0, 2)))
    assert drawn.half is None


def test_curves_are_means_over_seeds_and_at_most_eight(draw):
    runs = seeds_of_two_methods((1,))
    _, _, _, figure = draw("curve", runs=[*map(dict, runs)])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["protonet", "maml †"]
    adapted = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 4)
    expected = np.mean([accuracies(run) for run in runs[:2]], axis=0)
    np.testing.assert_allclose(adapted.get_ydata(), 100 * expected.mean(1))
    assert "Mean over 2 seeds." in texts(figure)
    _, _, _, figure = draw("curve", runs=[made(f"f{i}", test_shot=2 + i) for i in range(9)])
    assert len(figure.axes[0].lines) == 8
    assert "The best 8 of 11 configurations." in texts(figure)


def test_a_forest_is_sorted_and_has_both_intervals(draw):
    runs = seeds_of_two_methods()
    _, printed, stderr, figure = draw("forest", runs=[*map(dict, runs)])
    assert (printed, stderr) == ("→ forest.png\n", "")
    one_shot = figure.axes[0]
    assert [label.get_text() for label in one_shot.get_yticklabels()] == ["protonet", "maml\N{NO-BREAK SPACE}†"]
    values = np.stack([accuracies(run)[-1] for run in runs[2:4]])
    thin, thick, dot = one_shot.lines[:3]
    tasks, trainings = one_over_seeds(values)
    assert tasks < trainings
    for line, half in ((thick, tasks), (thin, trainings)):
        np.testing.assert_allclose(line.get_xdata(), [71 - 100 * half, 71 + 100 * half])
    np.testing.assert_allclose(dot.get_xdata(), [71])
    assert "n = 2" in texts(figure)


def test_pareto_joins_what_nothing_dominates(draw):
    _, _, _, figure = draw("pareto", runs=seeds_of_two_methods((1,)))
    front = figure.axes[0].lines[0]
    assert (list(front.get_xdata()), list(front.get_ydata())) == ([8], [pytest.approx(71)])
    _, _, _, figure = draw("pareto", "--cost", "parameters")
    front = figure.axes[0].lines[0]
    assert list(front.get_xdata()) == [100, 101]
    assert figure.axes[0].get_xlabel() == "learned parameters"


def test_ranks_are_averages_over_settings(draw):
    code, _, stderr, figure = draw("ranks", runs=seeds_of_two_methods((1, 5, 10)))
    assert code == 0, stderr
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["protonet", "maml"]
    assert "1.00, wins 100 %" in texts(figure)
    assert "3 settings; Friedman test: p = 0.083." in texts(figure)


def test_the_default_width_grows_with_the_number_of_shots(draw):
    runs = [made(f"{shot:08x}", test_shot=shot) for shot in range(1, 9)]
    assert draw("heatmap", runs=runs)[0] == 0
    assert pixels_across("heatmap.png") > 990


def example(regression: bool) -> ExampleTask:
    if regression:
        x, y = np.linspace(-1, 1, 6, dtype=np.float32)[:, None], np.linspace(0, 5, 6, dtype=np.float32)[:, None]
        return ExampleTask(x, y, x, y, y + 1, np.zeros(0, np.float32))
    pictures = np.zeros((4, 1, 7, 7), np.uint8)
    labels = np.array([0, 0, 1, 1], np.int16)
    predicted = np.array([0, 1, 1, 1], np.int16)
    confidence = np.array([0.9, 0.51, 1, 0.2], np.float32)
    return ExampleTask(pictures[::2], labels[::2], pictures, labels, predicted, confidence)


def test_the_tasks_of_a_failed_run_are_not_drawn(draw):
    draw("tasks", "results/runs/0000000a", runs=[made("0000000a", config={})])
    write_json(Path("results/runs/0000000a/result.json"), {"status": "failed", "id": "0000000a", "reason": "diverged."})
    code, _, stderr, _ = draw("tasks", "results/runs/0000000a")
    assert (code, "results/runs/0000000a is not finished; finish the run" in stderr) == (2, True), stderr


@pytest.mark.parametrize("regression", [False, True])
def test_tasks_are_drawn_with_the_predictions_of_their_queries(draw, regression):
    run = made("0000000a", **({"mse": 1.0, "mse_ci95": 0.1} if regression else {}), config={})
    code, _, stderr, _ = draw("tasks", "results/runs/0000000a", runs=[run])
    assert (code, "results/runs/0000000a has no examples.npz" in stderr) == (2, True), stderr
    save(Path("results/runs/0000000a/examples.npz"), [example(regression)] * 2)
    code, printed, stderr, figure = draw("tasks", "results/runs/0000000a", "-o", "tasks.svg")
    assert (code, printed, stderr) == (0, "→ tasks.svg\n", "")
    if regression:
        assert len(figure.axes) == 2
        _, predicted, _ = figure.axes[0].lines
        assert predicted.get_ydata().tolist() == [1, 2, 3, 4, 5, 6]
    else:
        (axes,) = figure.axes
        assert len(axes.images) == 2 * (2 + 4)
        written = [text.get_text() for text in axes.texts]
        assert written[: len(written) // 2] == ["support", "queries", "A", "✓ 90", "✗ B 51", "B", "✓ 100", "✓ 20"]
    setting = "1 support point" if regression else "5-way 1-shot"
    assert f"maml on glyphs, {setting}: the first meta-test tasks" in texts(figure)


def test_trajectories_are_drawn_with_a_panel_for_each_policy(draw):
    positions = np.zeros((3, 5, 10, 2), np.float32)
    positions[:, :, 4:] = np.nan  # after the end
    positions[2] += 1000  # a policy that went astray, which is cut off
    run = made("0000000a", **{"return": -5.0, "return_ci95": 0.1}, config={})
    assert draw("tasks", "results/runs/0000000a", runs=[run])[0] == 2
    save_paths(Path("results/runs/0000000a/paths.npz"), [PlanePaths(np.array([0.3, -0.2], np.float32), positions)] * 2)
    code, _, stderr, figure = draw("tasks", "results/runs/0000000a")
    assert (code, stderr) == (0, "")
    assert [axes.get_title("left") for axes in figure.axes] == ["before", "after 1 step", "after 2 steps", "", "", ""]
    assert figure.axes[0].get_xlim() == pytest.approx((-1.08, 1.08))
    assert "the goal, which the policy does not see" in texts(figure)
