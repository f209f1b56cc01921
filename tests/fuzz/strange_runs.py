"""Strategies for the files of a finished run, with errors."""

import json
from contextlib import suppress
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from metarun.results.example_tasks import ExampleTask, save
from tests.fuzz.strange import FOREIGN, NUMBERS, TEXTS, VALUES, spoilt

TASKS, STEPS, QUERIES = 4, 2, 3
ROW: dict[str, Any] = {
    **{
        "id": "0123abcd",
        "status": "done",
        "algo": "maml",
        "data": "glyphs",
        "test_data": "glyphs",
        "backbone": "conv4",
    },
    **{
        "way": 5,
        "shot": 1,
        "query": QUERIES,
        "test_way": 5,
        "test_shot": 1,
        "test_query": QUERIES,
        "test_tasks": TASKS,
    },
    **{
        "seed": 0,
        "test_seed": 0,
        "norm": "batch",
        "order": 2,
        "steps": STEPS,
        "transductive": True,
        "interval": "closed",
    },
    **{"accuracy": 0.7, "accuracy_ci95": 0.1, "accuracy_by_step": [0.2, 0.6, 0.7], "loss_by_step": [1.6, 0.9, 0.8]},
    **{"chance": 0.2, "floor_accuracy": 0.5, "val_accuracy": 0.7, "adapt_ms": 3.5, "train_seconds": 60.0},
    **{
        "iterations": 100,
        "best_iteration": 50,
        "device": "cpu",
        "precision": "float32",
        "stream_hash": "a",
        "data_hash": "b",
    },
    **{"published": {"accuracy": 0.9, "ci95": None, "source": "a paper", "of": {"algo": "maml"}}, "commit": None},
}
REGRESSION = {
    **{key: value for key, value in ROW.items() if "accuracy" not in key and key not in ("loss_by_step", "published")},
    **{"mse": 0.4, "mse_ci95": 0.1, "mse_by_step": [2.0, 0.5, 0.4], "floor_mse": 3.0, "way": 1, "test_way": 1},
}


@st.composite
def strange_rows(draw: Any, *rows: dict[str, Any]) -> dict[str, Any]:
    """A record with some keys removed or changed."""
    row = dict(draw(st.sampled_from(rows)))
    for key in draw(st.lists(st.sampled_from([*sorted(row), "mse", "more", "path", "audit"]), max_size=2)):
        value = draw(st.one_of(NUMBERS, TEXTS, VALUES, st.just("gone")))
        row[key] = value
        if value == "gone":
            del row[key]
    return row


ROWS = strange_rows(ROW, {**ROW, "id": "89ef0000"}, REGRESSION).map(lambda row: json.dumps(row).encode())
RESULTS = st.one_of(ROWS, spoilt(st.just(json.dumps(ROW).encode())), FOREIGN)


@cache
def _columns() -> dict[str, Any]:
    values = np.linspace(0, 1, TASKS * (STEPS + 1))
    task, step = np.tile(np.arange(TASKS), STEPS + 1), np.repeat(np.arange(STEPS + 1), TASKS)
    return {"task": task, "step": step, "loss": 1 - values, "accuracy": values, "nll": 1 - values, "confidence": values}


@st.composite
def strange_tables(draw: Any) -> bytes:
    """A tasks.parquet with columns removed, shortened or changed."""
    columns = {name: list(values) for name, values in _columns().items()}
    for name in draw(st.lists(st.sampled_from(sorted(columns)), max_size=2)):
        values = columns[name]
        values[draw(st.integers(0, len(values) - 1))] = draw(
            st.sampled_from([-1, 0, 2.5, np.nan, np.inf, 1e308, 10**12])
        )
    frame = pd.DataFrame(columns)
    for name in draw(st.lists(st.sampled_from(sorted(columns)), max_size=1)):
        frame[name] = draw(st.sampled_from(["text", True, None, [[1]] * len(frame), pd.Timestamp(0)]))
    rows = draw(st.sampled_from([len(frame), len(frame), len(frame), 1, 0, len(frame) - 1]))
    stream = BytesIO()
    frame[:rows].drop(columns=draw(st.lists(st.sampled_from(sorted(columns)), max_size=1))).to_parquet(stream)
    return stream.getvalue()


