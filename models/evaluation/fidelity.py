"""The table of the fidelity cases: for each class of text, how many translations broke what they must keep.

The cases are inputs in classes (URLs, markup, lists, capitals, ...) with expectations that do not depend on the choice of
words. Their checker asks a running server and writes a JSON object a line, with `class`, `violated` and `flags`; this
program compares two such files, of an older and of the present state.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- fidelity: begin -->", "<!-- fidelity: end -->"
HEAD = "| class | n | failed before | failed after | of these unflagged |\n|---|--:|--:|--:|--:|"


def table(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Return the table, a line for each class in the order of the cases, and the total.

    >>> bad = {"class": "URLs", "violated": ["keep: lost"], "flags": []}
    >>> print(table([bad], [bad | {"violated": []}]).splitlines()[-1])
    | **all** | 1 | 1 | 0 | 0 |
    """
    lines = [HEAD]
    for name in dict.fromkeys(row["class"] for row in after):
        lines.append(
            _line(name, *([row for row in rows if row["class"] == name] for rows in (before, after)))
        )
    return "\n".join([*lines, _line("**all**", before, after)])


def _line(name: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    failed = [row for row in after if row["violated"]]
    unflagged = sum(not row["flags"] for row in failed)
    counts = len(after), sum(bool(row["violated"]) for row in before), len(failed), unflagged
    return f"| {name} | {' | '.join(map(str, counts))} |"


def replaced(document: str, new: str) -> str:
    """Return a document with a new table between its marks.

    Raises:
        ValueError: It has no marks.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{new}\n{END}{tail}"


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, one JSON object a line."""
    lines: Iterable[str] = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def main() -> None:
    """Read the command line and put the table into the document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, help="rows of the older state")
    parser.add_argument("after", type=Path, help="rows of the present state")
    parser.add_argument("document", type=Path, nargs="?", default=Path("docs/fidelity.md"))
    arguments = parser.parse_args()
    made = replaced(
        arguments.document.read_text(encoding="utf-8"), table(read(arguments.before), read(arguments.after))
    )
    arguments.document.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
