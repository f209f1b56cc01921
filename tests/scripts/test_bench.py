import json
import math
import re
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from rich.console import Console

from scripts import bench, bench_history, bench_scale
from scripts.benchmark import evaluating, heads, pretraining, training
from scripts.benchmark.bound import Bound, find_bound, kind_of
from scripts.benchmark.case import Comparison, Duel, Limit, Peer, Setting, Targets, check_agreement
from scripts.benchmark.commands import percent_outside_model
from scripts.benchmark.machine import Peak, count_flops, describe
from scripts.benchmark.networks import Protocol, random_tasks, with_torchs_batch_norm, with_weights_of
from scripts.benchmark.report import check_limit, compare, duration, is_slower, show, write
from scripts.benchmark.timing import Seconds, ratio_of, time_alternating
from tests.support.reference import import_easyfsl, import_learn2learn
from tests.support.waiting import META, waits

CPU = torch.device("cpu")
TINY = Protocol(way=3, shot=2, query=2, steps=2, meta_batch=2, image=(1, 16, 16), filters=4)
RECORD_KEYS = {
    *("case", "title", "repeats", "ours_seconds", "ours_min", "ours_median"),
    *("peer", "peer_seconds", "peer_share", "peer_min", "peer_median", "agreement", "note"),
    *("ratio", "ratio_low", "ratio_high", "target", "met", "gflop", "gflops", "bound"),
}


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(CPU, short=True, folder=tmp_path)


def records_of(duel: Duel, repeats: int = 2) -> list[dict]:
    case = Comparison("a case", Targets(3, 30), lambda _: duel)
    times = time_alternating([duel.ours, *(peer.run for peer in duel.peers.values())], repeats, CPU)
    return compare("case", case, 3, duel, times)


@pytest.mark.cross
@pytest.mark.peers
@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("method", ["maml", "fomaml", "anil", "metasgd"])
def test_gradient_steps_are_compared_at_the_same_loss(method, downsample, setting):
    import_learn2learn()
    duel = training.prepare_gradient_step(method, replace(TINY, downsample=downsample), setting)
    (record,) = records_of(duel)
    assert set(record) == RECORD_KEYS
    assert record["peer"] == "learn2learn"
    ours, theirs = record["agreement"]
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert len(record["ours_seconds"]) == len(record["peer_seconds"]) == record["repeats"] == 2
    assert record["gflop"] > 0


@pytest.mark.peers
@pytest.mark.parametrize("method", ["maml", "metasgd"])
def test_both_sides_compute_the_same_outer_gradient(method, setting):
    import_learn2learn()
    tasks, ours = random_tasks(TINY, CPU), training.make_method(method, TINY)
    learner, embed = training.make_learner(method, ours, TINY.inner_lr)
    training.outer_step(ours, tasks)()
    training.gradient_step(learner, embed, tasks, TINY.steps)()
    theirs = torch.cat([weight.grad.flatten() for weight in learner.parameters()])
    mine = torch.cat([weight.grad.flatten() for weight in ours.parameters()])
    torch.testing.assert_close(mine.norm(), theirs.norm(), rtol=1e-3, atol=0)  # the order of weights differs


