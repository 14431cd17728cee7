"""The image, built and run for real. `make drills` only: it takes minutes, root, buildah and debootstrap."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.drills.image import Image, build, megabytes, start

RESULTS = Path(__file__).parent / "results/image.json"
pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Return the image of this checkout."""
    if not request.config.getoption("--full"):
        pytest.skip("building an image takes minutes: --full")
    if os.geteuid() != 0:
        pytest.skip("only root may make a file system of its own")
    for tool in ("buildah", "debootstrap", "ip", "unshare"):
        require_tool(tool)
    folder = tmp_path_factory.mktemp("image")
    yield build(folder)
    shutil.rmtree(folder)  # pytest would keep a gigabyte of each of the last three


def test_serves_from_a_sealed_box(image: Image, tmp_path: Path) -> None:
    """
    The server starts without a network, as a nameless user, on a read-only root; it translates and ends with 0.

    Size and time to start are written to results/image.json.
    """
    log = tmp_path / "server.log"

    seen = start(image, log)

    assert ("65532", "no", "0", "0") == (seen["user"], seen["writable"], seen["network"], seen["exit"])
    assert seen["translation"]
    assert [] == [line for line in log.read_text("utf-8").splitlines() if not line.startswith("{")]
    added = megabytes(image.root) - megabytes(image.base)
    figures = {
        "added_to_base_megabytes": round(added, 1),
        "base_megabytes": megabytes(image.base),
        "start_seconds": int(seen["start_milliseconds"]) / 1000,
        "resident_megabytes_at_rest": round(int(seen["resident_kilobytes"]) / 1000, 1),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    assert added < 250


def test_holds_what_serving_needs(image: Image) -> None:
    """
    No torch, no training code, no compiler, no pip of its own; the bundle is inside.
    """
    app, site = image.root / "srv/dragoman", next(image.root.glob("opt/dragoman/lib/python3*/site-packages"))

    assert ["bundles"] == [path.name for path in (app / "models").iterdir()]
    assert ["default"] == [path.name for path in (app / "models/bundles").iterdir()]
    assert {"LICENSE", "models", "service"} == {path.name for path in app.iterdir()}
    assert [] == [name for name in ("torch", "onnx", "pip", "setuptools") if (site / name).exists()]
    assert [] == [name for name in ("cc", "gcc", "clang") if (image.root / "usr/bin" / name).exists()]


def test_is_labelled(image: Image) -> None:
    """
    The image says what it is, and runs `serve` as a user with a number.
    """
    config = image.config

    assert "dragoman" == config["Labels"]["org.opencontainers.image.title"]
    assert {"version", "revision", "licenses", "description"} <= {
        name.removeprefix("org.opencontainers.image.") for name in config["Labels"]
    }
    assert ("65532:65532", ["serve"]) == (config["User"], config["Cmd"])
    assert {"50051/tcp", "9464/tcp"} == config["ExposedPorts"].keys()
