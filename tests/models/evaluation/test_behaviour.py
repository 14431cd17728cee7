"""The inputs that a model is tried on: well-formed, as many as promised, and judged as a person would."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dragoman.text.normalize import normalize
from dragoman.text.words import split_words
from models.corpora.packing import DataError
from models.evaluation import behaviour
from models.evaluation.behaviour import CASES, for_card, summary
from models.evaluation.expectations import (
    ODD_INPUTS,
    PAIRS,
    REORDERINGS,
    TARGETS,
    Answer,
    Case,
    Reordering,
    read_cases,
    read_reorderings,
)

ODD = read_cases(CASES)
MOVED = read_reorderings(CASES)
EEA = MOVED[0]


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return [span.of(text) for span in split_words(text)]


def answer(source: str, target: str, links: list[tuple[str, str]]) -> Answer:
    """Return an answer whose words are linked as given."""
    first, second = words(source), words(target)
    return Answer(target, True, first, second, [(first.index(a), second.index(b)) for a, b in links])


def test_two_hundred_odd_inputs() -> None:
    """
    There are 200 of nine kinds, no two alike, as many in each direction, and each kind in all of them.
    """
    assert 200 == len({(case.pair, case.text) for case in ODD}) == len(ODD)
    assert dict.fromkeys(PAIRS, 50) == Counter(case.pair for case in ODD)
    assert 9 == len({case.kind for case in ODD})
    assert 36 == len({(case.kind, case.pair) for case in ODD})
    assert 5 <= min(Counter((case.kind, case.pair) for case in ODD).values())


def test_expectations_can_be_met() -> None:
    """
    What is to be kept is there, what is to be in capitals is, and nothing blank has anything to read.
    """
    for case in ODD:
        assert all(normalize(part) in normalize(case.text) for part in case.wanted.get("kept", [])), case
        assert all(word == word.casefold() for word in case.wanted.get("any", [])), case
        assert case.text.isupper() or "capitals" not in case.wanted, case
        assert any(map(str.isdigit, case.text)) or "digits" not in case.wanted, case
        assert bool(normalize(case.text)) != ("blank" in case.wanted), case


def test_thirty_reorderings_and_the_european_economic_area() -> None:
    """
    There are thirty and that one; their words stand together in the source, once, and both languages know them.
    """
    assert 31 == len({sentence.text for sentence in MOVED}) == len(MOVED)
    assert ["European", "Economic", "Area"] == EEA.words
    for sentence in MOVED:
        assert " ".join(sentence.words) in sentence.text
        folded = [word.casefold() for word in words(sentence.text)]
        assert all(1 == folded.count(word.casefold()) for word in sentence.words), sentence
        for target in TARGETS:
            accepted = sentence.becomes[target]
            flat = [word for group in accepted for word in group]
            assert len(flat) == len(set(flat)), sentence
            assert all([word] == words(word) and word == word.casefold() for word in flat), sentence


@pytest.mark.parametrize(
    ("wanted", "source", "good", "bad"),
    [
        ({"any": ["bonjour", "salut"]}, "Hello", "Bonjour !", "Bonjours"),
        ({"any": ["mot de passe"]}, "Change your password", "Changez le mot de passe", "Changez la passe"),
        ({"kept": ["d'état"]}, "A coup d'état", "Un coup d\u2019état", "Un coup d'etat"),
        ({"kept": ["🎂"]}, "Cake 🎂", "Gâteau 🎂", "Gâteau"),
        ({"digits": True}, "1,234.56 euros", "1 234,56 euros", "1 234,65 6 euros"),
        ({"capitals": True}, "DO NOT OPEN", "NE PAS OUVRIR", "Ne pas ouvrir"),
        ({"ends_with": "?!"}, "What?!?!", "Quoi ?!", "Quoi."),
        ({"open_end": True}, "Annual report", "Rapport annuel", "Rapport annuel."),
        ({"changed": True}, "Annual report", "Rapport annuel", "Annual  report"),
        ({"max_characters": 3}, "?", "?", "Quoi ?"),
        ({"blank": True}, " ", "\u00a0", "Oui"),
    ],
)
def test_each_check_tells_good_from_bad(wanted: dict[str, Any], source: str, good: str, bad: str) -> None:
    """
    A fabricated good answer holds; a fabricated bad one fails in this and in nothing else.
    """
    case = Case("kind", "en-fr", source, wanted)

    assert [] == case.failures(Answer(good))
    assert list(wanted) == case.failures(Answer(bad))


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        (Answer("Une phrase assez longue."), []),
        (Answer(""), ["any", "empty", "length"]),
        (Answer("phrase"), ["length"]),
        (Answer("phrase " * 30), ["length"]),
        (Answer("Une phrase assez longue", has_ended=False), ["end"]),
    ],
)
def test_what_holds_for_all(given: Answer, failed: list[str]) -> None:
    """
    A translation is not empty, came to its end, and is neither a stub nor a flood.
    """
    assert failed == Case("kind", "en-fr", "A rather long sentence here.", {"any": ["phrase"]}).failures(
        given
    )


GOOD = "L'accord sur l'espace économique européen a été signé en août 1992."
LINKS = [("European", "européen"), ("Economic", "économique"), ("Area", "espace")]


@pytest.mark.parametrize(
    ("target", "links", "right"),
    [
        (GOOD, LINKS, {"words": True, "order": True, "links": True}),
        (GOOD, [*LINKS, ("Area", "l'")], {"words": True, "order": True, "links": True}),
        (GOOD, LINKS[:2], {"words": True, "order": True, "links": False}),
        (GOOD, [*LINKS, ("Area", "européen")], {"words": True, "order": True, "links": False}),
        (
            GOOD,
            [("European", "espace"), ("Economic", "économique"), ("Area", "européen")],
            {"words": True, "order": True, "links": False},
        ),
        (
            "La européenne économique zone",
            [("European", "européenne"), ("Economic", "économique"), ("Area", "zone")],
            {"words": True, "order": False, "links": True},
        ),
        ("L'espace européen", LINKS[2:], {"words": False, "order": False, "links": False}),
        ("", [], {"words": False, "order": False, "links": False}),
    ],
)
def test_reorderings_are_judged_word_by_word(
    target: str, links: list[tuple[str, str]], right: dict[str, bool]
) -> None:
    """
    Words, order and links are right or wrong each on its own; a link into another word's place is wrong.
    """
    assert right == EEA.right("fr", answer(EEA.text, target, links))


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        (
            ODD_INPUTS,
            '{"kind": "k", "pair": "en-fr", "text": "x", "anny": ["y"]}',
            "no such expectation: anny",
        ),
        (ODD_INPUTS, '{"kind": "k", "pair": "en-de", "text": "x", "any": ["y"]}', "line 1: want kind"),
        (ODD_INPUTS, '{"kind": "k", "pair": "en-fr", "text": "x"}', "an expectation"),
        (ODD_INPUTS, "no JSON", ODD_INPUTS),
        (
            REORDERINGS,
            '{"text": "a b", "words": ["a", "b"], "fr": [["c"]], "es": [["c"], ["d"]]}',
            "every word",
        ),
        (REORDERINGS, '{"text": "a b", "words": ["a", "b"]}', "want text, words, fr, es"),
        (REORDERINGS, None, "No such file"),
    ],
)
def test_a_slip_in_the_files_is_named(tmp_path: Path, name: str, line: str | None, said: str) -> None:
    """
    A misspelt expectation would never fail, so it is refused, with its line.
    """
    if line is not None:
        (tmp_path / name).write_text(f"{line}\n", encoding="utf-8")

    with pytest.raises(DataError, match=said):
        (read_cases if name == ODD_INPUTS else read_reorderings)(tmp_path)


def test_counts_what_holds() -> None:
    """
    Each kind is counted by direction, and re-orderings by each thing that must be right.
    """
    odd = [{"kind": "name", "pair": "en-fr", "failed": failed} for failed in ([], ["kept"])]
    moved = [
        {"kind": "re-ordering", "pair": "en-es", "failed": failed} for failed in ([], ["order", "links"])
    ]

    counts = summary(odd, moved)

    assert {"en-fr": [1, 2]} == counts["name"]
    assert {"en-es": [2, 2]} == counts["re-ordering: words"]
    assert {"en-es": [1, 2]} == counts["re-ordering: links"] == counts["re-ordering: all three"]


def test_card_shows_the_shortest_failure() -> None:
    """
    Of every kind: how many hold of how many, and the shortest input that does not; none where all hold.
    """
    rows: list[dict[str, Any]] = [
        {"kind": kind, "pair": "en-fr", "text": text, "translation": text.upper(), "failed": failed}
        for kind, text, failed in (
            ("name", "Ann", []),
            ("name", "Robert", ["kept"]),
            ("name", "Bob", ["kept"]),
            ("emoji", ":", []),
        )
    ]

    found = for_card(rows)

    shortest = {"pair": "en-fr", "text": "Bob", "translation": "BOB"}
    assert {"name": {"held": 1, "of": 3, "example": shortest}, "emoji": {"held": 1, "of": 1}} == found


def test_runs_through_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The command translates with the default bundle, reports without judging, and writes what it reports.
    """
    some = [case for number, case in enumerate(ODD) if number % 20 == 0]
    lines = [{"kind": c.kind, "pair": c.pair, "text": c.text} | c.wanted for c in some]
    moved = {"text": EEA.text, "words": EEA.words} | EEA.becomes
    for name, content in ((ODD_INPUTS, lines), (REORDERINGS, [moved])):
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in content), encoding="utf-8")
    monkeypatch.setattr(
        sys, "argv", ["cases", "--cases", str(tmp_path), "--json", str(tmp_path / "out.json")]
    )

    behaviour.main()

    written = json.loads((tmp_path / "out.json").read_bytes())
    assert len(some) + 2 == len(written["answers"])
    assert Counter(case.kind for case in some) == {
        kind: sum(of for _, of in cells.values())
        for kind, cells in written["counts"].items()
        if not kind.startswith("re-ordering")
    }
    assert all(row["translation"] or row["failed"] or not row["text"].strip() for row in written["answers"])
    assert "re-ordering: all three" in capsys.readouterr().out


def test_the_words_of_the_engine_are_the_words_of_the_checks() -> None:
    """
    A re-ordering is judged case by case of its words: capitals at the start of a sentence do not matter.
    """
    moved = Reordering("Public opinion", ["Public", "opinion"], {"fr": [["publique"], ["opinion"]], "es": []})

    right = moved.right(
        "fr", answer("public opinion", "Opinion publique", [("public", "publique"), ("opinion", "Opinion")])
    )

    assert {"words": True, "order": True, "links": True} == right
