"""Every method in conf/algo makes a whole run on texts, sounds, rows of a table and entities, or says why not."""

from pathlib import Path

import pytest

from metarun.config.folder import config_dir
from tests.support.fake_sounds import write_tones
from tests.support.fake_texts import write_texts
from tests.support.reference import import_learn2learn

pytestmark = [pytest.mark.slow, pytest.mark.sampled]
ALGOS = sorted(path.stem for path in (Path(config_dir()) / "algo").glob("*.yaml"))
KINDS = {
    "text": ["data=text", "data.root=own.csv", "data.features=tokens", "backbone=bag"],
    "audio": ["data=audio", "data.root=own", "data.rate=8000", "data.seconds=0.2", "data.fft=256", "data.hop=100"],
    "table": ["data=table", "data.root=own.csv", "data.label=who"],
    "regression_table": ["data=regression_table", "data.root=own.csv", "data.entity=who", "data.targets=[size]"],
}
SMALL = ["train.iterations=2", "train.validate_every=2", "train.validate_tasks=2", "test.tasks=3", "task.query=2"]
REFUSALS = (
    "is for classification but",
    "takes one array of numbers but",
    "needs features that are a map",
    "is regression",
    "has no environments",
    "needs a language model but",
    "turns square pictures but",
    "there is no change for examples of",
)


def write_data(kind: str) -> None:
    if kind == "text":
        write_texts(Path("own.csv"))
    elif kind == "audio":
        write_tones(Path("own"), [f"class{c:02}" for c in range(30)], 4)
    else:
        rows = [f"{c},{c + i / 10},{i},{'red' if i % 2 else 'blue'}" for c in range(30) for i in range(12)]
        Path("own.csv").write_text("\n".join(["who,size,day,colour", *rows]) + "\n")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algo", ALGOS)
def test_every_method_runs_on_every_kind_of_data_or_refuses_it(metarun, algo, kind):
    if algo.startswith("l2l_"):
        import_learn2learn()
    write_data(kind)
    sizes = ["task.shot=3"] if kind == "regression_table" else ["task=5way1shot", "train.way=5"]
    sizes += ["backbone.filters=8"] if kind == "audio" else []
    code, printed, said = metarun("train", f"algo={algo}", *KINDS[kind], *sizes, *SMALL, "logger=null")
    assert "Traceback" not in said
    if code:
        assert code == 2
        assert any(refusal in said for refusal in REFUSALS), said
    else:
        (run,) = Path("results/runs").iterdir()
        assert (run / "examples.npz").is_file(), printed
