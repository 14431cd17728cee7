"""Fetch files over HTTP: resumed where they broke off, checked, and never taken for whole before they are.

Below *recipes*. Standard library alone. A download grows in `NAME.part`; it gets its name when its length is
what the server said and its SHA-256 what was expected.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BLOCK_BYTES = 1 << 18
TIMEOUT_SECONDS = 60.0  # without a byte
BUSY = {408, 425, 429}  # the codes below 500 that are worth another attempt
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Advance = Callable[[int, int | None], None]  # bytes that are here, bytes in all if the server says


class DownloadError(Exception):
    """A file cannot be fetched, or is not what it should be; the message names its URL."""


class _BrokenOff(Exception):
    """An attempt came to nothing or not to the end; another may do better."""


@dataclass(frozen=True)
class Patience:
    """How often to try, and how long to wait before the second time; each wait is twice the one before."""

    attempts: int = 6
    pause_seconds: float = 1.0


def fetch(
    url: str, path: Path, expected: str | None, advance: Advance, patience: Patience | None = None
) -> str:
    """Make sure that a file is at its place, and return its SHA-256.

    Args:
        expected: The SHA-256 it must have, if it is known.

    Raises:
        DownloadError: It is not there, too many attempts failed, or it is something else. What has arrived
            is kept for the next time, unless it is wrong.
    """
    patience = patience or Patience()
    part = path.with_name(f"{path.name}.part")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_part(url, part, advance, patience, is_checked=expected is not None)
        found = sha256(part)
        if expected not in (None, found):
            part.unlink()
            raise DownloadError(f"{url}: SHA-256 is {found}, want {expected}; what was fetched is deleted")
        part.replace(path)
        _validator(part).unlink(missing_ok=True)
        return found
    found = sha256(path)
    if expected not in (None, found):
        raise DownloadError(f"{path}: SHA-256 is {found}, want {expected}; delete it to fetch it anew")
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_part(url: str, part: Path, advance: Advance, patience: Patience, *, is_checked: bool) -> None:
    """Try until everything is there."""
    reason = ""
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause_seconds * 2 ** (attempt - 1))
        try:
            return _attempt(url, part, advance, is_checked=is_checked)
        except HTTPError as error:
            error.close()
            reason = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in BUSY:
                raise DownloadError(f"{url}: {reason}") from None
        except (_BrokenOff, HTTPException, OSError) as error:
            reason = str(error) or type(error).__name__
        except ValueError as error:  # what is no URL
            raise DownloadError(f"{url}: {error}") from None
    kept = part.stat().st_size if part.exists() else 0
    raise DownloadError(
        f"{url}: given up after {patience.attempts} attempts ({reason}); {kept:,} bytes are kept for the next time"
    )


def _attempt(url: str, part: Path, advance: Advance, *, is_checked: bool) -> None:
    """Ask for what is missing and append it.

    Raises:
        _BrokenOff, HTTPError, HTTPException, OSError: Try again, or not.
    """
    here = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "dragoman-recipes/1"})
    if here:
        request.add_header("Range", f"bytes={here}-")
        if _validator(part).exists():  # the rest is of use only if the file is still the same
            request.add_header("If-Range", _validator(part).read_text("utf-8"))
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416 and here and _is_all(error.headers.get("Content-Range", ""), here):
            return error.close()
        if error.code == 416:  # it is shorter than what is here, so this was another file
            part.unlink()
            error.close()
            raise _BrokenOff("the file has changed") from None
        raise
    with response:
        start = _start(response, here)
        total = _total(response, start)
        if total is None and not response.chunked and not is_checked:  # then any end would look like the end
            raise DownloadError(f"{url}: the server does not say how long it is, and no checksum is known")
        _note_validator(part, response)
        with part.open("r+b" if part.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            _append(response, file, start, total, advance)


def _append(response: HTTPResponse, file: BinaryIO, here: int, total: int | None, advance: Advance) -> None:
    advance(here, total)
    while block := response.read(BLOCK_BYTES):
        file.write(block)
        here += len(block)
        advance(here, total)
    if total not in (None, here):
        raise _BrokenOff(f"it ended after {here:,} of {total:,} bytes")


def _start(response: HTTPResponse, here: int) -> int:
    """Return where what comes belongs: behind what is here, or at the beginning if the server starts anew."""
    if response.status != 206:
        return 0
    told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if told is None or int(told[1]) > here:
        raise _BrokenOff("the server sent another part than it was asked for")
    return int(told[1])


def _total(response: HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return start + int(length) if length is not None and not response.chunked else None


def _is_all(content_range: str, here: int) -> bool:
    """Tell whether a server that has nothing to add says that this is because everything is here."""
    return content_range.rpartition("/")[2] == str(here)


def _validator(part: Path) -> Path:
    """Return where it is noted which version of the file has begun to arrive."""
    return part.with_name(f"{part.name}.version")


def _note_validator(part: Path, response: HTTPResponse) -> None:
    tag = response.headers.get("ETag", "")
    known = (
        tag if tag.startswith('"') else response.headers.get("Last-Modified")
    )  # weak tags promise too little
    if known:
        _validator(part).write_text(known, encoding="utf-8")
    else:
        _validator(part).unlink(missing_ok=True)
