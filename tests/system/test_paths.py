import os
from pathlib import Path

import pytest

from metarun.errors import UserError
from metarun.system.paths import exists, files_below, is_file, is_folder, read_file, resolve_path, state_of

STRANGE = ["x" * 5_000, "a\0b", "~nobody-is-called-so/x", "\udcff"]


@pytest.mark.parametrize("text", STRANGE)
def test_an_invalid_path_is_missing(text):
    assert not exists(resolve_path(text))
    assert not is_file(resolve_path(text))
    assert not is_folder(resolve_path(text))


@pytest.mark.parametrize("text", [*STRANGE, ".", "nothing", "pipe", "file/x"])
@pytest.mark.timeout(20)
def test_reading_what_is_not_a_file_returns_none_at_once(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("file").touch()
    assert read_file(resolve_path(text), 10) is None


def test_a_file_is_read_up_to_a_maximal_size(tmp_path):
    (tmp_path / "x").write_bytes(b"0123456789")
    assert read_file(tmp_path / "x", 10) == b"0123456789"
    with pytest.raises(ValueError, match="it is too large"):
        read_file(tmp_path / "x", 9)
    (tmp_path / "empty").touch()
    assert read_file(tmp_path / "empty", 10) == b""


def test_a_file_returned_in_pieces_is_read_completely(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"0123456789")
    read = os.read
    monkeypatch.setattr("metarun.system.paths.os.read", lambda file, most: read(file, min(most, 3)))
    assert read_file(tmp_path / "x", 10) == b"0123456789"


def test_a_tilde_is_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_path("~/x") == tmp_path / "x"


def test_files_below_a_folder_are_found_through_links(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").touch()
    (tmp_path / "here" / "sub").mkdir(parents=True)
    (tmp_path / "here" / "sub" / "a.txt").touch()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    assert sorted(files_below(tmp_path / "here")) == ["link/b.txt", "sub/a.txt"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("links", [["loop -> ."], ["a -> .", "b -> ."], ["sub/x -> ../other", "other/y -> ../sub"]])
def test_link_cycles_are_an_error(tmp_path, links):
    for folder in ("sub", "other"):
        (tmp_path / folder).mkdir()
    for link in links:
        here, _, target = link.partition(" -> ")
        (tmp_path / here).symlink_to(target)
    with pytest.raises(UserError, match=r"is a link to .*, which is in the same folder; remove the link"):
        files_below(tmp_path)


def test_links_in_hidden_folders_are_ignored(tmp_path):
    (tmp_path / ".venv" / "lib").mkdir(parents=True)
    (tmp_path / ".venv" / "lib64").symlink_to("lib")
    (tmp_path / "a.txt").touch()
    assert files_below(tmp_path) == ["a.txt"]


def test_the_state_changes_with_the_file_and_exists_for_a_dangling_link(tmp_path):
    file, link = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    link.symlink_to("nothing")
    before = state_of(file)
    assert before[:2] == (3, 1_000_000_000)
    file.write_bytes(b"two")
    os.utime(file, (1, 1))
    assert state_of(file)[:2] == before[:2]
    assert state_of(file) != before
    assert state_of(link) == state_of(Path("a\udcff")) == state_of(Path("a\0")) == (-1, -1, -1, -1)
