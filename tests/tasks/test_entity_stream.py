"""Tasks of one entity each: which rows they are made of, drawn or in the order of time."""

import numpy as np
import pytest
import torch

from metarun.data import SPLITS, ClassDataset, EntityDataset, Examples
from metarun.data.files.cache import apply_storage
from metarun.data.tables.entities import row_dtype
from metarun.errors import UserError
from metarun.tasks import TaskShape
from metarun.tasks.entity_stream import EntityTaskStream
from metarun.tasks.source import task_source
from metarun.tasks.validation import check_tasks

CPU = torch.device("cpu")
SHAPE = TaskShape(1, 3, 4)


def make_data(in_order: bool = False, entities: int = 5, least: int = 8) -> EntityDataset:
    """Entities of several sizes; inputs are the entity's number and the row's, targets their sum and difference."""

    def rows_of(e: int) -> np.ndarray:
        rows = np.zeros(least + e, row_dtype(2, 2))
        number = np.arange(len(rows))
        rows["x"] = np.stack([np.full(len(rows), e), number], 1)
        rows["y"] = np.stack([e + number, e - number], 1)
        return rows

    splits = {split: Examples.from_classes({f"{split} {e}": rows_of(e) for e in range(entities)}) for split in SPLITS}
    return EntityDataset(ClassDataset("visits", splits), in_order)


def stream(shape: TaskShape = SHAPE, seed: int = 0, disjoint: bool = False, **data) -> EntityTaskStream:
    return task_source(make_data(**data)).stream("test", shape, seed, CPU, torch.float64, disjoint)


@pytest.mark.parametrize("in_order", [False, True])
def test_a_task_is_of_one_entity_and_its_queries_are_other_rows(in_order):
    tasks = stream(in_order=in_order).draw(0, 200)
    assert tasks.support_x.shape == (200, 3, 2)
    assert tasks.query_y.shape == (200, 4, 2)
    both = torch.cat([tasks.support_x, tasks.query_x], 1)
    assert (both[..., 0] == both[:, :1, 0]).all()
    assert (both[..., 1].sort(1).values.diff(dim=1) > 0).all(), "no row twice"
    assert set(both[:, 0, 0].tolist()) == set(range(5)), "every entity's turn comes"
    assert torch.equal(tasks.query_y[..., 0], tasks.query_x.sum(-1))
    assert torch.equal(tasks.query_y[..., 1], tasks.query_x[..., 0] - tasks.query_x[..., 1])
    assert tasks.regression


def test_in_order_the_support_set_is_the_first_rows_and_queries_are_later_ones():
    tasks = stream(in_order=True).draw(0, 100)
    assert (tasks.support_x[..., 1] == torch.arange(3)).all()
    assert (tasks.query_x[..., 1] >= 3).all()
    last = tasks.query_x[..., 1].amax() + 1
    assert last == 8 + 4, "up to the last row of the largest entity"


@pytest.mark.parametrize("in_order", [False, True])
def test_tasks_are_a_pure_function_of_seed_and_number(in_order):
    whole, parts = stream(in_order=in_order).draw(0, 10), stream(in_order=in_order)
    assert torch.equal(whole.query_x, torch.cat([parts.draw(0, 7).query_x, parts.draw(7, 3).query_x]))
    assert stream(in_order=in_order).hash(10) == parts.hash(10)
    assert stream(in_order=in_order, seed=1).hash(10) != parts.hash(10)
    assert not torch.equal(stream(in_order=in_order, seed=1).draw(0, 10).query_x, whole.query_x)


def test_disjoint_tasks_share_no_row_and_in_order_are_one_an_entity():
    drawn = stream(disjoint=True)
    assert drawn.available == sum((8 + e) // 7 for e in range(5))
    support, query = drawn.rows(0, drawn.available)
    assert len(torch.cat([support, query], 1).unique()) == drawn.available * 7
    in_order = stream(in_order=True, disjoint=True)
    assert in_order.available == 5
    assert sorted(in_order.draw(0, 5).support_x[:, 0, 0].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("root")
def test_rows_that_stay_on_disk_are_the_same():
    data = make_data()
    on_disk = EntityDataset(apply_storage(data.rows, "disk"))
    assert on_disk.rows.splits["test"].on_disk
    one, other = (task_source(each).stream("test", SHAPE, 0, CPU, torch.float64) for each in (data, on_disk))
    assert torch.equal(one.draw(0, 5).query_x, other.draw(0, 5).query_x)
    assert one.hash(5) == other.hash(5)


def test_a_task_with_a_row_twice_is_refused(monkeypatch):
    made = stream()
    check_tasks(made, 20)
    rows = made.rows(0, 20)
    monkeypatch.setattr(made, "rows", lambda *_: (rows[0], torch.cat([rows[0][:, :1], rows[1][:, 1:]], 1)))
    with pytest.raises(UserError, match="task 0 contains a row twice, such as in its support and its query set"):
        check_tasks(made, 20)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            TaskShape(1, 5, 4),
            r"shot \+ query = 5 \+ 4 but entity 'test 0' in split 'test' of visits has 8 rows; lower `shot` \(5\) or "
            r"`query` \(4\), or skip such entities by `data.min_rows=9`",
        ),
        (TaskShape(5, 1, 1), r"way=5 but a task of visits is one entity; set `way=1`"),
    ],
)
def test_a_task_that_cannot_be_is_one_sentence(shape, sentence):
    with pytest.raises(UserError, match=sentence):
        stream(shape)


def test_open_intervals_need_two_tasks():
    with pytest.raises(UserError, match=r"room for 1 task of 1w3s with 4 queries if no two tasks share a row; lower"):
        stream(disjoint=True, entities=1)
