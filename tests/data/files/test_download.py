import urllib.error
import urllib.request
from email.message import Message

import pytest

from metarun.data.files.download import _OPENER, DownloadError, download
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


def test_a_download_is_complete_and_leaves_no_part_file(url, tmp_path):
    download(url, tmp_path / "new" / "file.zip")
    assert (tmp_path / "new" / "file.zip").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.zip"]


def test_an_interrupted_download_keeps_only_a_part_file(web, url, tmp_path):
    web.cut_after = 300_000
    with pytest.raises(
        DownloadError, match="the connection ended after 300,000 of 1,024,000 bytes, 300,000 bytes are kept"
    ):
        download(url, tmp_path / "file.zip")
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


def test_the_next_try_requests_only_the_rest(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    download(url, tmp_path / "file.zip")
    assert web.requests[-1] == ("/file.zip", "bytes=300000-")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_whole_file_again(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    web.supports_ranges = False
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_complete_part_file_is_renamed_without_another_byte(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    next(tmp_path.glob("*.part")).write_bytes(CONTENT)
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_file_longer_than_the_file_is_discarded(web, url, tmp_path):
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    next(tmp_path.glob("*.part")).write_bytes(CONTENT + b"more")
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_file_is_never_resumed_from_another_url(web, url, tmp_path):
    web.files["/mirror/file.zip"] = CONTENT[::-1]
    interrupt(web, url, tmp_path / "file.zip", 300_000)
    download(f"{web.url}/mirror/file.zip", tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT[::-1]


def test_a_missing_file_is_reported_with_the_reason_and_leaves_nothing(web, tmp_path):
    with pytest.raises(DownloadError, match=r"/none.zip: HTTP Error 404: Not Found$"):
        download(f"{web.url}/none.zip", tmp_path / "none.zip")
    assert not list(tmp_path.iterdir())


def test_no_connection_is_reported_with_the_systems_message(web, tmp_path, closed_port):
    with pytest.raises(DownloadError, match=r"file.zip: \[Errno \d+\] Connection refused$"):
        download(f"http://127.0.0.1:{closed_port}/file.zip", tmp_path / "file.zip")


def test_an_unwritable_folder_is_a_user_error(url, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written .* set METARUN_DATA"):
        download(url, tmp_path / "taken" / "file.zip")


def test_progress_is_plain_lines_if_piped(url, tmp_path, capsys):
    download(url, tmp_path / "file.zip")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "file.zip: 1,024,000 of 1,024,000 bytes"
    assert len(lines) == 10


def redirect(start, end):
    (handler,) = [each for each in _OPENER.handlers if isinstance(each, urllib.request.HTTPRedirectHandler)]
    return handler.redirect_request(urllib.request.Request(start), None, 302, "Found", Message(), end)


def test_a_redirect_from_https_to_http_is_refused():
    with pytest.raises(urllib.error.URLError, match="it redirects to http://b/x, which is not https"):
        redirect("https://a/x", "http://b/x")


@pytest.mark.parametrize(("start", "end"), [("https://a/x", "https://b/x"), ("http://a/x", "https://b/x")])
def test_other_redirects_are_followed(start, end):
    assert redirect(start, end).full_url == end
