"""Key files are changed one at a time, and are never half-written."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dragoman.errors import ConfigError
from dragoman.security import key_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a key file will be."""
    return tmp_path / "keys.json"


def test_create_and_revoke(path: Path) -> None:
    """
    A key that was made is found, until it is revoked; the others stay.
    """
    first, second = key_store.create(path, "first"), key_store.create(path, "second", requests_per_minute=5)

    found = key_store.read(path).find(second)
    key_store.revoke(path, "first")

    assert found is not None
    assert ("second", 5) == (found.id, found.requests_per_minute)
    assert key_store.read(path).find(first) is None
    assert key_store.read(path).find(second) is not None


def test_the_file_does_not_hold_the_key(path: Path) -> None:
    """
    Neither the key nor its secret is in the file, which only its owner can read, and nothing else is left behind.
    """
    old = os.umask(0)
    try:
        key = key_store.create(path, "a")
    finally:
        os.umask(old)

    assert key.split("_", 2)[2] not in path.read_text()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize("id_", ["a", "A", "x_y", "", "x" * 65])
def test_refused(path: Path, id_: str) -> None:
    """
    An id that is taken or malformed leaves the file as it was.
    """
    key_store.create(path, "a")
    before = path.read_bytes()

    with pytest.raises(ConfigError):
        key_store.create(path, id_)

    assert before == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_unknown(path: Path) -> None:
    """
    Only a key that is there can be revoked.
    """
    key_store.create(path, "a")

    with pytest.raises(ConfigError, match="there is no key 'b'"):
        key_store.revoke(path, "b")


def test_a_broken_file_is_left_alone(path: Path) -> None:
    """
    A file that makes no sense is not written over: somebody may still repair it.
    """
    path.write_text("{")

    with pytest.raises(ConfigError, match=r"keys\.json: 1 bytes that are not JSON"):
        key_store.create(path, "a")

    assert "{" == path.read_text()


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    """
    The file behind a symbolic link is replaced, not the link.
    """
    behind = tmp_path / "elsewhere" / "real.json"
    behind.parent.mkdir()
    path.symlink_to(behind)

    key_store.create(path, "a")

    assert path.is_symlink()
    assert "a" in key_store.read(behind).by_id


def test_readers_stay_readers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A changed file has the mode, owner and group of the one before: whoever read that learns of a revocation.
    """
    given: list[tuple[int, int]] = []
    key_store.create(path, "a")
    path.chmod(0o640)
    group = path.stat().st_gid
    monkeypatch.setattr(os, "getegid", lambda: group + 1)
    monkeypatch.setattr(os, "fchown", lambda _, owner, group: given.append((owner, group)))

    key_store.revoke(path, "a")

    assert 0o640 == stat.S_IMODE(path.stat().st_mode)
    assert [(path.stat().st_uid, group)] == given


def test_at_the_same_time(path: Path) -> None:
    """
    Of keys made at the same moment none is lost.
    """
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: key_store.create(path, f"k{number}"), range(40)))

    assert 40 == len(key_store.read(path).keys)


def test_killed_while_writing(path: Path) -> None:
    """
    Whoever dies while it writes leaves the old file whole, and no lock.
    """
    key_store.create(path, "a")
    before = path.read_bytes()
    program = (
        "import os, sys; from pathlib import Path; from dragoman.security import key_store\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        "key_store.create(Path(sys.argv[1]), 'b')"
    )

    done = subprocess.run([sys.executable, "-c", program, path], check=False, timeout=30)

    assert (-9, before) == (done.returncode, path.read_bytes())
    key_store.create(path, "c")
    assert ["a", "c"] == [key.id for key in key_store.read(path).keys]
