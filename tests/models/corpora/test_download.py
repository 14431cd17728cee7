"""Downloads from a home that breaks off, forgets ranges, changes and lies."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.corpora.download import DownloadError, Patience, fetch
from tests.models.corpora.http_home import Home, open_home

ROOT = Path(__file__).parents[3]
CONTENT = bytes(range(256)) * 400
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
SOON = Patience(attempts=4, pause_seconds=0.001)


@pytest.fixture
def home() -> Iterator[Home]:
    """Return a home with one file."""
    opened, server = open_home()
    opened.files["a.zip"] = CONTENT
    yield opened
    server.shutdown()
    server.server_close()


def get(home: Home, folder: Path, expected: str | None = CHECKSUM, name: str = "a.zip") -> Path:
    """Fetch the file and return where it is."""
    told: list[int] = []
    fetch(home.url(name), folder / "a.zip", expected, lambda here, total: told.append(here), SOON)
    assert told[-1:] in ([len(CONTENT)], [])
    return folder / "a.zip"


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_fetches_once(home: Home, tmp_path: Path) -> None:
    """
    A file is fetched, gets its name, leaves nothing beside it, and is not fetched again.
    """
    first = get(home, tmp_path).read_bytes()
    get(home, tmp_path)

    assert first == CONTENT
    assert [""] == home.asked
    assert ["a.zip"] == names(tmp_path)


def test_goes_on_where_it_broke_off(home: Home, tmp_path: Path) -> None:
    """
    An answer that ends too early is not taken for the file: the rest is asked for, and only the rest.
    """
    home.faults = ["cut", "cut"]

    assert get(home, tmp_path).read_bytes() == CONTENT

    half, three_quarters = len(CONTENT) // 2, len(CONTENT) * 3 // 4
    assert ["", f"bytes={half}-", f"bytes={three_quarters}-"] == home.asked


def test_begins_anew_where_ranges_are_ignored(home: Home, tmp_path: Path) -> None:
    """
    A server that sends everything again is understood: nothing is appended to what was there.
    """
    home.faults, home.has_ranges = ["cut"], False

    assert get(home, tmp_path).read_bytes() == CONTENT

    assert 2 == len(home.asked)


def test_begins_anew_when_the_file_has_changed(home: Home, tmp_path: Path) -> None:
    """
    Halves of two versions are never put together.
    """
    home.faults = ["cut", "404"]
    with pytest.raises(DownloadError, match="404"):
        get(home, tmp_path)
    home.files["a.zip"], home.version = CONTENT[::-1], '"2"'

    assert get(home, tmp_path, hashlib.sha256(CONTENT[::-1]).hexdigest()).read_bytes() == CONTENT[::-1]


def test_a_whole_part_is_enough(home: Home, tmp_path: Path) -> None:
    """
    Killed between the last byte and the renaming, it only renames; a part longer than the file begins anew.
    """
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    assert get(home, tmp_path).read_bytes() == CONTENT

    (tmp_path / "a.zip").unlink()
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    assert get(home, tmp_path).read_bytes() == CONTENT


def test_busy_homes_are_asked_again_but_not_for_ever(home: Home, tmp_path: Path) -> None:
    """
    Errors of the server pass or do not; the number of attempts is bounded, and what has arrived is kept.
    """
    home.faults = ["503", "429", "500"]
    assert get(home, tmp_path).read_bytes() == CONTENT

    (tmp_path / "a.zip").unlink()
    home.faults, home.asked = ["cut", "503", "503", "503", "503"], []
    with pytest.raises(
        DownloadError, match=rf"after 4 attempts \(HTTP 503.*{len(CONTENT) // 2:,} bytes are kept"
    ):
        get(home, tmp_path)
    assert 4 == len(home.asked)
    assert "a.zip" not in names(tmp_path)


def test_what_is_not_there_is_not_asked_for_twice(home: Home, tmp_path: Path) -> None:
    """
    A 404 is final, and names the address.
    """
    with pytest.raises(DownloadError, match=rf"{home.url('b.zip')}: HTTP 404"):
        get(home, tmp_path, name="b.zip")

    assert [""] == home.asked
    assert [] == names(tmp_path)


def test_a_wrong_checksum_leaves_nothing(home: Home, tmp_path: Path) -> None:
    """
    A file that is something else is deleted, not kept under its name; one that was altered later is named.
    """
    with pytest.raises(DownloadError, match=f"SHA-256 is {CHECKSUM}, want 00"):
        get(home, tmp_path, "00")
    assert "a.zip" not in names(tmp_path)
    assert "a.zip.part" not in names(tmp_path)

    get(home, tmp_path).write_bytes(b"altered")
    with pytest.raises(DownloadError, match="delete it to fetch it anew"):
        get(home, tmp_path)


def test_an_end_that_nobody_can_check_is_refused(home: Home, tmp_path: Path) -> None:
    """
    Without a length a truncated file looks whole: it is taken only if the checksum says so.
    """
    home.has_length = False
    with pytest.raises(DownloadError, match="does not say how long"):
        get(home, tmp_path, None)
    assert get(home, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a", "http://[/a"])
def test_no_home_at_all(tmp_path: Path, url: str) -> None:
    """
    Nobody at the address, or no address: an error that names it.
    """
    with pytest.raises(DownloadError, match=r"http://"):
        fetch(url, tmp_path / "a", None, lambda here, total: None, SOON)


def test_killed_and_resumed(home: Home, tmp_path: Path) -> None:
    """
    Killed with SIGKILL while it waits for more, the next process asks for the rest only.
    """
    home.faults = ["cut", "503"]
    program = (
        "import sys; from pathlib import Path; from models.corpora.download import Patience, fetch\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), None, lambda *_: None, Patience(9, 60.0))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, home.url("a.zip"), str(tmp_path / "a.zip")], cwd=ROOT, env=os.environ
    )
    part = tmp_path / "a.zip.part"
    while not (part.exists() and part.stat().st_size == len(CONTENT) // 2):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    home.faults = []

    assert get(home, tmp_path).read_bytes() == CONTENT

    assert f"bytes={len(CONTENT) // 2}-" == home.asked[-1]
