"""Alignment error: what counts as right, and how sure one can be of it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dragoman import bundle
from dragoman.bundle import Bundle
from models.corpora.packing import DataError
from models.corpora.word_links import by_eflomal, parse, project, symmetrise
from models.evaluation import aer
from models.evaluation.aer import Gold, Rate, error_rate, for_card, interval, links_of, read_gold

GOLD = Gold(["the", "house"], ["la", "maison"], sure={(1, 1)}, possible={(0, 0), (1, 1)})


def test_possible_links_do_no_harm() -> None:
    """
    What is sure must be found, what is possible may be; what is neither counts against.
    """
    assert 0.0 == error_rate([{(1, 1)}], [GOLD]) == error_rate([{(0, 0), (1, 1)}], [GOLD])
    assert 100.0 == error_rate([{(0, 1)}], [GOLD])
    assert pytest.approx(100 / 3) == error_rate([{(0, 1), (1, 1)}], [GOLD])  # 1 - (1 + 1) / (2 + 1)


def test_interval_holds_the_rate() -> None:
    """
    It shrinks with more sentences, and is a point when all are alike.
    """
    found, gold = [{(1, 1)}, {(0, 1)}], [GOLD, GOLD]

    few, many = interval(found * 5, gold * 5), interval(found * 200, gold * 200)

    assert few[0] <= many[0] < 50.0 < many[1] <= few[1]
    assert (0.0, 0.0) == interval([{(1, 1)}] * 9, [GOLD] * 9)


def test_reads_gold(tmp_path: Path) -> None:
    """
    Links are sure, or possible with a `p`; English comes first.
    """
    for suffix, text in (("en", "the house\n"), ("fr", "la maison\n"), ("talp", "0p0 1-1\n")):
        (tmp_path / f"hansards-trial.{suffix}").write_text(text)

    assert [GOLD] == read_gold(tmp_path, "hansards-trial")
    with pytest.raises(DataError, match=r"xl-wa-dev\.en: No such file"):
        read_gold(tmp_path, "xl-wa-dev")


def test_english_comes_first() -> None:
    """
    Links of a translation into English are turned round before they are compared.
    """
    weights = np.array([[0.9, 0.6], [0.0, 0.0]], np.float32)  # a row for each target word

    assert {(0, 0), (1, 0)} == links_of(weights, 0.5, from_english=True)
    assert {(0, 0), (0, 1)} == links_of(weights, 0.5, from_english=False)


def test_card_shows_the_threshold_that_serves() -> None:
    """
    Of several thresholds the card has the manifest's; eflomal is no part of the bundle.
    """
    measured = [
        Rate("set", "en-fr", 0.3, 20.0, 10.0, 30.0),
        Rate("set", "en-fr", 0.4, 14.26, 11.0, 18.04),
        Rate("set", "eflomal", None, 9.0, 8.0, 10.0),
    ]

    assert {"set": {"en-fr": {"aer": 14.3, "low": 11.0, "high": 18.0}}} == for_card(measured, 0.4)


def test_symmetrise() -> None:
    """
    Links of both directions stay; those of one are added next to them, where a word has none yet.
    """
    forward, reverse = parse("0-0 1-1 2-1 0-1"), parse("0-0 1-1 9-9")

    assert {(0, 0), (1, 1), (2, 1)} == symmetrise(forward, reverse)


def test_project() -> None:
    """
    Every piece of a word is linked with every piece of its partner, flat, as far as a byte can count.
    """
    assert [0, 1, 0, 2] == project({(0, 1)}, [[0]], [[0], [1, 2]])
    assert [] == project({(0, 0)}, [[256]], [[0]])


def test_without_eflomal(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is an extra: the error says how to get it.
    """
    monkeypatch.setitem(sys.modules, "eflomal", None)

    with pytest.raises(DataError, match=r"pip install -e '\.\[links\]'"):
        list(by_eflomal(["a"], ["b"]))


def test_command(
    default_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Aligns gold pairs by the engine that serves, and writes the rates into manifest and card.
    """
    (tmp_path / "align").mkdir()
    for name, other in aer.SETS.items():
        texts = {"en": "the house\n", other: "la maison\n", "talp": "0-0 1-1\n"}
        for suffix, text in texts.items():
            (tmp_path / "align" / f"{name}.{suffix}").write_text(text)
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in default_bundle.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("DRAGOMAN_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["aer", str(folder), "--write"])

    aer.main()

    written = bundle.load(folder).manifest.checks["alignment"]
    assert {"en-fr", "fr-en", "both"} == written["hansards-trial"].keys()
    assert "hansards-trial" in capsys.readouterr().out
