"""Packs of runs: deterministic, and read as untrusted input, from which nothing is written."""

import io
import json
import stat
import struct
import zipfile

import pytest

from metarun.errors import UserError
from metarun.results import checksums, pack

CONTENTS = {
    **{"config.yaml": b"seed: 0\n", "result.json": b"{}", pack.WEIGHTS: b"weights", "tasks.parquet": bytes(300)},
}


@pytest.fixture
def path(tmp_path):
    pack.write(tmp_path / "run.zip", CONTENTS)
    return tmp_path / "run.zip"


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    found.create_system, found.external_attr = 3, mode << 16
    return found


def rewrite(path, changes, compression=zipfile.ZIP_STORED, version=pack.FORMAT):
    """Write a pack whose checksums are right, with other files: by name or `ZipInfo`; None removes one."""
    files = {pack.MANIFEST: json.dumps({"format": version}).encode(), **CONTENTS, **changes}
    files = {name: content for name, content in files.items() if content is not None}
    names = {name if isinstance(name, str) else name.filename: content for name, content in files.items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {checksums.NAME: checksums.listing(names), **files}.items():
            archive.writestr(name, content, compression)
    return path


def test_a_pack_is_read_as_it_was_written_and_always_the_same(path, tmp_path):
    assert pack.read(path) == CONTENTS
    pack.write(tmp_path / "again.zip", CONTENTS)
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"../evil.py": b"x"}, r"it contains '\.\./evil\.py', which is not a file of a run"),
        ({"/etc/cron.d/evil": b"x"}, "it contains '/etc/cron.d/evil', which is not"),
        ({"C:\\evil": b"x"}, "which is not a file of a run"),
        ({"sub/config.yaml": b"x"}, "which is not a file of a run"),
        ({"best.pt": b"\x80\x04."}, r"it contains 'best\.pt', which is not a file of a run"),
        ({"a\x1b[2Jb": b"x"}, r"it contains 'a\\x1b\[2Jb'"),
        (
            {"config.yaml": None, entry("config.yaml", stat.S_IFLNK | 0o777): b"/etc/passwd"},
            "its entry 'config.yaml' is a",
        ),
        ({"curve.csv": None, entry("curve.csv", stat.S_IFIFO | 0o644): b""}, "is a link or another special file"),
        ({"result.json": None}, r"it has no result\.json"),
        ({pack.WEIGHTS: None}, r"it has no weights\.safetensors"),
        ({pack.MANIFEST: b"[1"}, "cannot be imported"),
        ({pack.MANIFEST: b'{"format": 2}'}, r"another version of metarun \(format 2, this one reads 1\); install that"),
        ({pack.MANIFEST: b"[]"}, r"another version of metarun \(format None"),
    ],
)
def test_what_is_not_a_file_of_a_run_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        pack.read(rewrite(tmp_path / "run.zip", changes))
    assert [each.name for each in tmp_path.iterdir()] == ["run.zip"], "nothing is written"


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    bomb = rewrite(tmp_path / "bomb.zip", {"tasks.parquet": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10**5
    with pytest.raises(UserError, match="is compressed, which is not allowed"):
        pack.read(bomb)


def test_files_that_share_bytes_are_refused(path):
    """Entries that point to the same bytes would unpack to many times the size of the pack."""
    content = bytearray(path.read_bytes())
    start, large = content.find(b"PK\x01\x02"), len(content)
    while (start := content.find(b"PK\x01\x02", start)) != -1:  # every entry claims to be as large as the pack
        struct.pack_into("<2L", content, start + 20, large, large)
        start += 4
    path.write_bytes(content)
    with pytest.raises(UserError, match="its files overlap"):
        pack.read(path)


def test_a_directory_of_many_entries_is_not_read(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(200):
            archive.writestr(f"{number}.txt", b"")
    (tmp_path / "many.zip").write_bytes(packed.getvalue())
    with pytest.raises(UserError, match="it contains too many files"):
        pack.read(tmp_path / "many.zip")


def test_a_file_that_occurs_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = rewrite(tmp_path / "run.zip", {entry("config.yaml"): b"seed: 1\n"})
    with pytest.raises(UserError, match="it contains a file twice"):
        pack.read(twice)


def test_every_flipped_bit_and_every_cut_is_noticed(path):
    whole = path.read_bytes()
    for place in range(0, len(whole), 50):
        path.write_bytes(whole[:place])
        with pytest.raises(UserError):
            pack.read(path)
    start = whole.find(CONTENTS["tasks.parquet"])
    path.write_bytes(whole[:start] + b"\x01" + whole[start + 1 :])
    with pytest.raises(UserError, match=r"run\.zip cannot be imported \(.*\); ask for a new copy"):
        pack.read(path)


def test_checksums_must_be_those_of_the_files(tmp_path):
    path = tmp_path / "run.zip"
    files = {pack.MANIFEST: b'{"format": 1}', **CONTENTS}
    for listing, message in (
        (checksums.listing({**files, "config.yaml": b"seed: 1\n"}), r"its config\.yaml does not match the checksum"),
        (checksums.listing(CONTENTS), "SHA256SUMS does not list its files"),
        (b"nothing", "SHA256SUMS does not list its files"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**files, checksums.NAME: listing}.items():
                archive.writestr(name, content)
        with pytest.raises(UserError, match=message):
            pack.read(path)


def test_what_is_not_a_zip_is_refused(tmp_path):
    (tmp_path / "empty.zip").write_bytes(b"")
    (tmp_path / "text.zip").write_text("not a zip, but long enough to look for the end of one in it")
    for name in ("empty.zip", "text.zip"):
        with pytest.raises(UserError, match="it is not a pack of a run"):
            pack.read(tmp_path / name)
    for name, what in (("missing.zip", "does not exist"), ("", "is not a file")):
        with pytest.raises(UserError, match=f"{what}; give a file that `metarun publish` wrote"):
            pack.read(tmp_path / name)
