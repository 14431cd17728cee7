"""The recipe of the image: what can be said without building it. Built and run: tests/drills/test_image.py."""

import re
import subprocess
import sys
from pathlib import Path

from dragoman import __version__
from dragoman.config import Settings
from tests.deploy.manifests import ROOT, rendered

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_hadolint() -> None:
    """
    The linter of Dockerfiles has nothing to say.
    """
    hadolint = Path(sys.executable).parent / "hadolint"  # of the extra `dev`
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout)


def test_agrees_with_settings_and_manifests() -> None:
    """
    Ports are the server's defaults, the user is the pods', the version is the project's.
    """
    security = rendered("minimal").pod["spec"]["securityContext"]

    assert f"EXPOSE {Settings().port} {Settings().metrics_port}\n" in DOCKERFILE
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in DOCKERFILE
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE


def test_context_holds_what_is_copied() -> None:
    """
    All that the Dockerfile copies is let in by .dockerignore, and the code that trains is not.
    """
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)

    sources = {source for line in copied for source in line.split()}

    assert sources == {line[1:] for line in ignore if line.startswith("!")} - {
        "models",
        "models/bundles",
        "requirements",
    }
    assert {"*", "models/*", "models/bundles/*", "requirements/*"} <= set(ignore)


def test_sends_nothing_home() -> None:
    """
    The runtime's reports to its maker are switched off.
    """
    assert "ORT_DISABLE_TELEMETRY=1" in DOCKERFILE
