"""Sweeps on a Ray cluster of two nodes, one of which is removed during the sweep."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.test_launchers import processes_of
from tests.sweeps.test_pool import SMALL, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def two_nodes(monkeypatch):
    """The address of the cluster, and a function that removes its second node."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray import cluster_utils  # `make test-clusters` installs it

    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    worker = cluster.add_node(num_cpus=1)
    yield cluster.address, lambda: cluster.remove_node(worker, allow_graceful=False)
    cluster.shutdown()


def test_a_run_of_a_removed_node_is_resumed_on_another(two_nodes, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    address, remove_second_node = two_nodes
    words = ["algo=protonet", *SMALL, "train.iterations=200", "seed=0,1,2"]
    words += ["hydra/launcher=ray", f"hydra.launcher.address='{address}'"]
    command = [sys.executable, "-m", "metarun", "train", "-m", *words]
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(Path("results/runs").glob("*/last.pt"))) >= 2)
    assert processes_of("seed=0")
    assert processes_of("seed=1")
    remove_second_node()
    printed, complaint = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, printed + complaint
    rows = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    assert sorted((row["seed"], row["status"]) for row in rows) == [(0, "done"), (1, "done"), (2, "done")]
    assert sum("resuming from step" in path.read_text() for path in Path("results/runs").glob("*/run.log")) == 1
