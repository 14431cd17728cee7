"""How the command line helps: suggestions, short help, completion."""

import subprocess
from pathlib import Path

import pytest

from dragoman import __version__, config
from dragoman.cli.completion import SHELLS
from tests.cli.test_main import complaint, dragoman

SCREEN_LINES = 40


def test_version() -> None:
    """
    `--version` prints name and version.
    """
    assert f"dragoman {__version__}\n" == dragoman("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["translat"], "(did you mean translate?)"),
        (["serve", "--max-text", "3"], "unrecognized arguments: --max-text 3 (did you mean --max-texts?)"),
        (["serve", "--prt=3"], "unrecognized arguments: --prt=3 (did you mean --port?)"),
        (["translate", "--from", "en", "--to", "fr", "--beem", "2"], "(did you mean --beam?)"),
        (["keys", "list", "--fle", "keys.json"], "(did you mean --file?)"),
        (["keys", "lst"], "(did you mean list?)"),
        (["serve", "--help", "queues"], "(did you mean queue?)"),
    ],
)
def test_suggests(arguments: list[str], said: str) -> None:
    """
    A misspelt command, option or choice is a usage error that names the one probably meant.
    """
    assert said in dragoman(*arguments, code=2).stderr.splitlines()[-1]


def test_suggests_nothing_far_fetched() -> None:
    """
    Where nothing resembles what was given, no suggestion is made.
    """
    assert "did you mean" not in dragoman("serve", "--qwxz", code=2).stderr


@pytest.mark.parametrize(
    ("given", "code"), [("english", "en"), ("Frensh", "fr"), ("español", "es"), ("eng", "en")]
)
def test_language_names(given: str, code: str) -> None:
    """
    A language given by name is refused with its code, before a model is loaded or a server asked.
    """
    line = complaint("translate", "--from", given, "--to", "fr", "--server", "127.0.0.1:1", "Hi.")

    assert f"dragoman: --from {given!r}: not a language code (did you mean {code}?)" == line


@pytest.mark.parametrize(
    "command",
    [[], ["serve"], ["demo"], ["translate"], ["align"], ["models"], ["keys"], ["keys", "create"], ["bench"],
     ["check"], ["completion"]],
)  # fmt: skip
def test_help_fits_a_screen(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The help of every command fits on a screen of forty lines and eighty columns.
    """
    monkeypatch.setenv("COLUMNS", "80")

    help_ = dragoman(*command, "--help").stdout

    assert len(help_.splitlines()) <= SCREEN_LINES
    assert all(len(line) <= 80 for line in help_.splitlines())


def test_serve_help_has_every_setting() -> None:
    """
    `serve --help` names every setting in its group; a group's help explains exactly its own, `all` explains all.
    """
    overview, everything = dragoman("serve", "--help").stdout, dragoman("serve", "--help", "all").stdout
    for group, names in config.GROUPS.items():
        explained = dragoman("serve", "--help", group).stdout
        for name in names:
            flag = f"--{name.replace('_', '-')}"
            assert flag in overview.split()
            assert f"  {flag} VALUE" in explained
            assert f"  {flag} VALUE" in everything
        assert len(names) == explained.count(" VALUE")


@pytest.mark.parametrize("shell", SHELLS)
def test_completion(shell: str) -> None:
    """
    Each shell gets a script that knows commands and options.
    """
    script = dragoman("completion", shell).stdout

    for word in ("translate", "--max-texts" if shell == "bash" else "max-texts", "alternatives"):
        assert word in script


def test_completes_in_bash(tmp_path: Path) -> None:
    """
    Bash completes a command, an option of it, and file names where an option takes a path.
    """
    script = tmp_path / "completion.bash"
    script.write_text(dragoman("completion", "bash").stdout)
    (tmp_path / "sentences.txt").touch()

    def completed(*words: str) -> str:
        program = (
            f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
            '$(complete -p dragoman | sed "s/.*-F \\([^ ]*\\).*/\\1/"); echo "${COMPREPLY[*]}"'
        )
        done = subprocess.run(
            ["bash", "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=20, check=True
        )
        return done.stdout.strip()

    assert "translate" == completed("dragoman", "tran")
    assert "--alternatives" == completed("dragoman", "translate", "--alt")
    assert "sentences.txt" in completed("dragoman", "translate", "--file", "sent")