@cache
def example_task(regression: bool) -> ExampleTask:
    random = np.random.default_rng(0)
    if regression:
        points = [random.normal(size=(5, 1)).astype(np.float32) for _ in range(5)]
        return ExampleTask(*points, confidence=np.zeros(0, np.float32))
    pictures = [random.integers(0, 256, (count, 1, 6, 6), np.uint8) for count in (5, 10)]
    labels = [np.arange(5, dtype=np.int16), np.repeat(np.arange(5, dtype=np.int16), 2)]
    return ExampleTask(
        pictures[0],
        labels[0],
        pictures[1],
        labels[1],
        predicted=labels[1][::-1],
        confidence=np.full(10, 0.5, np.float32),
    )


@cache
def named_task(regression: bool) -> ExampleTask:
    """One of rows of a table, or of entities."""
    if regression:
        names = np.array(["time", "motor"])
        return replace(example_task(regression), names=names)
    cells = [np.array([[f"{i}", "<b>"] for i in range(count)]) for count in (5, 10)]
    return replace(example_task(regression), support_x=cells[0], query_x=cells[1], names=np.array(["size", "colour"]))


@cache
def examples(regression: bool) -> bytes:
    path = Path("written.npz")
    save(path, [example_task(regression)])
    content = path.read_bytes()
    path.unlink()
    return content


@st.composite
def strange_examples(draw: Any) -> bytes:
    """An examples.npz with arrays of other types, shapes and values, or with a pickle."""
    task = draw(st.sampled_from([example_task, named_task]))(draw(st.booleans()))
    arrays = {f"{name}_0": array for name, array in vars(task).items()}
    for name in draw(st.lists(st.sampled_from(sorted(arrays)), max_size=2)):
        array = arrays[name]
        change = draw(
            st.sampled_from(
                [
                    *(
                        lambda a: a[:1],
                        lambda a: a[:0],
                        lambda a: a[None],
                        lambda a: a.T,
                        lambda a: a.astype(np.float64) * np.nan,
                    ),
                    *(
                        lambda a: a.astype(np.int64) - 2**62,
                        lambda a: a.astype(str),
                        lambda a: a.astype(object),
                        lambda a: -a,
                    ),
                    *(lambda a: np.zeros((2_000, *a.shape[1:]), a.dtype), lambda a: a.astype(np.float64) * 1e300),
                    *(lambda a: np.zeros((*a.shape[:1], 1, 1, 900), np.uint8), lambda a: np.zeros((), a.dtype)),
                    *(lambda a: np.full(a.shape, "\ud800"), lambda a: np.full(a.shape, "long" * 100)),
                    *(lambda a: np.zeros((*a.shape[:1], 0, 6, 6), np.uint8), lambda a: a.astype(complex)),
                ]
            )
        )
        # Some changes are not possible after an earlier one.
        with suppress(TypeError, IndexError, ValueError, OverflowError), np.errstate(all="ignore"):
            arrays[name] = change(array)
    stream = BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


CURVE = b"iteration,split,loss,accuracy,seconds\n" + b"".join(
    b"%d,%s,0.%d,0.%d,%d.5\n" % (i, split, 9 - i, i + 1, i) for i in range(4) for split in (b"train", b"val")
)
CURVES = st.one_of(
    st.just(CURVE),
    spoilt(st.just(CURVE)),
    st.builds(
        lambda value: CURVE.replace(b"0.5", str(value)[:50].encode("utf-8", "replace")), st.one_of(NUMBERS, TEXTS)
    ),
    FOREIGN,
)
CONFIG = b"algo:\n  inner_lr: 0.4\n  inner_steps: 5\ndata:\n  split: null\nseed: 0\ntrain:\n  meta_batch: 4\n"
CONFIGS = st.one_of(st.just(CONFIG), spoilt(st.just(CONFIG)), FOREIGN)


@st.composite
def strange_runs(draw: Any) -> dict[str, bytes]:
    """The files of a run, most of them valid."""
    regression = draw(st.booleans())
    return {
        "result.json": draw(st.one_of(st.just(json.dumps(REGRESSION if regression else ROW).encode()), RESULTS)),
        "tasks.parquet": draw(st.one_of(strange_tables(), spoilt(strange_tables()), st.binary(max_size=50))),
        "examples.npz": draw(st.one_of(st.just(examples(regression)), strange_examples(), spoilt(strange_examples()))),
        "curve.csv": draw(CURVES),
        "config.yaml": draw(CONFIGS),
        "environment.json": draw(FOREIGN),
    }
