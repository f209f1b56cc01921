"""The rows of a run that was tested on several data sets: the mean over them, and one row for each."""

from collections.abc import Iterable, Iterator

from metarun.results.records import Record

SETS = "sets"  # the key of a record with the figures of each data set


def with_set_rows(records: Iterable[Record]) -> list[Record]:
    """Return the records, each followed by a row for every data set that it was tested on, if there are several."""
    return [row for record in records for row in (record, *_rows(record))]


def _rows(record: Record) -> Iterator[Record]:
    """Yield the row of each data set, with the id "RUN/SET" and the place of its tasks in the run's files."""
    sets = record.get(SETS, {})
    for place, (name, figures) in enumerate(sets.items()):
        common = {key: value for key, value in record.items() if key != SETS}
        own = {"id": f"{record['id']}/{name}", "test_data": name, "set_place": [place, len(sets)]}
        yield {**common, **figures, **own}


def run_id_of(record: Record) -> str:
    """Return the id of the run that a row is of."""
    return str(record["id"]).partition("/")[0]


def is_set_row(record: Record) -> bool:
    """Whether a row is about one of the data sets that its run was tested on."""
    return "set_place" in record


def set_count(record: Record) -> int:
    """Return how many data sets the figures of a row are the mean of."""
    return len(record.get(SETS, "1"))
