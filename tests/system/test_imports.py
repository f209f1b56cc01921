import gc
import subprocess
import sys

import pytest

import metarun.algorithms
import metarun.data
from metarun.system.imports import importing_torch


def test_the_first_import_of_torch_is_not_interrupted_by_collections(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    with importing_torch():
        assert not gc.isenabled()
        made = ["here"]
    assert gc.isenabled()
    assert not any(each is made for each in gc.get_objects()), "later collections would look at it"


def test_where_torch_is_imported_already_nothing_is_excluded_from_collections():
    with importing_torch():
        assert gc.isenabled()
        made = ["here"]
    assert any(each is made for each in gc.get_objects())


@pytest.mark.parametrize("package", [metarun.algorithms, metarun.data])
def test_every_public_name_is_found_and_others_are_not(package):
    assert all(hasattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match=rf"module '{package.__name__}' has no attribute 'Nothing'"):
        package.Nothing  # noqa: B018


def test_a_data_set_is_imported_when_it_is_used():
    program = "import sys, metarun.data as data; now = set(sys.modules); data.Audio; print(*set(sys.modules) - now)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "metarun.data.sounds.audio" in done.stdout.split()
