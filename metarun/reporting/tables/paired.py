"""`metarun compare --against RUN`: which runs, and methods, are better than one of them, on the very same tasks."""

import json
from itertools import compress
from operator import not_
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.reporting.significance import Paired, Verdict, comparisons_each, holm, paired, verdict
from metarun.reporting.tables.flags import without_figures
from metarun.reporting.tables.paired_over_seeds import MethodComparison, methods_over_seeds
from metarun.reporting.tables.render import as_csv, counted, leave_out, p_text, print_table
from metarun.reporting.tables.run_labels import names
from metarun.results.metrics import figure, metric_of
from metarun.results.records import Record, excludes_diverged, figures_by_step

NAMED = 8  # runs that are left out; of more only the number is told
HEAD = ["run", "figure", "difference", "p", "p (flips)", "against it", "id"]


def print_against(records: list[Record], run: str, form: str) -> None:
    """Print the paired comparison of one run with every other that was judged on the same tasks.

    Where that run's method and others were trained with several seeds, the methods are compared too.

    Raises:
        UserError: there is no such run, or none to compare it with.
    """
    base, comparable = _on_the_same_tasks(records, run)
    by_task = {record["id"]: _by_task(record) for record in [base, *comparable]}
    found = [paired(by_task[record["id"]], by_task[base["id"]]) for record in comparable]
    p_values = [each.p_permutation for each in found]
    to_tell = [each.tasks_to_tell(count) for each, count in zip(found, comparisons_each(p_values), strict=True)]
    rows = list(zip(comparable, found, holm(p_values), to_tell, strict=True))
    methods = methods_over_seeds(base, comparable, by_task)
    if form in ("json", "csv"):
        plain = [_plain(base, *row) for row in rows] + methods.plain()
        print(json.dumps(plain, indent=2) if form == "json" else as_csv(plain), end="")
        return
    told = names([base, *comparable])
    first = [*_names(base, base, told[0]), *["–"] * 3, "compared with", base["id"]]
    body = [first, *(_row(base, name, *row) for row, name in zip(rows, told[1:], strict=True))]
    print_table(HEAD, body, _notes(base, len(rows), methods), form)
    if methods.rows:
        print_table(*methods.table(), form)


def _on_the_same_tasks(records: list[Record], run: str) -> tuple[Record, list[Record]]:
    """Return the run that is named, and the others that can be compared with it; say which cannot, and what to do."""
    base = _named(records, run)
    if excludes_diverged(base):
        raise UserError(f"--against {run}: {without_figures(base)}", "name a run that diverged on none.")
    others = [record for record in records if record["id"] != base["id"]]
    for record in filter(excludes_diverged, others):
        leave_out(without_figures(record))
    others = [record for record in others if not excludes_diverged(record)]
    same = [record.get("stream_hash") == base.get("stream_hash") for record in others]
    comparable = list(compress(others, same))
    others = list(compress(others, map(not_, same)))
    for record in others[:NAMED]:
        how = _how_to_retest(record["id"], base)
        leave_out(f"{record['id']} ({record['algo']}) was judged on other tasks; {how}")
    if len(others) > NAMED:
        leave_out(f"{len(others) - NAMED:,} more that were judged on other tasks")
    if not comparable:
        raise UserError(
            f"no other run was judged on the tasks of {base['id']}",
            f"judge one on them: {_how_to_retest('RUN', base)}.",
        )
    return base, comparable


def _named(records: list[Record], run: str) -> Record:
    found = [record for record in records if record["id"].startswith(run) or Path(run) == Path(record["path"])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"--against {run} could be {' or '.join(record['id'] for record in found)}", "give more of the id."
        )
    raise UserError(
        f"--against {run} is the start of no finished run's id", f"there are {', '.join(r['id'] for r in records[:8])}."
    )


def _how_to_retest(run: str, base: Record) -> str:
    words = {"task.way": "test_way", "task.shot": "test_shot", "task.query": "test_query", "test.tasks": "test_tasks"}
    asked = " ".join(f"{word}={base[key]}" for word, key in words.items())
    if base.get("interval") == "open":
        asked += " test.interval=open"
    return f"`metarun test run={run} data={base['test_data']} {asked} test.seed={base.get('test_seed', 0)}`"


def _by_task(record: Record) -> NDArray[np.float64]:
    """(tasks,) what each task says of a run after its last step."""
    values: NDArray[np.float64] = figures_by_step(record)[-1]
    if len(values) < 2:
        raise UserError(f"{record['id']} was judged on one task, and a paired test needs 2", "raise `test.tasks`.")
    return values


def _names(record: Record, base: Record, name: str) -> list[str]:
    return [name + (" †" if record["transductive"] != base["transductive"] else ""), figure(record)]


def _row(base: Record, name: str, record: Record, found: Paired, corrected: float, to_tell: int | None) -> list[str]:
    metric = metric_of(record)
    difference = metric.difference_text(found.difference, found.ci95)
    says = _words(found, verdict(metric.score(found.difference), corrected), to_tell)
    return [*_names(record, base, name), difference, p_text(found.p_t), p_text(corrected), says, record["id"]]


def _words(found: Paired, says: Verdict, to_tell: int | None) -> str:
    if says != "cannot tell" or to_tell is None:
        return says
    return f"cannot tell with {found.tasks:,} tasks; about {max(to_tell, found.tasks + 1):,} would"


def _plain(base: Record, record: Record, found: Paired, corrected: float, to_tell: int | None) -> Record:
    return {
        "id": record["id"],
        "against": base["id"],
        "algo": record["algo"],
        "tasks": found.tasks,
        "difference": found.difference,
        "difference_ci95": found.ci95,
        "p_t": found.p_t,
        "p_permutation": found.p_permutation,
        "p_holm": corrected,
        "verdict": verdict(metric_of(record).score(found.difference), corrected),
        "tasks_to_tell": to_tell,
    }


def _notes(base: Record, comparisons: int, methods: MethodComparison) -> list[str]:
    setting = f"{base['test_data']}, {base['test_way']}w{base['test_shot']}s, {base['test_query']} queries"
    several = "the table below compares methods" if methods.rows else "several seeds of each would compare methods"
    return [
        f"Differences: run minus {base['id']} on the same {base['test_tasks']:,} tasks ({setting}), ± their 95 % "
        "interval (Student t over the pairs); p: of the paired t-test.",
        f"p (flips): of the sign-flip permutation test, corrected for {counted(comparisons)} (Holm); below 0.05 the "
        f"verdict is better or worse, for other tasks from these classes and for these trained models: {several}.",
        "† one of the two sees the other queries (transductive) and the other does not: no fair comparison of methods.",
    ]