@pytest.mark.peers
def test_protonet_steps_of_both_peers_are_compared_at_the_same_loss(setting):
    import_learn2learn(), import_easyfsl()
    protocol = replace(TINY, meta_batch=1, downsample="pool", norm="running")
    records = records_of(training.prepare_protonet_step(protocol, setting))
    assert [record["peer"] for record in records] == ["learn2learn", "easyfsl"]
    assert all(set(record) == RECORD_KEYS for record in records)
    assert records[1]["note"]


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("norm", ["running", "batch"])
def test_residual_networks_are_those_of_the_peers(norm, setting):
    import_learn2learn(), import_easyfsl()
    protocol = replace(training.RESNET12, way=2, query=1, image=(3, 32, 32), norm=norm)
    prepare = training.prepare_protonet_step if norm == "running" else partial(training.prepare_gradient_step, "maml")
    networks = training.peers_networks(protocol)
    assert [type(network).__name__ for network in networks] == ["ResNet12Backbone", "FEATResNet12"]
    for record in records_of(prepare(protocol, setting)):
        assert record["agreement"][0] == pytest.approx(record["agreement"][1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize(
    ("prepare", "protocol", "peer", "tolerance"),
    [
        (heads.prepare_matching_step, heads.MATCHING, "easyfsl", 1e-4),
        (heads.prepare_r2d2_step, heads.R2D2_OMNIGLOT, "authors' head", 1e-7),
        (heads.prepare_metaoptnet_step, heads.METAOPTNET, "learn2learn", 1e-7),
    ],
)
def test_heads_are_compared_at_the_same_loss(prepare, protocol, peer, tolerance, setting):
    import_learn2learn(), import_easyfsl()
    (record,) = records_of(prepare(replace(protocol, way=3, shot=2, meta_batch=2, filters=8), setting))
    assert record["peer"] == peer
    ours, theirs = record["agreement"]
    assert ours == pytest.approx(theirs, rel=tolerance)


def test_pre_training_is_compared_with_plain_pytorch(setting):
    (record,) = records_of(pretraining.prepare_pretraining(2, setting), repeats=1)
    assert record["peer"] == "plain PyTorch"
    assert record["agreement"][0] == pytest.approx(record["agreement"][1], rel=1e-4)


def test_what_takes_most_time_is_found():
    x, w = torch.rand(1, 32, 64, 64), torch.rand(32, 32, 3, 3)
    bound = find_bound(lambda: torch.nn.functional.conv2d(x, w))
    assert bound.kind == "convolution"
    assert 0.3 < bound.share <= 1
    assert find_bound(lambda: sum(range(100_000))).kind == "Python, calls"


def test_kinds_of_operations_are_known_by_name():
    names = ("aten::convolution_backward", "aten::max_pool2d_with_indices", "_Forward", "aten::bmm", "aten::add")
    assert [kind_of(name) for name in names] == [
        "convolution",
        "normalisation, pooling, ReLU",
        "normalisation, pooling, ReLU",
        "matrix product",
        "other arithmetic",
    ]


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.peers
def test_evaluation_and_sampling_are_compared(setting):
    import_learn2learn(), import_easyfsl()
    small = replace(evaluating.PROTONET, filters=4)
    (protonet,) = records_of(evaluating.prepare_protonet_test(50, 2, small, setting))
    assert protonet["peer_share"] == 0.04
    assert protonet["peer_median"] == pytest.approx(25 * sorted(protonet["peer_seconds"])[0], rel=1)
    (maml,) = records_of(evaluating.prepare_maml_test(4, 2, replace(evaluating.MAML_TEST, filters=4, steps=2), setting))
    assert maml["peer"] == "learn2learn"
    assert [record["peer"] for record in records_of(evaluating.prepare_drawing(5, setting))] == [
        "learn2learn",
        "easyfsl",
    ]


def test_time_outside_the_model_is_a_percentage(setting):
    shares = percent_outside_model(replace(TINY, image=(1, 28, 28)), 3, setting)
    assert len(shares) == 3
    assert all(0 < share < 100 for share in shares)


def test_sides_are_timed_alternately():
    calls = []
    seconds = time_alternating([lambda: calls.append("a"), lambda: calls.append("b")], 3, CPU)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [len(each.each) for each in seconds] == [3, 3]


def test_ratios_are_computed_over_pairs():
    ours, theirs = Seconds((1.0, 2.0, 4.0)), Seconds((3.0, 8.0, 8.0))
    assert ratio_of(theirs, ours).__dict__ == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert ratio_of(theirs, ours, their_share=0.5).median == 6.0
    assert (theirs.least, theirs.median) == (3.0, 8.0)


def test_a_peer_with_another_result_is_not_compared():
    assert check_agreement("loss", 1.0, 1.00001) == (1.0, 1.00001)
    with pytest.raises(ValueError, match=r"loss: we compute 1\.0 but the peer computes 1\.01"):
        check_agreement("loss", 1.0, 1.01)


def test_is_slower_requires_every_pair():
    duel = Duel(lambda: None, {"peer": Peer(lambda: None)})
    case = Comparison("a case", Targets(1, 1), lambda _: duel)

    def record(ours, theirs):
        return compare("case", case, 1, duel, [Seconds(ours), Seconds(theirs)])[0]

    assert not is_slower(record((1.0, 1.0, 1.0), (0.9, 0.9, 1.1)))
    assert not is_slower(record((1.0, 1.0, 1.0), (0.98, 0.98, 0.98)))
    assert is_slower(record((1.0, 1.0, 1.0), (0.9, 0.9, 0.9)))
    assert not is_slower(check_limit("help", Limit("help", Targets(1, 1), "s", lambda *_: []), 1, [2.0]))


def test_measurements_are_shown_and_written(tmp_path, capsys):
    duel = Duel(
        lambda: None, {"peer": Peer(lambda: None, 0.5, (1.0, 1.0), "half of it")}, lambda: torch.eye(8) @ torch.eye(8)
    )
    case = Comparison("a case", Targets(3, 30), lambda _: duel)
    records = compare("name", case, 3, duel, [Seconds((0.001,)), Seconds((0.002,))], Bound("copying", 0.4))
    records.append(check_limit("help", Limit("help", Targets(0.3, 0.3), "s", lambda *_: []), 0.3, [0.2, 0.1, 0.4]))
    machine = describe(CPU, Peak(100.0, 200.0))
    show(machine, records, Console(width=200))
    shown = capsys.readouterr().out
    assert "4.00 (4.00 to 4.00)" in shown
    assert "0.10 / 0.20 s" in shown
    assert "copying 40%" in shown
    assert "name, peer: half of it" in shown
    write(tmp_path / "new" / "bench.json", machine, records)
    written = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert written["records"][0]["gflop"] == 2 * 8**3 / 1e9
    assert {"processor", "cores", "threads", "device", "versions", "commit"} <= set(written["machine"])


def test_durations_have_three_digits():
    assert [duration(seconds) for seconds in (0.01234, 1.234, 123.4)] == ["12.3 ms", "1.23 s", "123 s"]


def test_flops_of_a_matrix_product_are_known():
    assert count_flops(lambda: torch.rand(2, 3) @ torch.rand(3, 5)) == 2 * 2 * 3 * 5


def test_every_case_has_targets_and_can_be_selected():
    cases = bench.cases()
    assert all(case.targets.on(CPU) > 0 and case.targets.on(torch.device("cuda")) > 0 for case in cases.values())
    assert bench.arguments(["--case", "maml_omniglot", "help"]).case == ["maml_omniglot", "help"]
    assert bench.arguments([]).case == list(cases)


def test_one_case_is_measured_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert bench.main(["--short", "--case", "help", "--repeats", "1", "--out", str(out)]) == 0
    (record,) = json.loads(out.read_text())["records"]
    assert record["case"] == "help"
    assert "metarun --help" in record["title"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--device", "cuda:99"], "device=cuda:99 cannot be used here (…); leave out --device."),
        (["--device", "xyz"], "device=xyz cannot be used here (…); leave out --device."),
    ],
)
def test_a_device_that_is_not_there_is_told_in_a_sentence(words, sentence, capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.arguments(words)
    assert re.sub(r"\(.*\)", "(…)", capsys.readouterr().err) == sentence + "\n"


def test_a_gpu_is_not_timed_by_the_processors_clock(monkeypatch, capsys):
    monkeypatch.setattr(bench, "find_device", torch.device)
    with pytest.raises(SystemExit, match="2"):
        bench.arguments(["--device", "cuda", "--clock", "cpu"])
    assert capsys.readouterr().err == "--clock cpu does not count the time of device=cuda; leave it out.\n"


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.peers
@pytest.mark.parametrize("name", ["maml_omniglot", "anil_omniglot", "maml_resnet12", "r2d2_omniglot"])
def test_both_sides_are_on_the_device(name, setting, monkeypatch):
    item = torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: 0.0 if tensor.device == META else item(tensor))
    monkeypatch.setattr("metarun.tasks.vectorize._chosen", defaultdict(lambda: "vectorised"))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "")
    duel = bench.cases()[name].prepare(replace(setting, device=META))
    with waits() as found:
        for work in (duel.ours, *(peer.run for peer in duel.peers.values())):
            work()
    assert [each for each in found if "_linalg_check_errors" not in each] == []


