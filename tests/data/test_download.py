import urllib.error
import urllib.request
from email.message import Message

import pytest

from metarun.data.download import _OPENER, DownloadError, download
from metarun.errors import UserError

CONTENT = bytes(range(256)) * 4000  # 1 MB


@pytest.fixture
def url(web):
    web.files["/file.zip"] = CONTENT
    return f"{web.url}/file.zip"


def interrupt(web, url, path, after):
    web.cut_after = after
    with pytest.raises(DownloadError, match="bytes are kept"):
        download(url, path)
    web.cut_after = None


def test_download_brings_every_byte_and_leaves_no_part_file(url, tmp_path):
    download(url, tmp_path / "new" / "file.zip")
    assert (tmp_path / "new" / "file.zip").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.zip"]


def test_interrupted_download_keeps_what_came_and_shows_no_file(web, url, tmp_path):
    web.cut_after = 300_000
    with pytest.raises(DownloadError, match="it ended after 300,000 of 1,024,000 bytes, 300,000 bytes are kept"):
        download(url, tmp_path / "file.zip")
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


def test_next_try_asks_for_the_rest_only(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    download(url, tmp_path / "file.zip")
    assert web.asked[-1] == ("/file.zip", "bytes=300000-")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_server_without_ranges_sends_all_again_and_the_file_is_right(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    web.knows_ranges = False
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_complete_part_file_is_renamed_without_another_byte(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    next(tmp_path.glob("*.part")).write_bytes(CONTENT)
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_part_file_longer_than_the_file_is_thrown_away(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    next(tmp_path.glob("*.part")).write_bytes(CONTENT + b"more")
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_part_file_of_one_url_is_never_continued_from_another(web, url, tmp_path):
    web.files["/mirror/file.zip"] = CONTENT[::-1]
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    download(f"{web.url}/mirror/file.zip", tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT[::-1]


def test_missing_file_is_named_with_the_reason_and_leaves_nothing(web, tmp_path):
    with pytest.raises(DownloadError, match=r"/none.zip: HTTP Error 404: Not Found$"):
        download(f"{web.url}/none.zip", tmp_path / "none.zip")
    assert not list(tmp_path.iterdir())


def test_no_connection_is_told_in_the_systems_words(web, tmp_path, closed_port):
    with pytest.raises(DownloadError, match=r"file.zip: \[Errno \d+\] Connection refused$"):
        download(f"http://127.0.0.1:{closed_port}/file.zip", tmp_path / "file.zip")


def test_folder_that_cannot_be_made_is_the_users_to_mend(url, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written .* set METARUN_DATA"):
        download(url, tmp_path / "taken" / "file.zip")


def test_progress_is_plain_lines_when_piped(url, tmp_path, capsys):
    download(url, tmp_path / "file.zip")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "file.zip: 1,024,000 of 1,024,000 bytes"
    assert len(lines) == 10


def redirect(start, end):
    (handler,) = [each for each in _OPENER.handlers if isinstance(each, urllib.request.HTTPRedirectHandler)]
    return handler.redirect_request(urllib.request.Request(start), None, 302, "Found", Message(), end)


def test_a_redirect_from_https_to_http_is_refused():
    with pytest.raises(urllib.error.URLError, match="it sends on to http://b/x, which is not https"):
        redirect("https://a/x", "http://b/x")


@pytest.mark.parametrize(("start", "end"), [("https://a/x", "https://b/x"), ("http://a/x", "https://b/x")])
def test_other_redirects_are_followed(start, end):
    assert redirect(start, end).full_url == end
