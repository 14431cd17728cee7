"""Sentences around what is protected: cut at breaks, without the marks at their edges."""

import pytest

from dragoman.text.segments import find_segments


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("Hello.\\nHow are you?", ["Hello.", "How are you?"]),
        ("<b>Where is the station?</b>", ["Where is the station?"]),
        ("- Red onions\n- Green apples", ["Red onions", "Green apples"]),
        ("| Name | Age |\n|---|---|\n| Tom | 31 |", ["Name", "Age", "Tom", "31"]),
        ("Thank you! 🎉", ["Thank you!"]),
        ("🎉 ★★★", []),
        ("See https://a.example/b. It is new.", ["See https://a.example/b.", "It is new."]),
        ("https://a.example/b", []),
        ("Name: ______ Date: ______", ["Name:", "Date:"]),
        ("12\n00:01:02,100 --> 00:01:05,900\nI never wanted\nto leave.", ["I never wanted", "to leave."]),
        ("```\nx = 1.\nY = 2.\n```\nThen go.", ["Then go."]),
        ("Hello!How are you?I am fine.", ["Hello!", "How are you?", "I am fine."]),
        ("buy fresh bread\nwash the car\ncall my mother", ["buy fresh bread", "wash the car", "call my mother"]),
        ("She does not want to\nsee him again.", ["She does not want to\nsee him again."]),
    ],
)  # fmt: skip
def test_segments(text: str, segments: list[str]) -> None:
    """
    What stands beside a protected stretch is translated, and nothing that has no word.
    """
    assert segments == [segment.span.of(text) for segment in find_segments(text, "en", protect=True)]


def test_off() -> None:
    """
    Without protection a sentence is what it always was.
    """
    text = "<b>Hello.\\nHow are you?</b> 🎉"
    assert [text] == [one.span.of(text) for one in find_segments(text, "en", protect=False)]
