import numpy as np
import pytest

from metarun.data import Examples
from metarun.data.clusters import cluster, partitions_of, principal_components
from metarun.errors import UserError

RANDOM = np.random.default_rng(0)
CENTRES = np.array([[0, 0, 9], [9, 0, 0], [0, 9, 0], [9, 9, 9]], np.float32)
TRUE = RANDOM.integers(0, 4, 120)
POINTS = CENTRES[TRUE] + RANDOM.normal(0, 0.1, (120, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))


def test_well_separated_clusters_are_found():
    found = partitions_of(POINTS, 4, 1)
    assert found.dtype == np.int32
    assert found.shape == (120, 1)
    assert len({*zip(TRUE.tolist(), found[:, 0].tolist(), strict=True)}) == 4, "one cluster for each centre"


def test_the_first_partition_is_of_the_features_and_others_are_of_scaled_ones():
    found = partitions_of(RANDOM.normal(size=(200, 8)), 10, 3)
    again = partitions_of(RANDOM.normal(size=(200, 8)), 10, 1)
    assert found.shape == (200, 3)
    assert not np.array_equal(found[:, 0], found[:, 1])
    assert again.shape == (200, 1)


def test_clusters_are_made_once():
    examples, made = Examples(POINTS, np.array([0, 120]), ("all",)), []

    def features():
        made.append(1)
        return POINTS

    one = cluster("points", "train", examples, features, "key", 4, 2)
    assert np.array_equal(one, cluster("points", "train", examples, features, "key", 4, 2))
    assert made == [1]
    cluster("points", "train", examples, features, "another key", 4, 2)
    assert made == [1, 1]


def test_principal_components_keep_distances():
    pictures = RANDOM.integers(0, 255, (50, 1, 4, 4)).astype(np.uint8)
    found = principal_components(Examples(pictures, np.array([0, 50]), ("all",)), "pictures")
    flat = pictures.reshape(50, -1).astype(np.float32)
    assert np.linalg.norm(found[0] - found[9]) == pytest.approx(np.linalg.norm(flat[0] - flat[9]), rel=1e-4)


def test_texts_have_no_principal_components():
    ids = Examples(np.zeros((4, 3), np.int32), np.array([0, 4]), ("all",))
    with pytest.raises(UserError, match="pixels clusters the numbers of examples, but those of data=t are x"):
        principal_components(ids, "t")


def test_equal_examples_do_not_warn():
    assert (partitions_of(np.zeros((20, 2)), 4, 1) == 0).all()
