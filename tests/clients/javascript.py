"""What JavaScript clients need: node, and the libraries that their lock file names."""

import subprocess
from pathlib import Path

from tests.conftest import require_tool

FOLDER = Path(__file__).parent / "node"
_INSTALL = ("ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel=error")


def node() -> str:
    """Return the path of node, once the libraries are there; installed only when the lock file has changed."""
    program, npm = require_tool("node"), require_tool("npm")
    wanted, installed = FOLDER / "package-lock.json", FOLDER / "node_modules/.installed"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        subprocess.run([npm, *_INSTALL], cwd=FOLDER, check=True, timeout=300)
        installed.write_bytes(wanted.read_bytes())
    return program
