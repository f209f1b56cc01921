"""Clusters of a split's examples, found without labels: k-means of their numbers or of given features."""

import hashlib
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data.examples import Examples, Split, pieces
from metarun.data.files.cache import load_or_build
from metarun.errors import UserError
from metarun.system.paths import data_root

log = logging.getLogger(__name__)

COMPONENTS = 64  # of the numbers of an example that k-means sees
FITTED = 20_000  # examples that principal components are fitted to
BATCH = 4096  # examples in a step of k-means
ITERATIONS = 100
SEED = 0  # clusters are part of the data: they do not differ between runs of other seeds


def cluster(
    name: str, split: Split, examples: Examples, features: Callable[[], NDArray[Any]], key: str, *sizes: int
) -> NDArray[np.int32]:
    """Return the clusters of a split's examples, from the cache if they are there; labels are not used.

    Args:
        name: of the data set.
        split: of it.
        examples: of the split.
        features: returns (examples, features) floats, which are clustered.
        key: identifies the features: equal keys mean equal features.
        sizes: how many clusters, and how many partitions, see `partitions_of`.

    Returns:
        (examples, partitions) the number of the cluster of each example.

    Raises:
        UserError: scikit-learn is missing, or the cache cannot be written.
    """
    count, partitions = sizes
    identity = f"clusters-1|{key}|{count}|{partitions}|{SEED}"
    own = hashlib.sha256(f"{identity}|{examples.values.shape}".encode()).hexdigest()[:16]

    def build() -> Examples:
        log.info(
            "clustering %s examples of meta-%s into %d clusters%s; this is done once",
            *(f"{len(examples.values):,}", split, count, f", {partitions} times" if partitions > 1 else ""),
        )
        labels = partitions_of(features(), count, partitions)
        return Examples(labels, np.array([0, len(labels)]), ("clusters",))

    path = data_root() / "clusters" / f"{name}-{own}-{split}.npz"
    labels: NDArray[np.int32] = load_or_build(path, identity, build).values
    return labels


def partitions_of(features: NDArray[Any], count: int, partitions: int) -> NDArray[np.int32]:
    """Return (examples, partitions) clusters found by k-means.

    Partitions differ as in the code of Hsu et al. 2019 (https://github.com/kylehkhsu/cactus-maml): the first is of the
    features, the others are of features scaled at random, each by its own factor from 0 to 1.

    Deviation: k-means in mini-batches (Sculley 2010), started once, which takes a minute where the paper's takes hours.

    Args:
        features: (examples, features).
        count: clusters in each partition.
        partitions: how many.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise _missing() from error
    random, found = np.random.default_rng(SEED), []
    for partition in range(partitions):
        scale = random.uniform(size=features.shape[1]) if partition else np.ones(features.shape[1])
        kmeans = MiniBatchKMeans(
            count, batch_size=BATCH, max_iter=ITERATIONS, n_init=1, random_state=SEED + partition, compute_labels=True
        )
        with warnings.catch_warnings():  # of equal examples there can be fewer clusters, which are skipped later
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.append(kmeans.fit_predict((features * scale).astype(np.float32)))
    return np.stack(found, 1).astype(np.int32)


def principal_components(examples: Examples, name: str) -> NDArray[np.float32]:
    """Return (examples, features) the principal components of examples' numbers, at most `COMPONENTS`.

    They are fitted to at most `FITTED` examples, evenly spaced.

    Raises:
        UserError: examples have several fields or ids, or scikit-learn is missing.
    """
    if len(examples.inputs) > 1 or any(spec.kind in ("ids", "mask") for spec in examples.inputs.values()):
        raise UserError(
            f"task.embedding=pixels clusters the numbers of examples, but those of data={name} are "
            f"{', '.join(f'{field} ({spec.kind})' for field, spec in examples.inputs.items())}",
            "set `task.embedding` to a run, whose features are clustered.",
        )
    try:
        from sklearn.decomposition import PCA
    except ImportError as error:
        raise _missing() from error
    values = examples.values
    some = np.unique(np.linspace(0, len(values) - 1, min(len(values), FITTED)).astype(int))
    fitted = values[some].reshape(len(some), -1).astype(np.float32)
    components = min(COMPONENTS, *fitted.shape)
    pca = PCA(components, random_state=SEED).fit(fitted)
    parts = [pca.transform(piece.reshape(len(piece), -1).astype(np.float32)) for piece in pieces(values)]
    return np.concatenate(parts).astype(np.float32)


def _missing() -> UserError:
    return UserError("task.labels=clusters needs scikit-learn", "pip install 'metarun[text]'.")
