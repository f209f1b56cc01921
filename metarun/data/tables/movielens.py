"""MovieLens: the cold start of a recommender, a few ratings of a new user."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

from metarun.data.class_splits import choose_splits
from metarun.data.examples import ClassDataset
from metarun.data.files.archive import open_files
from metarun.data.files.cache import Original, Storage
from metarun.data.files.dataset_cache import DatasetCache
from metarun.data.files.file_source import EntityFiles
from metarun.errors import UserError
from metarun.system.paths import PathText

VERSION = 1  # raise it with every change that can change a row or a user
FILM_MEAN, FILM_RATERS = "film_mean", "film_raters"
_ORIGINAL = Original(
    name="movielens",
    files=("ml-latest-small.zip", "movielens_small.zip", "ml-latest-small", "tabular/movielens_small.zip"),
    advice="ml-latest-small.zip of grouplens.org/datasets/movielens",
)
_USERS, _RATINGS, _LARGEST = 610, 100_836, 1 << 26


class MovieLens(EntityFiles):
    """A task is one of 610 users: the stars, 0.5 to 5, that they give to films, from a few of their ratings.

    MovieLens latest-small (September 2018). Harper and Konstan, "The MovieLens datasets: history and context", 2015.
    A row is a rating. Its inputs are the film's 19 genres, its mean rating by meta-train users (without this user's own
    in meta-train; the mean of all where nobody rated it) and the logarithm of one more than how many they are.
    Inputs are standardised by meta-train; ratings stay stars.

    Args:
        order: "timestamp": support sets are a user's first ratings; None: they are drawn.
        standardise: the inputs.
        split: a file of users (see `metarun.data.splits`); None: by `split_seed`.
        split_seed: 390 users meta-train, 98 meta-val, 122 meta-test.
        storage: "memory", or "disk": the rows stay in the cache.
    """

    name = "movielens"
    summary = "610 users and their 100,836 ratings of films: regression of stars, the cold start of a recommender"
    licence = "GroupLens: research, not commercial; cite Harper and Konstan 2015"
    original = _ORIGINAL

    def __init__(
        self,
        order: Literal["timestamp"] | None = None,
        standardise: bool = True,
        split: PathText | None = None,
        split_seed: int = 0,
        storage: Storage = "memory",
    ) -> None:
        self.order, self.standardise = order, standardise
        self.split, self.split_seed, self.storage = split, split_seed, storage

    def _cache(self, _: Path) -> DatasetCache:
        settings = f"{VERSION}|{self.order}|{self.standardise}|{self.split}|{self.split_seed}"
        return DatasetCache("tables", self.name, settings, self.storage)

    def _make(self, place: Path) -> ClassDataset:
        from metarun.data.tables.entity_rows import Columns, entity_dataset, entity_rows

        ratings, films = self._read(place)
        users = sorted(ratings["userId"].astype(str).unique())
        lists, skipped = choose_splits(self.name, users, self.split, self.split_seed, noun="user")
        table = _with_film_means(ratings, lists["train"]).merge(_genres(films), on="movieId", how="left")
        table = table.drop(columns=["movieId", *([] if self.order else ["timestamp"])])
        columns = Columns("userId", ("rating",), None, ("timestamp",) if self.order else (), self.order, None)
        found = entity_rows(table, place, columns, "error", True, None)
        return entity_dataset(self.name, found, lists, skipped, self.standardise, False, repeats=False)

    def _read(self, place: Path) -> "tuple[pd.DataFrame, pd.DataFrame]":
        import pandas as pd

        tables = []
        with open_files(place, _LARGEST) as (names, read):
            for wanted in ("ratings.csv", "movies.csv"):
                found = [name for name in names if Path(name).name == wanted]
                if not found:
                    raise UserError(f"{place} has no file {wanted}", "complete your copy.")
                try:
                    tables.append(pd.read_csv(io.BytesIO(read(found[0]))))
                except ValueError as error:  # pandas' own errors are such
                    raise UserError(f"{wanted} of {place} cannot be read ({error}).") from error
        ratings, films = tables
        needed = ((ratings, {"userId", "movieId", "rating", "timestamp"}), (films, {"movieId", "genres"}))
        for table, columns in needed:
            if missing := columns - set(table.columns):
                raise UserError(f"{place} has no column '{min(missing)}'", "complete your copy.")
        if (len(ratings), ratings["userId"].nunique()) != (_RATINGS, _USERS):
            raise UserError(
                f"{place} has {len(ratings):,} ratings of {ratings['userId'].nunique()} users but {_RATINGS:,} of "
                f"{_USERS} are expected, those of MovieLens latest-small of September 2018",
                "complete your copy, or use data=regression_table for other ratings.",
            )
        return ratings, films


def _with_film_means(ratings: "pd.DataFrame", train: Sequence[str]) -> "pd.DataFrame":
    """Return the ratings with two columns more: of the film, by meta-train users other than the one who rates."""
    import numpy as np

    of_train = ratings["userId"].astype(str).isin(train).to_numpy()
    known = ratings[of_train].groupby("movieId")["rating"].agg(["sum", "count"])
    known = known.reindex(ratings["movieId"]).fillna(0.0)
    stars, others = known["sum"].to_numpy(), known["count"].to_numpy()
    stars = stars - np.where(of_train, ratings["rating"].to_numpy(), 0.0)
    others = others - of_train
    overall = float(ratings["rating"].to_numpy()[of_train].mean())
    mean = np.divide(stars, others, out=np.full(len(ratings), overall), where=others > 0)
    return ratings.assign(**{FILM_MEAN: mean, FILM_RATERS: np.log1p(others)})


def _genres(films: "pd.DataFrame") -> "pd.DataFrame":
    """Return a column of 0 and 1 for each genre."""
    genres = films["genres"].replace("(no genres listed)", "").str.get_dummies("|").astype(float)
    genres = genres.drop(columns="", errors="ignore")  # of films without a genre
    return genres.assign(movieId=films["movieId"])
