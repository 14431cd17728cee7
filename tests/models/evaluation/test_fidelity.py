"""The table of the fidelity cases."""

import pytest

from models.evaluation.fidelity import BEGIN, END, replaced, table

GOOD = {"class": "URLs", "violated": [], "flags": []}
BAD = {"class": "URLs", "violated": ["keep: x"], "flags": []}
FLAGGED = {"class": "emoji", "violated": ["keep: y"], "flags": ["number_mismatch"]}


def test_counts() -> None:
    """
    Each class is counted before and after; a failure with a flag is no silent one.
    """
    lines = table([BAD, BAD, FLAGGED], [GOOD, BAD, FLAGGED]).splitlines()
    assert ["| URLs | 2 | 2 | 1 | 1 |", "| emoji | 1 | 1 | 1 | 0 |", "| **all** | 3 | 3 | 2 | 1 |"] == lines[
        2:
    ]


def test_replaced() -> None:
    """
    Only what stands between the marks changes; a document without them is refused.
    """
    assert f"a {BEGIN}\nnew\n{END} b" == replaced(f"a {BEGIN} old {END} b", "new")
    with pytest.raises(ValueError, match="no lines"):
        replaced("a", "new")
