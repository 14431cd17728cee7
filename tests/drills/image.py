"""Build the image with Debian's buildah, without an engine or a registry, and run it as Kubernetes would.

The base is made with debootstrap instead of being pulled, and the wheels are fetched outside: what is built has no
network. Needs root, and some minutes.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import require_tool

ROOT = Path(__file__).parents[2]
_BASE = "dragoman-base"
# A network of its own with nothing but loopback, a root that is read-only, no privileges: as the manifests say.
_RUN = """
set -eu
root=$1 user=$2 folder=$3 log=$4; shift 4
ip link set lo up
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
inside() { chroot --userspec="$user" "$root" /usr/bin/env -C "$folder" -i "$@"; }
began=$(date +%s%N)
# Not through the function, whose number would be that of a shell.
chroot --userspec="$user" "$root" /usr/bin/env -C "$folder" -i "$@" serve 2> "$log" & server=$!
until grep -q '"serving ' "$log"; do kill -0 $server; sleep 0.02; done
echo "start_milliseconds $(( ($(date +%s%N) - began) / 1000000 ))"
echo "user $(inside "$1" id -u)"
echo "writable $(inside "$1" sh -c 'touch /tmp/x /srv/x 2>/dev/null && echo yes || echo no')"
echo "network $(ip -brief link | grep -vc '^lo ' || true)"
echo "resident_kilobytes $(awk '/VmRSS/ {print $2}' "$root/proc/$server/status")"
echo "translation $(inside "$@" translate --server 127.0.0.1:50051 --from en --to fr 'Good morning.')"
kill $server
wait $server && echo "exit 0"
"""


@dataclass(frozen=True)
class Image:
    """What was built: its configuration, and its files mounted at `root`."""

    config: dict[str, Any]
    root: Path
    base: Path


class Buildah:
    """Buildah with a storage of its own, which leaves the machine's alone."""

    def __init__(self, folder: Path) -> None:
        self._command = [
            require_tool("buildah"), "--root", str(folder / "storage"), "--runroot", str(folder / "run"),
            "--storage-driver", "vfs",
        ]  # fmt: skip

    def __call__(self, *arguments: str) -> str:
        """Run one command; return what it printed. Without a network, so that nothing is pulled behind our back."""
        return run([require_tool("unshare"), "--net", *self._command, *arguments])


def run(command: list[str]) -> str:
    """Run a program to its end; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert 0 == done.returncode, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def make_base(folder: Path) -> Path:
    """Make a Debian with Python, which stands in for python:3.12-slim."""
    base = folder / "base"
    run(
        [
            require_tool("debootstrap"),
            "--variant=minbase",
            "--include=python3,python3-venv",
            "bookworm",
            str(base),
        ]
    )
    for cache in ("var/cache/apt", "var/lib/apt/lists"):  # the slim image has none either
        run(["find", str(base / cache), "-type", "f", "-delete"])
    return base


def fetch_wheels(folder: Path, python: str) -> Path:
    """Fetch what the image installs, for the Python of the base."""
    wheels = folder / "wheels"
    run([
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--python-version", python,
        "--dest", str(wheels), "--require-hashes", "--requirement", "requirements/serve.txt",
    ])  # fmt: skip
    return wheels


def build(folder: Path) -> Image:
    """Build the image from the Dockerfile."""
    buildah, base = Buildah(folder), make_base(folder)
    python = run(["chroot", str(base), "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    wheels = fetch_wheels(folder, python)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(base), "/")
    buildah("commit", "--quiet", "--rm", container, _BASE)
    buildah(
        "bud", "--isolation", "chroot", "--pull-never", "--tag", "dragoman",
        "--volume", f"{wheels}:/wheels:ro", "--build-arg", f"BASE_IMAGE=localhost/{_BASE}",
        "--build-arg", "PIP_NO_INDEX=1", "--build-arg", "PIP_FIND_LINKS=/wheels", str(ROOT),
    )  # fmt: skip
    inspected = json.loads(buildah("inspect", "--type", "image", "localhost/dragoman"))
    root = Path(buildah("mount", buildah("from", "--pull-never", "localhost/dragoman")))
    return Image(inspected["OCIv1"]["config"], root, base)


def start(image: Image, log: Path) -> dict[str, str]:
    """Run the image's server as its configuration says, translate once, stop it; return what was observed."""
    config = image.config
    command = [
        require_tool("unshare"), "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _RUN, "sh",
        str(image.root), config["User"], config["WorkingDir"], str(log), *config["Env"], *config["Entrypoint"],
    ]  # fmt: skip
    return dict(line.split(" ", 1) for line in run(command).splitlines())


def megabytes(root: Path) -> float:
    """Return the size of a tree, each file counted once."""
    return round(int(run(["du", "--summarize", "--bytes", str(root)]).split()[0]) / 1e6, 1)
