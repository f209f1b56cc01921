"""`metarun compare --against RUN`: paired tests of all other runs, and methods, against one run on the same tasks."""

import json
from collections.abc import Sequence
from itertools import compress
from operator import not_
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError, counted
from metarun.reporting.significance import (
    RESAMPLES,
    Paired,
    Verdict,
    comparisons_each,
    holm,
    paired,
    roughly,
    verdict,
)
from metarun.reporting.tables.flags import FLAGS, TRANSDUCTIVE, by_task, same_tasks, without_figures
from metarun.reporting.tables.paired_over_seeds import MethodComparison, methods_over_seeds
from metarun.reporting.tables.render import (
    as_csv,
    console_of_any_width,
    p_text,
    print_skipped,
    print_table,
    table_width,
)
from metarun.reporting.tables.run_labels import run_names
from metarun.results.metrics import figure, metric_of
from metarun.results.records import Record, excludes_diverged
from metarun.results.set_rows import is_set_row, run_id_of, set_count
from metarun.results.settings import WORDS, short_setting

NAMED = 8  # skipped runs that are listed; the others are only counted
HEAD = ["run", "result", "difference", "p", "verdict", "id"]


def print_against(records: list[Record], run: str, form: str) -> None:
    """Print the paired comparison of one run with every other run that was tested on the same tasks.

    Methods are compared too if several seeds of that run's method and of others are available.

    Raises:
        UserError: the run does not exist, or no other run is comparable.
    """
    base, comparable = _on_the_same_tasks(records, run)
    values = {record["id"]: _values(record) for record in [base, *comparable]}
    found = [paired(values[record["id"]], values[base["id"]]) for record in comparable]
    p_values = [each.p for each in found]
    rows = list(zip(comparable, found, holm(p_values), comparisons_each(p_values), strict=True))
    methods = methods_over_seeds(base, comparable, values)
    if form in ("json", "csv"):
        plain = [_plain(base, *row) for row in rows] + methods.plain()
        print(json.dumps(plain, indent=2) if form == "json" else as_csv(plain), end="")
        return
    names = run_names([base, *comparable])
    first = [*_name_and_result(base, names[0]), "–", "–", "baseline", base["id"]]
    body = [first, *(_row(name, *row) for row, name in zip(rows, names[1:], strict=True))]
    if methods.rows:
        print_table(*methods.table(), form)
    notes = _notes(base, comparable, methods)
    head, width = HEAD, console_of_any_width().width
    if form == "table" and table_width(dict(zip(head, zip(*body, strict=True), strict=True))) > width:
        head, body = HEAD[:-1], [row[:-1] for row in body]  # without ids the verdict needs two lines at most
        notes.append("Hidden column: id; widen the terminal, or use --format csv.")
    print_table(head, body, notes, form)


def compare_runs(one: Record, other: Record) -> Paired:
    """Compare two runs that were tested on the same tasks: `one` minus `other`.

    Raises:
        UserError: they were tested on different tasks or on a single one, or some tasks diverged.
    """
    if same_tasks([one, other]) is None:
        raise UserError(
            f"{one['id']} and {other['id']} were not tested on the same tasks",
            f"test one on those of the other: {_retest_command(run_id_of(one), other)}.",
        )
    return paired(_values(one), _values(other))


def _on_the_same_tasks(records: list[Record], run: str) -> tuple[Record, list[Record]]:
    """Return the given run and the runs comparable with it; print which runs are skipped and how to compare them."""
    base = _find(records, run)
    if excludes_diverged(base):
        raise UserError(f"--against {run}: {without_figures(base)}", "choose a run without diverged tasks.")
    others = [record for record in _without_copies(records) if record["id"] != base["id"]]
    for record in filter(excludes_diverged, others):
        print_skipped(without_figures(record))
    others = [record for record in others if not excludes_diverged(record)]
    same = [record.get("stream_hash") == base.get("stream_hash") for record in others]
    comparable = list(compress(others, same))
    others = list(compress(others, map(not_, same)))
    shown = {run_id_of(record) for record in (base, *comparable)}
    others = [record for record in others if run_id_of(record) not in shown]
    elsewhere = [record for record in others if record["test_data"] != base["test_data"]]
    if elsewhere:
        on = ", ".join(sorted({record["test_data"] for record in elsewhere}))
        print_skipped(f"{counted(len(elsewhere), 'run')} tested on other data: {on}")
    others = [record for record in others if record["test_data"] == base["test_data"]]
    for record in others[:NAMED]:
        command = _retest_command(run_id_of(record), base)
        print_skipped(f"{record['id']} ({record['algo']}) was tested on other tasks; to compare it, run {command}")
    if len(others) > NAMED:
        print_skipped(f"{len(others) - NAMED:,} more runs that were tested on other tasks")
    if not comparable:
        raise UserError(
            f"no other run was tested on the tasks of {base['id']}",
            f"test one on them: {_retest_command('RUN', base)}.",
        )
    return base, comparable


