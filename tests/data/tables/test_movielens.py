"""MovieLens: a film's mean by other users of meta-train, and copies that are not whole."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metarun.data import MovieLens
from metarun.data.contents import describe
from metarun.data.tables.movielens import FILM_MEAN, FILM_RATERS, _genres, _with_film_means
from metarun.errors import UserError

RATINGS = "userId,movieId,rating,timestamp\n1,7,4.0,9\n"
FILMS = "movieId,title,genres\n7,A film,Comedy|Drama\n"


def test_a_films_mean_is_that_of_other_users_of_meta_train():
    ratings = pd.DataFrame({"userId": [1, 2, 3, 1, 3], "movieId": [7, 7, 7, 8, 9], "rating": [4.0, 2.0, 5.0, 1.0, 3.0]})
    found = _with_film_means(ratings, ["1", "2"])
    overall = (4 + 2 + 1) / 3
    assert found[FILM_MEAN].tolist() == pytest.approx([2, 4, 3, overall, overall])  # user 3 is of meta-test
    assert np.expm1(found[FILM_RATERS]).tolist() == pytest.approx([1, 1, 2, 0, 0])


def test_a_genre_is_a_column():
    films = pd.DataFrame({"movieId": [7, 8, 9], "genres": ["Comedy|Drama", "(no genres listed)", "Drama"]})
    found = _genres(films)
    assert found[["Comedy", "Drama"]].to_numpy().tolist() == [[1, 1], [0, 0], [0, 1]]
    assert set(found.columns) == {"Comedy", "Drama", "movieId"}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"ratings.csv": RATINGS}, r"has no file movies.csv; complete your copy"),
        ({"ratings.csv": RATINGS.replace("rating,", "stars,"), "movies.csv": FILMS}, r"has no column 'rating'"),
        ({"ratings.csv": "", "movies.csv": FILMS}, r"ratings.csv of .* cannot be read"),
        ({"ratings.csv": RATINGS, "movies.csv": FILMS}, r"has 1 ratings of 1 users but 100,836 of 610 are expected"),
    ],
)
def test_a_copy_that_is_not_whole_is_one_sentence(root: Path, files, sentence):
    (root / "movielens").mkdir(parents=True)
    with zipfile.ZipFile(root / "movielens" / "ml-latest-small.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"ml-latest-small/{name}", content)
    with pytest.raises(UserError, match=sentence):
        MovieLens().load()


@pytest.mark.usefixtures("root")
def test_where_to_put_it_if_it_is_not_here():
    assert MovieLens().where() is None
    with pytest.raises(UserError, match=r"movielens was not found; put ml-latest-small.zip of grouplens"):
        MovieLens().load()


@pytest.mark.slow
def test_the_real_users(root, mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    data = MovieLens(order="timestamp").load()
    assert describe(data) == (
        "train 390 entities of 20 to 2,698 rows, val 98 of 20 to 879, test 122 of 20 to 2,478; 21 inputs, 1 target"
    )
    stars = data.rows.splits["train"].values["y"]
    assert (stars.min(), stars.max()) == (0.5, 5.0)
