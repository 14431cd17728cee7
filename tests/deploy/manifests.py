"""The Kubernetes manifests as kubectl renders them, and short ways to their parts."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import require_tool

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
Resource = dict[str, Any]

OVERLAYS = {
    "minimal": DEPLOY / "overlays/minimal",
    "production": DEPLOY / "overlays/production",
    "model-volume": ROOT / "tests/deploy/overlays/model-volume",  # a component that no overlay uses
}


class Rendered:
    """What an overlay comes to."""

    def __init__(self, name: str, resources: list[Resource]) -> None:
        self.name, self.resources = name, resources

    def all(self, kind: str) -> list[Resource]:
        """Return the resources of a kind."""
        return [resource for resource in self.resources if resource["kind"] == kind]

    def one(self, kind: str) -> Resource:
        """Return the only resource of a kind."""
        [resource] = self.all(kind)
        return resource

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings that the server gets."""
        [data] = [item["data"] for item in self.all("ConfigMap") if "DRAGOMAN_PORT" in item["data"]]
        found: dict[str, str] = data
        return found

    @property
    def live_settings(self) -> str:
        """Return the settings file that the server gets; without one, an empty file."""
        found = [item["data"] for item in self.all("ConfigMap") if "dragoman.toml" in item["data"]]
        return "".join(data["dragoman.toml"] for data in found)

    @property
    def pod(self) -> Resource:
        """Return the template of the pods."""
        template: Resource = self.one("Deployment")["spec"]["template"]
        return template

    @property
    def container(self) -> Resource:
        """Return the container of the server."""
        [container] = self.pod["spec"]["containers"]
        found: Resource = container
        return found

    @property
    def ports(self) -> dict[str, int]:
        """Return the ports of the container, by name."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}


def render(folder: Path) -> list[Resource]:
    """Return what `kubectl kustomize` makes of a folder."""
    if folder not in _rendered:
        command = [require_tool("kubectl"), "kustomize", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (0, "") == (done.returncode, done.stderr), done.stderr
        _rendered[folder] = list(yaml.safe_load_all(done.stdout))
    return _rendered[folder]


_rendered: dict[Path, list[Resource]] = {}  # a second each, and several modules ask
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def rendered(name: str) -> Rendered:
    """Return an overlay."""
    return Rendered(name, render(OVERLAYS[name]))


def read(path: str) -> Any:
    """Return a YAML file of `deploy/`."""
    return yaml.safe_load((DEPLOY / path).read_text("utf-8"))
