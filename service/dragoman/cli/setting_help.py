"""Help for `dragoman serve`: the groups of settings on one screen, or all about one group."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

from dragoman import config

_WIDTH, _INDENT = 78, 14


class SettingHelp(argparse.Action):
    """`--help`: the names of all settings by group; `--help GROUP` explains those of a group, `--help all` all."""

    def __init__(self, option_strings: Sequence[str], dest: str = argparse.SUPPRESS, **_: Any) -> None:
        super().__init__(
            option_strings, dest, nargs="?", default=argparse.SUPPRESS, choices=[*config.GROUPS, "all"],
            metavar="GROUP", help="explain a group of settings, or all",
        )  # fmt: skip

    def __call__(self, parser: argparse.ArgumentParser, _: Any, group: Any, __: str | None = None) -> None:
        """Print and end."""
        if group == "all":
            parser.print_help()
        elif group is None:
            print(overview())
        else:
            print(_explained(parser, group))
        parser.exit()


def overview() -> str:
    """Return the names of all settings, by group."""
    lines = [
        "usage: dragoman serve [--help [GROUP]] [--SETTING VALUE ...]",
        "",
        "Run the gRPC server. `--help GROUP` explains a group of settings, `--help all`",
        "all of them. Each is also an environment variable: DRAGOMAN_PORT for --port.",
        "",
    ]
    for group, names in config.GROUPS.items():
        flags = " ".join(f"--{name.replace('_', '-')}" for name in names)
        lines += textwrap.wrap(
            flags, _WIDTH, initial_indent=f"{group:<{_INDENT}}", subsequent_indent=" " * _INDENT,
            break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join(lines)


def _explained(parser: argparse.ArgumentParser, title: str) -> str:
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        if group.title == title:
            formatter.start_section(title)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
    return formatter.format_help().rstrip()
