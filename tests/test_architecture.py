"""The rules of the house that import-linter cannot see."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import refused_excuse

ROOT = Path(__file__).parents[1]
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40

# `path` or `path:function` -> why it is better long. Each entry was argued in a review.
LONGER_FOR_A_REASON = {"service/dragoman/config.py": "one setting after another, each with what it is for"}

# Programs of models/ that run the path that serves; all others know texts and bundles only.
RUN_THE_SERVING_PATH = {
    "aer",
    "behaviour",
    "bleu",
    "marks",
    "distill",
    "export",
    "finetune_evaluation",
    "known_answers",
    "parity",
}
SHARED_WITH_TRAINING = {
    "dragoman.text",
    "dragoman.bundle",
    "dragoman.errors",
    "dragoman.alignment",
    "dragoman.convert",
}


def source_files() -> list[Path]:
    """Return the modules we write by hand, tests aside."""
    files = [*ROOT.glob("service/**/*.py"), *ROOT.glob("models/**/*.py")]
    return sorted(file for file in files if "v1" not in file.relative_to(ROOT).parts)


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module, methods and nested ones too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported_names(file: Path) -> Iterator[str]:
    """Yield the dotted name of everything a module imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_serving_does_not_load_torch() -> None:
    """
    The serving process starts in an image that has no torch.
    """
    program = "import sys, dragoman.cli.main, dragoman.rpc.server; sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_training_shares_text_and_bundle_only() -> None:
    """
    Training meets serving in the treatment of text, the bundle and how figures look; only what measures a bundle runs it.
    """
    strangers = {
        f"{file.name} imports {name}"
        for file in ROOT.glob("models/**/*.py")
        if file.stem not in RUN_THE_SERVING_PATH
        for name in imported_names(file)
        if name.startswith("dragoman.") and ".".join(name.split(".")[:2]) not in SHARED_WITH_TRAINING
    }

    assert set() == strangers


def test_modules_fit_in_the_head() -> None:
    """
    A module has at most 400 lines, or says here why not.
    """
    sizes = {
        str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in source_files()
    }

    too_long = {path: size for path, size in sizes.items() if size > MAX_MODULE_LINES}

    assert {} == {path: size for path, size in too_long.items() if path not in LONGER_FOR_A_REASON}


def test_functions_fit_on_a_screen() -> None:
    """
    A function has at most 40 lines, or says here why not.
    """
    sizes = {
        f"{file.relative_to(ROOT)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for file in source_files()
        for function in functions(file)
    }

    too_long = {path: size for path, size in sizes.items() if size > MAX_FUNCTION_LINES}

    assert {} == {path: size for path, size in too_long.items() if path not in LONGER_FOR_A_REASON}


def test_dependencies_are_justified() -> None:
    """
    Every direct dependency says on its own line what it is for.
    """
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]

    unexplained = [
        requirement
        for group in groups
        for requirement in group
        if not re.search(rf'^ *"{re.escape(requirement)}", *# \w+', text, re.MULTILINE)
    ]

    assert [] == unexplained


def test_dependencies_are_pinned() -> None:
    """
    Every direct dependency has its exact version in constraints.txt, and no pin depends on a machine.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    pinned = {pin.split("==")[0].lower().replace("_", "-") for pin in pins}
    wanted = {re.split(r"[<>=]", requirement)[0].lower() for group in groups for requirement in group}

    assert set() == wanted - pinned
    assert [] == [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)]


@pytest.mark.parametrize(
    ("environ", "reason", "refused"),
    [
        ({"CI": "true"}, "missing tool: promtool", True),
        ({"CI": "true"}, "could not import 'torch': No module named 'torch'", True),
        ({"CI": "true"}, "needs two processors", False),
        ({}, "missing tool: promtool", False),
    ],
)
def test_continuous_integration_has_every_tool(environ: dict[str, str], reason: str, refused: bool) -> None:
    """
    With CI=true a test skipped for a missing tool is a failure; other skips, and developers, are left alone.
    """
    excuse = refused_excuse(("test_x.py", 1, f"Skipped: {reason}"), environ)

    assert refused == (excuse is not None)
