"""Standard streams that whoever started the command has closed, or that are full."""

import os
import subprocess
from pathlib import Path

import pytest

from dragoman.config import DEFAULT_BUNDLE
from tests.cli.test_main import COMMAND, PATIENCE, ROOT, environment
from tests.process import serving

CHECK = ["check", str(DEFAULT_BUNDLE)]
TRANSLATE = ["translate", "--from", "en", "--to", "fr"]


def in_shell(arguments: list[str], redirection: str) -> tuple[int, str, str]:
    """Run a command as a shell starts it, and return its exit code and what it says."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *arguments],
        capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, env=environment(), check=False,
        input="Hello.\n",
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "redirection", "said"),
    [
        (CHECK, ">&-", "dragoman: standard output: Bad file descriptor\n"),
        (["--help"], ">&-", "dragoman: standard output: Bad file descriptor\n"),
        (CHECK, "> /dev/full", "No space left on device\n"),
        (TRANSLATE, "<&-", "dragoman: standard input: Bad file descriptor\n"),
        (["keys", "list", "--file", "/nonexistent"], "2>&-", ""),
        (["--help"], ">&- 2>&- <&-", ""),
    ],
)
def test_what_cannot_be_written(arguments: list[str], redirection: str, said: str) -> None:
    """
    A command that cannot read or write what it should says so in one line, if it can, and fails.
    """
    code, output, error = in_shell(arguments, redirection)

    assert (1, "") == (code, output)
    assert error.endswith(said)
    assert len(error.splitlines()) == len(said.splitlines())


def test_nobody_to_complain_to() -> None:
    """
    Where standard error is closed, translations come nevertheless.
    """
    code, output, _ = in_shell(TRANSLATE, "2>&-")

    assert (0, True) == (code, bool(output.strip()))


def test_serve(tmp_path: Path) -> None:
    """
    A server whose standard input and output are closed does not take their numbers for anything else, and ends well.
    """
    with serving(tmp_path, shell='exec "$@" <&- >&-') as process:
        found = {
            number: str(Path(f"/proc/{process.process.pid}/fd/{number}").readlink()) for number in (0, 1)
        }

        assert {0: os.devnull, 1: os.devnull} == found
