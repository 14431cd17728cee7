"""What all tests share: on continuous integration, nothing is skipped for want of a tool.

A developer without promtool or torch may run the other tests; the run that decides about a change may not. Tests ask
for programs with `require_tool` and for libraries with `pytest.importorskip`.
"""

import os
import shutil
from collections.abc import Generator, Mapping
from typing import TypeVar

import hypothesis
import pytest

from dragoman import bundle
from dragoman.bundle import Bundle
from dragoman.config import DEFAULT_BUNDLE
from dragoman.text.tokenizer import Tokenizer

pytest_plugins = ["tests.engines", "tests.servers"]  # fixtures of several rooms

hypothesis.settings.load_profile("ci")  # the same inputs each time, and no deadline: machines stall

ReportT = TypeVar("ReportT", pytest.TestReport, pytest.CollectReport)

EXCUSES = ("missing tool", "could not import")


def require_tool(name: str) -> str:
    """Return the path of a program, or skip the test that needs it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"missing tool: {name}")
    return path


def refused_excuse(longrepr: object, environ: Mapping[str, str]) -> str | None:
    """Return why a skip is a failure here, or None where it is allowed.

    Args:
        longrepr: What pytest reports of a skip: file, line and reason.
        environ: The environment, where CI=true means that every tool must be there.
    """
    if environ.get("CI") != "true" or not isinstance(longrepr, tuple):
        return None
    reason = str(longrepr[2]).removeprefix("Skipped: ")
    if not reason.startswith(EXCUSES):
        return None
    return f"CI=true: a test may not be skipped for this: {reason}"


class Scale:
    """How large a drill is: its full size, or two per cent of it."""

    def __init__(self, *, is_full: bool) -> None:
        self.is_full = is_full

    def __call__(self, size: int, *, least: int = 1) -> int:
        """Return what a size comes to."""
        return size if self.is_full else max(least, size // 50)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make drills`."""
    parser.addoption("--full", action="store_true", help="run drills at full size, not at 2 per cent")


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """Return how large drills are in this run."""
    return Scale(is_full=request.config.getoption("--full"))


def _refuse(report: ReportT) -> ReportT:
    excuse = refused_excuse(report.longrepr, os.environ) if report.skipped else None
    if excuse is not None:
        report.outcome = "failed"
        report.longrepr = excuse
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that skipped itself for want of a tool."""
    return _refuse((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that skipped itself for want of a library."""
    return _refuse((yield))


@pytest.fixture(scope="session")
def default_bundle() -> Bundle:
    """Return the embedded bundle."""
    return bundle.load(DEFAULT_BUNDLE)


@pytest.fixture(scope="session")
def tokenizer(default_bundle: Bundle) -> Tokenizer:
    """Return the tokenizer of the embedded bundle."""
    return Tokenizer.from_file(default_bundle.path(bundle.TOKENIZER))
