"""Labels that distinguish runs by few keys."""

import yaml

from metarun.reporting.tables.run_labels import distinguishing_keys, distinguishing_labels, with_panels
from tests.cli.test_compare import record


def made(tmp_path, number: int, config: dict | None = None, **changes) -> dict:
    folder = tmp_path / str(number)
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config or {}))
    return record(id=f"{number:08x}", path=str(folder), **{"seedless_id": "same", **changes})


def rate(value: float) -> dict:
    return {"algo": {"inner_lr": value, "order": 2}}


def test_labels_only_distinguish_runs_with_the_same_shared_keys(tmp_path):
    runs = [
        made(tmp_path, 1, rate(0.1)),
        made(tmp_path, 2, rate(0.4)),
        made(tmp_path, 3, rate(0.1), algo="anil", seed=0),
        made(tmp_path, 4, rate(0.1), algo="anil", seed=1),
        made(tmp_path, 5, rate(0.1), algo="fomaml"),
    ]
    assert distinguishing_labels(runs, ["algo"]) == ["algo.inner_lr=0.1", "algo.inner_lr=0.4", "seed 0", "seed 1", ""]
    assert distinguishing_labels(runs, ["algo"], averaged=["seed"])[2:] == ["", "", ""]


def test_a_key_may_contain_braces(tmp_path):
    runs = [made(tmp_path, i, {"algo": {"\\input{x}": i}}, seed=i) for i in (1, 2)]
    assert distinguishing_labels(runs, ["algo"], averaged=["seed"]) == [r"algo.\input{x}=1", r"algo.\input{x}=2"]


def test_settings_that_a_recipe_sets_per_size_share_a_panel(tmp_path):
    by_size = [made(tmp_path, way, rate(2 / way), test_way=way, seed=seed) for way, seed in ((5, 0), (20, 1))]
    labelled, keys = with_panels(by_size)
    assert (keys, [each["settings"] for each in labelled]) == (["algo"], [None, None])
    slower = made(tmp_path, 6, rate(0.01), test_way=5, seedless_id="slower")
    labelled, keys = with_panels([*by_size[:1], slower])
    assert keys == ["algo", "settings"]
    assert [each["settings"] for each in labelled] == ["algo.inner_lr=0.4", "algo.inner_lr=0.01"]


def test_each_data_set_has_its_own_panel(tmp_path):
    runs = [made(tmp_path, 1), made(tmp_path, 2, test_data="omniglot"), made(tmp_path, 3, algo="protonet")]
    assert [each["settings"] for each in with_panels(runs)[0]] == ["on glyphs", "on omniglot", "on glyphs"]


def test_tests_are_distinguished_by_the_settings_of_their_trainings(tmp_path):
    trained = [made(tmp_path, i, {"train": {"iterations": steps}}) for i, steps in enumerate((10, 10, 20))]
    tests = [
        made(tmp_path, 10 + i, {"run": each["path"], "train": {"over_tasks": None}}, trained_by=each["id"], seed=i % 2)
        for i, each in enumerate(trained)
    ]
    assert [each["settings"] for each in with_panels(tests[:2])[0]] == [None, None], "seeds of one method"
    assert [each["settings"] for each in with_panels(tests)[0]] == [f"train.iterations={n}" for n in (10, 10, 20)]


def test_runs_with_equal_configs_are_distinguished_by_their_code_and_files(tmp_path):
    runs = [made(tmp_path, 1, seedless_id="code"), made(tmp_path, 2, seedless_id="other code", seed=1)]
    assert distinguishing_keys(runs, averaged=["seed"])[1] == ["seedless_id"]
    older = [{key: value for key, value in run.items() if key != "seedless_id"} for run in runs[:1]]
    assert distinguishing_keys([*older, runs[1]], averaged=["seed"])[1] == []
    assert distinguishing_keys([runs[0], {**runs[0], "id": "again"}])[1] == ["id"]
