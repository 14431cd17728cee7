"""Argument parsing: argparse, with a suggestion for what was misspelt."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, NoReturn


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to an error message, empty if nothing known resembles what was given."""
    close = get_close_matches(given, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


class Parser(argparse.ArgumentParser):
    """A parser that suggests the option or command that was probably meant."""

    def __init__(self, **options: Any) -> None:
        wide = partial(argparse.HelpFormatter, max_help_position=30)  # or most options take two lines
        super().__init__(**{"formatter_class": wide} | options)

    def parse(self, given: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse a whole command line; unknown arguments are an error of the command they were given to."""
        arguments, unknown = self.parse_known_args(given)
        if unknown:
            self.chosen(arguments).refuse(unknown)
        return arguments

    def chosen(self, arguments: argparse.Namespace) -> Parser:
        """Return the parser of the innermost command that was chosen."""
        for action in self._actions:
            name = getattr(arguments, action.dest, None)
            if isinstance(action, argparse._SubParsersAction) and name in action.choices:
                command: Parser = action.choices[name]
                return command.chosen(arguments)
        return self

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End with a usage error that names the unknown arguments."""
        flag = next((argument for argument in unknown if argument.startswith("-")), "")
        suggestion = did_you_mean(flag.partition("=")[0], self._option_string_actions)
        self.error(f"unrecognized arguments: {' '.join(unknown)}{suggestion}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise
