"""`dragoman completion`: a script that completes commands and options in a shell."""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from dragoman.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish", "tcsh")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the name of the shell."""
    parser.add_argument("shell", choices=SHELLS, help='in ~/.bashrc: eval "$(dragoman completion bash)"')


def script(parser: Parser, shell: str) -> str:
    """Return the script for a shell; options that take a path complete file names."""
    _complete_paths(parser)
    return shtab.complete(parser, shell)


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_paths(command)
        elif action.type is Path or action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
