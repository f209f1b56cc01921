"""From texts to numbers: square-root TF-IDF of character n-grams, or ids of hashed words or bytes with a mask."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_NGRAMS = (2, 5)  # characters, within words and the blanks around them
_BUCKETS = 1 << 20  # of hashed n-grams; a million texts have more n-grams, but few of them matter
_WORDS = re.compile(r"\w+|[^\w\s]")
BYTES = 257  # ids of bytes: 0 is padding


@dataclass(frozen=True)
class Tfidf:
    """Square-root TF-IDF: of each n-gram sqrt(count * idf), the vector sketched to `size` numbers and of length 1.

    N-grams are hashed, so those that meta-train does not have count as well, with the idf of one never seen. The
    sketch is feature hashing with signs (Weinberger et al. 2009, https://arxiv.org/abs/0902.2206), which keeps inner
    products up to noise of about 1 / sqrt(size).

    Args:
        idf: (buckets,) float32, log((1 + texts) / (1 + texts with it)) + 1 over the meta-train texts.
        size: numbers that describe a text.
    """

    idf: NDArray[np.float32]
    size: int

    @classmethod
    def of(cls, train: Sequence[str], size: int) -> Self:
        """Count in how many of the meta-train texts each n-gram occurs."""
        counts = _count_ngrams(train)
        occurs = np.bincount(counts.indices, minlength=_BUCKETS)
        return cls((np.log((1 + len(train)) / (1 + occurs)) + 1).astype(np.float32), size)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` reads: the n-grams that occur in meta-train, and what one that does not has."""
        unseen = self.idf.max()
        buckets = np.flatnonzero(self.idf != unseen).astype(np.int32)
        return {"buckets": buckets, "idf": self.idf[buckets], "unseen": np.array(unseen)}

    @classmethod
    def from_arrays(cls, size: int, stored: Mapping[str, NDArray[Any]]) -> Self:
        """Return what `to_arrays` stored.

        Raises:
            KeyError: an array is missing.
        """
        idf = np.full(_BUCKETS, stored["unseen"], np.float32)
        idf[stored["buckets"]] = stored["idf"]
        return cls(idf, size)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (texts, size), each row of length 1."""
        from scipy import sparse

        counts = _count_ngrams(texts)
        counts.data = np.sqrt(counts.data * self.idf[counts.indices])
        buckets = np.arange(_BUCKETS)
        signs = np.where(buckets // self.size % 2, -1, 1).astype(np.float32)
        sketch = sparse.csr_matrix((signs, (buckets, buckets % self.size)), (_BUCKETS, self.size))
        vectors = (counts @ sketch).toarray()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
        return unit


def _count_ngrams(texts: Sequence[str]) -> "csr_matrix":
    """Return (texts, buckets) float32 counts."""
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ImportError as error:
        raise UserError(
            "data.features=tfidf needs scikit-learn", "pip install 'metarun[text]', or set `data.features=tokens`."
        ) from error
    hashing = HashingVectorizer(
        analyzer="char_wb", ngram_range=_NGRAMS, n_features=_BUCKETS, norm=None, alternate_sign=False, dtype=np.float32
    )
    counts: csr_matrix = hashing.transform(texts)
    return counts


@dataclass(frozen=True)
class Tokens:
    """The first tokens of a text as ids from 1 on, and a mask; 0 is padding.

    Args:
        kind: "words": runs of letters and digits, and punctuation marks, in lower case and hashed, so that two may
            share an id; "bytes": of UTF-8, for any language.
        vocabulary: how many ids words have, with padding; bytes have 257.
        length: tokens of a text at most.
    """

    kind: Literal["words", "bytes"]
    vocabulary: int
    length: int

    @property
    def size(self) -> int:
        """How many ids there are, with padding."""
        return self.vocabulary if self.kind == "words" else BYTES

    def ids(self, text: str) -> list[int]:
        """Return the ids of all tokens of a text."""
        if self.kind == "bytes":
            return [1 + byte for byte in text.encode()]
        return [1 + zlib.crc32(word.encode()) % (self.vocabulary - 1) for word in _WORDS.findall(text.casefold())]

    def fields(self, texts: Sequence[str]) -> tuple[NDArray[Any], int]:
        """Return the examples (texts,) of the fields ids (length,) and mask (length,), and how many texts were cut."""
        examples = np.zeros(len(texts), [("ids", np.int32, (self.length,)), ("mask", np.bool_, (self.length,))])
        cut = 0
        for example, text in zip(examples, texts, strict=True):
            ids = self.ids(text)
            cut += len(ids) > self.length
            kept = ids[: self.length]
            example["ids"][: len(kept)] = kept
            example["mask"][: len(kept)] = True
        return examples, cut