def test_networks_of_peers_are_on_the_device_of_ours():
    ours = TINY.backbone().to(META)
    for theirs in (with_torchs_batch_norm(ours), with_weights_of(ours, TINY.backbone())):
        assert {tensor.device for tensor in theirs.state_dict().values()} == {META}


def test_growth_is_the_slope_on_a_log_log_scale():
    assert bench_scale.growth([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    assert bench_scale.growth([1, 2, 4], [0, 5, 5]) == pytest.approx(0)
    assert math.isnan(bench_scale.growth([1, 2], [0, 5]))
    linear = [bench_scale.Point(1, 0.1, 30.0), bench_scale.Point(10, 1.0, 300.0)]
    assert bench_scale.describe_growth("way", linear) == ("grows as way^1.00", "grows as way^1.00")
    flat = [bench_scale.Point(1, 0.1, 0.0), bench_scale.Point(10, 0.1, 5.0)]
    assert bench_scale.describe_growth("images", flat)[1] == "below 20 MiB throughout"


def test_curves_are_written_as_csv_and_plot(tmp_path):
    points = [bench_scale.measure(bench_scale.draw(10, 4, CPU), 10, CPU, repeats=1), bench_scale.Point(20, 0.5, 3.0)]
    assert points[0].seconds > 0
    bench_scale.write_csv(tmp_path / "classes.csv", "classes", points)
    assert (tmp_path / "classes.csv").read_text().splitlines()[0] == "classes,seconds,peak_mib"
    bench_scale.draw_png(tmp_path / "classes.png", "classes", "drawing", points)
    assert (tmp_path / "classes.png").stat().st_size > 1000


def test_the_history_has_every_ratio_in_order_and_is_drawn(tmp_path, capsys):
    def measured(name, commit, ratio):
        records = [{"case": "maml", "peer": "l2l", "ratio": ratio}, {"case": "help", "ours_median": 0.1}]
        (tmp_path / name).write_text(
            json.dumps({"machine": {"commit": commit, "threads": 2, "clock": "wall"}, "records": records})
        )

    measured("2026-11-26-cpu.json", "bbbbbbbbbb", 2.0)
    measured("2026-11-24-cpu.json", "aaaaaaaaaa", 1.5)
    measured("2026-11-25-cpu-short.json", "cccccccccc", 9.0)  # smaller sizes: not comparable
    assert bench_history.main(["--folder", str(tmp_path)]) == 0
    assert (tmp_path / "history.png").stat().st_size > 1000
    measured("2026-11-26-cpu-2.json", "abababababab", 3.0)  # later on that day
    points = bench_history.read([*tmp_path.glob("*cpu.json"), tmp_path / "2026-11-26-cpu-2.json"])
    assert points == {
        "maml, l2l (2 threads, wall)": [
            ("2026-11-24 aaaaaaa", 1.5, 0),
            ("2026-11-26 bbbbbbb", 2.0, 1),
            ("2026-11-26 abababa", 3.0, 2),
        ]
    }


def test_names_are_whole_where_the_table_is_piped(capsys):
    record = check_limit("a_case_with_a_long_name", Limit("", Targets(1, 1), "s", lambda *_: []), 1, [0.5])
    duel = Duel(lambda: None, {"peer": Peer(lambda: None)}, None)
    compared = compare(
        "maml_omniglot_20way", Comparison("", Targets(1, 1), lambda _: duel), 3, duel, [Seconds((1.0,))] * 2
    )
    show(describe(CPU, Peak(100.0, 200.0)), [record, *compared], Console(width=80))
    shown = capsys.readouterr().out
    assert "maml_omniglot_20way" in shown
    assert "a_case_with_a_long_name" in shown