def _without_copies(records: Sequence[Record]) -> list[Record]:
    """Return one record per id: a copy of a run in another folder is neither another run nor another seed."""
    return list({record["id"]: record for record in records}.values())


def _find(records: list[Record], run: str) -> Record:
    found = [record for record in records if record["id"].startswith(run) or Path(run) == Path(record["path"])]
    found = [record for record in found if not is_set_row(record)] or found  # RUN is its mean, RUN/SET one data set
    found = _without_copies(found)
    if len(found) == 1:
        return found[0]
    if found:
        ids = " or ".join(record["id"] for record in found)
        raise UserError(f"--against {run} is ambiguous: {ids}", "give more characters of the id.")
    ids = ", ".join(record["id"] for record in records[:8])
    raise UserError(f"--against {run}: no finished run has this id", f"some ids: {ids}.")


def _retest_command(run: str, base: Record) -> str:
    keys = {"task.way": "test_way", "task.shot": "test_shot", "task.query": "test_query", "test.tasks": "test_tasks"}
    asked = {**base, "test_tasks": base["test_tasks"] // set_count(base)}
    overrides = " ".join(f"{override}={asked[key]}" for override, key in keys.items())
    overrides += "".join(f" task.{key}={base[f'test_{key}']}" for key in WORDS if base.get(f"test_{key}"))
    if base.get("interval") == "open":
        overrides += " test.interval=open"
    return f"`metarun test run={run} data={base['test_data']} {overrides} test.seed={base.get('test_seed', 0)}`"


def _values(record: Record) -> NDArray[np.float64]:
    """(tasks,) the value of a run on each task after its last step."""
    values = by_task([record])
    if len(values) < 2:
        raise UserError(f"{record['id']} was tested on one task, but a paired test needs 2", "raise `test.tasks`.")
    return values


def _name_and_result(record: Record, name: str) -> list[str]:
    return [name + (f" {FLAGS['transductive'][0]}" if record["transductive"] else ""), figure(record)]


def _row(name: str, record: Record, found: Paired, corrected: float, comparisons: int) -> list[str]:
    metric = metric_of(record)
    difference = metric.difference_text(found.difference, found.half_width(comparisons))
    text = _verdict_text(found, verdict(metric.score(found.difference), corrected), found.tasks_to_tell(comparisons))
    return [*_name_and_result(record, name), difference, p_text(corrected), text, record["id"]]


def _verdict_text(found: Paired, verdict: Verdict, to_tell: int | None) -> str:
    if verdict != "cannot tell" or to_tell is None:
        return verdict
    return f"cannot tell; needs roughly {roughly(max(to_tell, found.tasks + 1)):,} tasks"


def _plain(base: Record, record: Record, found: Paired, corrected: float, comparisons: int) -> Record:
    return {
        "id": record["id"],
        "against": base["id"],
        "algo": record["algo"],
        "tasks": found.tasks,
        "difference": found.difference,
        "difference_ci95": found.ci95,
        "difference_ci_adjusted": found.half_width(comparisons),
        "p_t": found.p_t,
        "p_permutation": found.p_permutation,
        "p_holm": corrected,
        "verdict": verdict(metric_of(record).score(found.difference), corrected),
        "tasks_to_tell": found.tasks_to_tell(comparisons),
    }


def _notes(base: Record, others: Sequence[Record], methods: MethodComparison) -> list[str]:
    setting = f"{base['test_data']}, {short_setting(base)}, {base['test_query']} queries"
    several = "the table above compares methods" if methods.rows else "comparing methods takes several seeds of each"
    notes = [
        f"Difference: run minus {base['id']} on the same {base['test_tasks']:,} tasks ({setting}), ± its interval "
        "(Student t over the pairs); p: from the sign-flip permutation test, or from the t-test where p is below what "
        f"{RESAMPLES:,} resamples can show. Both are corrected for "
        f"{counted(len(others), 'comparison')} (Holm, 0.05). The verdict holds for new tasks from these classes "
        f"and for these trained models; {several}."
    ]
    if any(record["transductive"] for record in [base, *others]):
        notes.append(f"{TRANSDUCTIVE} Compare such runs only with each other.")
    return notes
