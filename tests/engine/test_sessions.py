"""Sessions of the runtime: quiet ones."""

import subprocess
import sys
from pathlib import Path

from dragoman.bundle import Bundle

OPEN = (
    "import sys, pathlib; from dragoman import bundle; from dragoman.engine.sessions import open_sessions; "
)
OPEN += "open_sessions(bundle.load(pathlib.Path(sys.argv[1])), threads=1)"


def test_nothing_is_reported(default_bundle: Bundle, tmp_path: Path) -> None:
    """
    The runtime's telemetry is off: it leaves no identifier and no data base of events in the user's cache.
    """
    command = [sys.executable, "-c", OPEN, str(default_bundle.folder)]
    done = subprocess.run(
        command, env={"HOME": str(tmp_path)}, cwd=Path(__file__).parents[2], capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert [] == list(tmp_path.rglob("*"))
