"""Downloads of files: in pieces where the connection breaks, and checked before they get their names.

What has come is kept as NAME.partial when the connection breaks, or the process is killed, and the next
download goes on after it, if the server still has the same file (its ETag or date; RFC 9110, sections 13 and
14) or the hash will show it. A file with the final name is complete.
"""

import errno
import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ..errors import PullError
from ..system.atomic_file import FULL, PARTIAL
from ..system.notices import progress_bar

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_N_ATTEMPTS = 5  # without a byte of progress
_PAUSE = 1.0  # seconds; twice as long each time
_RETRIED = (408, 429, 500, 502, 503, 504)
_MAX_PAUSE = 60.0
_OF_DISK = {*FULL, errno.EACCES, errno.EROFS, errno.EPERM}


def download(
    url: str, path: Path, *, title: str, sha256: str | None = None, headers: Mapping[str, str] | None = None
) -> None:
    """Fetches the GGUF file at `url` to `path`; `title` names it on the progress bar.

    Its hash must be `sha256`, hexadecimal digits, if that is known. `headers` go to the server of `url`
    alone, not to those that it redirects to.  Raises PullError, or the OSError of a full disk.
    """
    _Download(url, path, title, sha256, headers or {}).run()


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Does not follow a redirect from https to what is not."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and req.type == "https" and made.type != "https":
            raise PullError(f"{req.full_url} leads to {newurl}, which would come unprotected")
        return made


class _Changed(Exception):
    """The server has another file now than the one of which a part is here."""


class _Download:
    """One file, by its address, to its path."""

    def __init__(
        self, url: str, path: Path, title: str, sha256: str | None, headers: Mapping[str, str]
    ) -> None:
        self._url, self._path, self._title = url, path, title
        self._sha256, self._headers = sha256, headers
        self._partial = path.with_name(path.name + PARTIAL)
        self._mark = path.with_name(path.name + ".version")
        """Which version of the file the part is of: an ETag, or a date."""
        self._opener = urllib.request.build_opener(_NoDowngrade)

    def run(self) -> None:
        n_idle, n_before = 0, self._n_here()
        with progress_bar(self._title) as bar:
            while True:
                try:
                    if self._attempt(bar):
                        break
                    reason, pause = "the connection was cut", _PAUSE * 2**n_idle
                except _Changed:
                    self._forget()
                    reason, pause = "the file has changed", 0.0
                except urllib.error.HTTPError as error:
                    with error:
                        if error.code not in _RETRIED:
                            raise PullError(self._refusal(error.code)) from error
                        reason, pause = f"the server answers {error.code}", _pause(error, _PAUSE * 2**n_idle)
                except (OSError, http.client.HTTPException) as error:
                    if isinstance(error, OSError) and error.errno in _OF_DISK:
                        error.filename = error.filename or os.fspath(self._partial)
                        raise
                    reason, pause = _reason(error), _PAUSE * 2**n_idle
                n_idle = n_idle + 1 if self._n_here() <= n_before else 0
                n_before = self._n_here()
                if n_idle >= _N_ATTEMPTS:
                    kept = f"; the {n_before} bytes that came are kept for the next pull" if n_before else ""
                    raise PullError(f"{self._url} could not be fetched: {reason}{kept}")
                time.sleep(min(pause, _MAX_PAUSE))
        self._finish()

    def _n_here(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _forget(self) -> None:
        for path in (self._partial, self._mark):
            path.unlink(missing_ok=True)

    def _attempt(self, bar: Any) -> bool:
        """Fetches what is missing; -> is the file complete?"""
        start = self._n_here() if self._mark.exists() or self._sha256 else 0
        request = urllib.request.Request(self._url, headers={"User-Agent": "nybble"})
        for name, value in self._headers.items():
            request.add_unredirected_header(name, value)
        if start:
            request.add_header("Range", f"bytes={start}-")
        if start and self._mark.exists():
            request.add_header("If-Range", self._mark.read_text(encoding="latin-1"))
        try:
            response = self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not start:
                raise
            error.close()
            if error.headers.get("Content-Range") == f"bytes */{start}":  # all of it is here
                return True
            raise _Changed from error
        with response:
            if response.status != 206:
                self._forget()
                start = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise _Changed
            total = _total(response, start)
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if version and not version.startswith("W/") and not start:
                self._mark.write_text(version, encoding="latin-1")
            bar.total, bar.n = total, start
            return self._receive(response, start, total, bar)

    def _receive(self, response: IO[bytes], start: int, total: int | None, bar: Any) -> bool:
        n_here = start
        with open(self._partial, "ab" if start else "wb") as file:
            is_cut = False
            while not is_cut:
                try:
                    chunk = response.read(_CHUNK)
                except http.client.IncompleteRead as error:
                    chunk, is_cut = error.partial, True
                if not chunk:
                    break
                n_here += len(chunk)
                file.write(chunk)
                bar.update(len(chunk))
        return not is_cut and total in (None, n_here)

    def _finish(self) -> None:
        """Checks what came, and gives the file its name."""
        expected = self._sha256
        with open(self._partial, "rb") as file:
            magic = file.read(4)
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest() if expected else None
            os.fsync(file.fileno())
        if found != expected or magic != b"GGUF":
            self._forget()
            problem = (
                f"its sha256 is {found}, expected {expected}" if found != expected else f"it begins {magic!r}"
            )
            raise PullError(
                f"what came from {self._url} is damaged, or another file: {problem}; it was deleted"
            )
        os.replace(self._partial, self._path)
        self._mark.unlink(missing_ok=True)

    def _refusal(self, code: int) -> str:
        host = urlsplit(self._url).hostname
        found = {
            401: "it asks for a password, and nybble sends none; fetch the file by other means",
            403: "it does not let you have the file",
            404: "there is no such file; check the address",
            410: "the file is gone",
        }
        return f"{host} answers {code} for {self._url}: {found.get(code, 'it does not send the file')}"


def _total(response: Any, start: int) -> int | None:
    """The size of the whole file; None if the server does not say it."""
    length = response.headers.get("Content-Length")
    return start + int(length) if length is not None and length.isdecimal() else None


def _pause(error: urllib.error.HTTPError, usual: float) -> float:
    """The seconds that the server wants us to wait."""
    told = error.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else usual


def _reason(error: Exception) -> str:
    """What broke a connection; PullError for a certificate, which the next attempt would not change."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise PullError(f"the server's certificate is not to be trusted: {cause}") from error
    return str(cause) or type(cause).__name__
