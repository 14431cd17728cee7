"""The command line: `dragoman COMMAND`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from dragoman import __version__, config
from dragoman.cli import align, bench, check, completion, demo, keys, models, streams, translate
from dragoman.cli.parser import Parser
from dragoman.cli.serve import serve
from dragoman.cli.setting_help import SettingHelp
from dragoman.cli.translate import LinesFailed
from dragoman.client.errors import ServerError
from dragoman.errors import DragomanError

_COMMANDS: dict[str, ModuleType] = {
    "translate": translate, "align": align, "models": models, "keys": keys, "bench": bench, "check": check,
}  # fmt: skip
_HELP = {
    "serve": "run the gRPC server",
    "demo": "one sentence over a real server, with its alignment",
    "translate": "translate arguments, a file or standard input",
    "align": "align a given sentence pair",
    "models": "say what a server serves",
    "keys": "make, list and revoke API keys of a server",
    "bench": "measure a server under load",
    "check": "check a bundle, or a directory of bundles",
    "completion": "print a script that completes commands and options in a shell",
}
_EXACT = {"serve", "bench"}  # whose many options are to be written in full


def parser() -> Parser:
    """Return the parser of the whole command line."""
    whole = Parser(prog="dragoman", description="Translate and align, as a server or right here.")
    whole.add_argument("--version", action="version", version=f"dragoman {__version__}")
    commands = whole.add_subparsers(dest="command", required=True)
    added = {
        name: commands.add_parser(
            name,
            help=help_,
            description=_sentence(help_),
            allow_abbrev=name not in _EXACT,
            add_help=name != "serve",
        )
        for name, help_ in _HELP.items()
    }
    added["serve"].usage = "dragoman serve [--help [GROUP]] [--SETTING VALUE ...]"
    added["serve"].add_argument("-h", "--help", action=SettingHelp)
    config.add_flags(added["serve"])
    completion.add_flags(added["completion"])
    for name, module in _COMMANDS.items():
        module.add_flags(added[name])
    return whole


def _sentence(help_: str) -> str:
    return f"{help_[0].upper()}{help_[1:]}."


def _run(given: Sequence[str] | None) -> None:
    try:
        arguments = parser().parse(given)
    finally:
        sys.stdout.flush()  # `--help` ends here
    runs: dict[str, Callable[[argparse.Namespace], None]] = {
        "serve": lambda _: serve(lambda: config.read(vars(arguments), os.environ)),
        "demo": demo.run,
        "completion": lambda _: print(completion.script(parser(), arguments.shell)),
    }
    runs |= {name: module.run for name, module in _COMMANDS.items()}
    runs[arguments.command](arguments)
    sys.stdout.flush()


def main(given: Sequence[str] | None = None) -> None:
    """Run one command, by default that of the process; whatever is wrong is one line on standard error."""
    streams.open_streams()
    try:
        _run(given)
    except BrokenPipeError:  # `head` has read enough; nor shall Python complain at its exit
        streams.drop_output()
        raise SystemExit(141) from None
    except UnicodeError as error:
        raise SystemExit(f"dragoman: the input is not UTF-8: {error}") from None
    except OSError as error:
        where = "standard output: " if streams.drop_output() else ""
        where = f"{error.filename}: " if error.filename else where
        raise SystemExit(f"dragoman: {where}{error.strerror or error}") from None
    except (ServerError, DragomanError, LinesFailed) as error:
        raise SystemExit(f"dragoman: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
