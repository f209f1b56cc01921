"""A folder of sounds, from nothing to a row."""

import json
from pathlib import Path

from tests.support.fake_sounds import write_tones


def test_a_folder_of_sounds_becomes_a_row(root, metarun):
    write_tones(Path("sounds"), [f"c{i}" for i in range(6)], count=4)
    words = ["train", "algo=protonet", "data=audio", "data.root=sounds", "data.seconds=0.2", "data.rate=8000"]
    words += ["data.mels=16", "data.fft=256", "data.hop=100", "task.way=2", "train.way=2", "task.query=2"]
    words += ["train.query=2", "train.iterations=2", "train.validate_every=2", "train.validate_tasks=2", "test.tasks=5"]
    found = metarun(*words)
    assert found.code == 0, found.err
    record = json.loads(next(Path("results/runs").glob("*/result.json")).read_text())
    floor = metarun(*words[:1], "algo=nearest_centroid", *words[2:])
    assert floor.code == 0, floor.err
    records = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    untrained = next(record for record in records if record["algo"] == "nearest_centroid")
    assert untrained["accuracy"] == untrained["floor_accuracy"] == record["floor_accuracy"]
