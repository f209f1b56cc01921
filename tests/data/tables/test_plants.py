"""Leaves of one hundred species, from a small copy of the archive and from the real one."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metarun.data import SPLITS, Plants
from metarun.data.tables.plants import _TORCHMETA
from metarun.errors import UserError

SPECIES = sorted(name for names in json.loads(_TORCHMETA.read_text()).values() for name in names)


@pytest.fixture
def put(root: Path) -> Callable[..., Path]:
    """Write an archive with the shape of three leaves a species."""

    def write(species: list[str] = SPECIES, numbers: int = 64, name: str = "data_Sha_64.txt") -> Path:
        rng = np.random.default_rng(0)
        rows = [",".join([one, *map(str, rng.uniform(size=numbers).round(5))]) for one in species for _ in range(3)]
        path = root / "plants" / "one_hundred_plants.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"one_hundred_plants/{name}", "\n".join(rows))
        return path

    return write


def test_the_list_of_torchmeta_is_the_default(put):
    path = put()
    data = Plants().load()
    assert [len(data.splits[split].class_names) for split in SPLITS] == [70, 15, 15]
    assert data.splits["train"].values.mean(0) == pytest.approx(np.zeros(64), abs=1e-5)
    assert Plants().where() == str(path)
    assert Plants().check() == "train 70 classes of 3 examples, val 15 of 3, test 15 of 3; the cache matches"


def test_a_split_by_seed_or_by_a_file(put, tmp_path):
    put()
    assert [len(Plants(split="seed").load().splits[split].class_names) for split in SPLITS] == [64, 16, 20]
    (tmp_path / "split.json").write_text(json.dumps({"train": ["Acer"], "val": ["Tilia"], "test": ["Quercus"]}))
    data = Plants(split=str(tmp_path / "split.json")).load()
    assert all(name.startswith("Quercus") for name in data.splits["test"].class_names)
    assert data.skipped.unlisted[0].endswith("classes not in split.json")


@pytest.mark.parametrize(
    ("copy", "sentence"),
    [
        ({"species": SPECIES[:-1]}, r"has 99 species but 100 are expected; complete your copy"),
        ({"name": "data_Mar_64.txt"}, r"has no file data_Sha_64.txt; complete your copy"),
        ({"numbers": 63}, r"line 1 of data_Sha_64.txt of .* has no 64 numbers"),
        ({"species": ["Acer", "Acer,x"]}, r"data_Sha_64.txt of .* cannot be read"),
    ],
)
def test_a_copy_that_is_not_whole_is_one_sentence(put, copy, sentence):
    put(**copy)
    with pytest.raises(UserError, match=sentence):
        Plants().load()


@pytest.mark.usefixtures("root")
def test_where_to_put_an_archive_that_is_not_here():
    assert Plants().where() is None
    with pytest.raises(UserError, match=r"plants was not found; put one_hundred_plants.zip or .* into .*plants, or"):
        Plants().load()


@pytest.mark.slow
@pytest.mark.parametrize(("view", "smallest"), [("shape", 16), ("margin", 16), ("texture", 15)])
def test_the_real_leaves(root, mirror, monkeypatch, view, smallest):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    data = Plants(view=view).load()
    assert sum(len(data.splits[split].class_names) for split in SPLITS) == 100
    assert min(int(data.splits[split].sizes.min()) for split in SPLITS) == smallest
    assert "Quercus Suber" in data.splits["test"].class_names
