"""Examples that an encoder maps once."""

import numpy as np
import pytest

from metarun.data import ClassDataset, Examples
from metarun.data.encoded import BLOCK, EncoderOutputs, encoded_dataset
from metarun.data.examples import SPLITS


def texts(count):
    """Texts of random lengths, whose first id is their number."""
    found = np.zeros(count, [("ids", np.int32, (8,)), ("mask", np.bool_, (8,))])
    found["ids"][:, 0] = np.arange(count)
    lengths = np.random.default_rng(0).integers(1, 9, count)
    found["mask"] = np.arange(8) < lengths[:, None]
    return found


def test_texts_are_encoded_sorted_by_length_and_returned_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))
    raw = texts(3 * BLOCK)
    splits = {split: Examples.from_classes({split: raw if split == "train" else raw[:2]}) for split in SPLITS}
    data = ClassDataset("words", splits, id_sizes={"ids": len(raw)})
    encoded = []

    def encode(raw):
        if len(encoded) == stop:
            raise KeyboardInterrupt
        encoded.append(raw["mask"].sum(1))
        return raw["ids"][:, :1].astype(np.float32)

    def load():
        encoding = EncoderOutputs("key", "tiny", encode, np.dtype(np.float32), (1,), {})
        return encoded_dataset(data, encoding, lambda done, of: None).splits["train"].values[:, 0]

    stop = 2
    with pytest.raises(KeyboardInterrupt):
        load()
    stop = None
    assert np.array_equal(load(), raw["ids"][:, 0])  # in the order of the data set
    assert len(encoded) == 3 + 2, "blocks that were encoded before the interruption are not encoded again"
    assert np.array_equal(np.concatenate(encoded[:3]), np.sort(raw["mask"].sum(1)))
