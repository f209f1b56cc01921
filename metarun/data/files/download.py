"""Download one file over http(s), resumable, with progress."""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metarun.errors import UserError

TIMEOUT = 30.0  # seconds without a response or a byte
_CHUNK = 1 << 16  # bytes


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Refuse redirects from https to http, where content could be modified in transit."""

    def redirect_request(  # type: ignore[no-untyped-def]
        self, req: urllib.request.Request, fp, code: int, msg: str, headers, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_NoDowngrade)


class DownloadError(Exception):
    """No connection, an http error, or fewer bytes than announced; what has arrived is kept."""


def download(url: str, path: Path) -> None:
    """Download `url` to `path`, which appears only when complete; the caller must check its content.

    Bytes go into a `.part` file beside it, one per URL because two mirrors may pack the same content differently. If an
    interrupted download left one, only the rest is requested.

    Raises:
        DownloadError: the message has the URL, the reason and how many bytes are kept.
        UserError: the folder is not writable.
    """
    part = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise UserError(
            f"{part} cannot be written ({error.strerror})", "set METARUN_DATA to a writable folder."
        ) from error
    try:
        _fetch_rest(url, part)
    except (OSError, http.client.HTTPException) as error:  # urllib's own errors are OSErrors
        raise DownloadError(_describe_failure(url, part, error)) from error
    part.replace(path)


def download_zip(name: str, urls: Sequence[str], path: Path, remedy: str) -> Path:
    """Download a zip from the first URL that has it into `path`, and return `path`.

    Args:
        name: of the data set, for the message.
        urls: tried in this order.
        path: of the zip.
        remedy: what the user can do if none has it.

    Raises:
        UserError: none has it, or the folder cannot be written.
    """
    failures = []
    for url in urls:
        try:
            download(url, path)
            if zipfile.is_zipfile(path):
                return path
            path.unlink()  # a login page, an error page
            failures.append(f"{url}: the response is not a zip archive")
        except DownloadError as error:
            failures.append(str(error))
    raise UserError(f"{name} was not found and could not be downloaded ({'; '.join(failures)})", remedy)


def _fetch_rest(url: str, part: Path) -> None:
    start = part.stat().st_size
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310, https or what METARUN_MIRROR names
    try:
        response = _OPENER.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return  # complete, but not renamed yet
        os.truncate(part, 0)  # longer than the file now, so of an older one
        _fetch_rest(url, part)
        return
    with response:
        _write_from(response, part, start if _resumes_at(response, start) else 0)


def _resumes_at(response: http.client.HTTPResponse, start: int) -> bool:
    """Whether the server sends the bytes from `start` on, not the whole file again, which it may."""
    sent = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and sent is not None and int(sent.group(1)) == start


def _write_from(response: http.client.HTTPResponse, part: Path, start: int) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    done = start
    with part.open("r+b") as file, _progress(response.url, total) as show:
        file.truncate(start)
        file.seek(start)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            show(done)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _describe_failure(url: str, part: Path, error: Exception) -> str:
    # A URLError wraps the operating system's message; an HTTPError is one too, but its own message says more.
    reason = error.reason if type(error) is urllib.error.URLError else error
    if kept := part.stat().st_size:
        return f"{url}: {reason}, {kept:,} bytes are kept and the next try resumes from there"
    part.unlink()
    return f"{url}: {reason}"


@contextmanager
def _progress(url: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows how many bytes are done, on stderr: a bar on a terminal, else a line every 10 %."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True, soft_wrap=True)
    name = url.rpartition("/")[2]
    if not console.is_terminal:
        yield _plain_lines(console.print, name, total)
        return
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)


def _plain_lines(write: Callable[[str], None], name: str, total: int | None) -> Callable[[int], None]:
    shown = 0

    def show(done: int) -> None:
        nonlocal shown
        tenths = done * 10 // total if total else 0
        if tenths > shown:
            shown = tenths
            write(f"{name}: {done:,} of {total:,} bytes")

    return show
