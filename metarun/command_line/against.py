"""`metarun compare --against RUN`: which runs are better than one of them, on the very same tasks."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.command_line.tables import as_csv, leave_out, print_table
from metarun.comparison import Paired, holm, paired, verdict
from metarun.display import figure
from metarun.errors import UserError
from metarun.results import Record, figures_by_step

HEAD = ["method", "data", "task", "figure", "difference", "p", "p (flips)", "against it", "id"]


def print_against(records: list[Record], run: str, form: str) -> None:
    """Print the paired comparison of one run with every other that was judged on the same tasks.

    Raises:
        UserError: there is no such run, or none to compare it with.
    """
    base = _named(records, run)
    others = [record for record in records if record["id"] != base["id"]]
    comparable = [record for record in others if record.get("stream_hash") == base.get("stream_hash")]
    for record in others:
        if record not in comparable:
            how = _how_to_retest(record["id"], base)
            leave_out(f"{record['id']} ({record['algo']}) was judged on other tasks; {how}")
    if not comparable:
        raise UserError(
            f"no other run was judged on the tasks of {base['id']}; judge one on them: {_how_to_retest('RUN', base)}."
        )
    theirs = _by_task(base)
    found = [paired(_by_task(record), theirs) for record in comparable]
    corrected = holm([each.p_permutation for each in found])
    rows = list(zip(comparable, found, corrected, strict=True))
    if form in ("json", "csv"):
        plain = [_plain(record, base, each, p) for record, each, p in rows]
        print(json.dumps(plain, indent=2) if form == "json" else as_csv(plain), end="")
        return
    told = [_row(base, None, 1.0, base), *(_row(*row, base) for row in rows)]
    print_table(HEAD, told, _notes(base, len(rows)), form)


def _named(records: list[Record], run: str) -> Record:
    found = [record for record in records if record["id"].startswith(run) or Path(run) == Path(record["path"])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"--against {run} could be {' or '.join(record['id'] for record in found)}; give more of the id."
        )
    raise UserError(
        f"--against {run} is the start of no finished run's id; there are {', '.join(r['id'] for r in records[:8])}."
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
        raise UserError(f"{record['id']} was judged on one task, and a paired test needs 2; raise `test.tasks`.")
    return values


def _row(record: Record, found: Paired | None, corrected: float, base: Record) -> list[str]:
    setting = f"{record['test_way']}w{record['test_shot']}s"
    mark = " †" if record["transductive"] != base["transductive"] else ""
    told = [record["algo"] + mark, record["test_data"], setting, figure(record)]
    if found is None:
        return [*told, "–", "–", "–", "compared with", record["id"]]
    scale, digits = (1, 4) if "mse" in record else (100, 2)
    difference = f"{scale * found.difference:+.{digits}f} ± {scale * found.ci95:.{digits}f}"
    return [*told, difference, _p(found.p_t), _p(corrected), _words(found, corrected, "mse" in record), record["id"]]


def _words(found: Paired, corrected: float, less_is_better: bool) -> str:
    says = verdict(found, corrected, less_is_better)
    if says != "cannot tell" or found.tasks_to_tell is None:
        return says
    return f"cannot tell with {found.tasks:,} tasks; about {max(found.tasks_to_tell, found.tasks + 1):,} would"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _plain(record: Record, base: Record, found: Paired, corrected: float) -> Record:
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
        "verdict": verdict(found, corrected, "mse" in record),
        "tasks_to_tell": found.tasks_to_tell,
    }


def _notes(base: Record, comparisons: int) -> list[str]:
    return [
        f"Differences: run minus {base['id']} on the same {base['test_tasks']:,} tasks, ± their 95 % interval (Student "
        "t over the pairs); p: of the paired t-test.",
        f"p (flips): of the sign-flip permutation test, corrected for {comparisons} comparisons (Holm); below 0.05 the "
        "verdict is better or worse, for other tasks from these classes and for these trained models.",
        "† one of the two sees the other queries (transductive) and the other does not: no fair comparison of methods.",
    ]
