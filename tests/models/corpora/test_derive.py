"""Corpora of what texts hold too little of: single words, capitals, emoji, words of other languages."""

import lzma
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dragoman.text.normalize import normalize
from models.corpora import derive as derivation
from models.corpora import tokenizer
from models.corpora.derive import (
    COPIES,
    capitals,
    derive,
    emoji,
    quotes,
    short_phrases,
    single_words,
)
from models.corpora.lexicon import Lexicon, Pair, lexicon, phrases
from models.corpora.names import LEAST_OF_NAME
from models.corpora.packing import DataError, Packed
from tests.models.toy import ROOT, WORDS, Toy, environment

TEXTS: list[Pair] = [
    ("The house is old.", "La maison est vieille."),
    ("The old house burns.", "La vieille maison brûle."),
    ("My house is new.", "Ma maison est neuve."),
    ("A house of stone.", "Une maison de pierre."),
    ("The water is cold.", "L'eau est froide."),
    ("Cold water!", "De l'eau froide !"),
    ("I drink water.", "Je bois de l'eau."),
    ("Give me water.", "Donne-moi de l'eau."),
    ("We saw Marseille.", "Nous avons vu Marseille."),
    ("He left Marseille.", "Il a quitté Marseille."),
    ("I love Marseille.", "J'aime Marseille."),
    ("They built Marseille.", "Ils ont bâti Marseille."),
]
OF_EVERYDAY = ("words", "capitals", "emoji", "quotes")
KNOWN: Lexicon = {"house": "maison", "water": "eau"}


def test_lexicon() -> None:
    """
    Words that occur together are each other's translation; elision is no part of a word, names keep their capital.
    """
    found = lexicon(TEXTS)

    assert {"house": "maison", "water": "eau", "Marseille": "Marseille"}.items() <= found.items()
    assert "burns" not in found  # seen too seldom to know


def test_one_word_for_two() -> None:
    """
    A word may be the translation of two, if it is nearly as good for both.
    """
    frames = [
        ("I see the {}.", "Veo la {}."), ("A {} burns.", "Arde una {}."), ("Her {} too.", "También su {}."),
        ("That {} there.", "Aquella {} allí."), ("Every {} counts.", "Cada {} cuenta."),
    ]  # fmt: skip
    texts = [
        (english.format(word), other.format("casa"))
        for word in ("house", "home")
        for english, other in frames
    ]

    assert {"house": "casa", "home": "casa"} == lexicon(texts)


def test_words() -> None:
    """
    Each word comes as it is and with a capital; the shortest texts, also without their mark.
    """
    made = set(single_words(TEXTS * 9, KNOWN, random.Random(1)))

    of_lexicon = {("house", "maison"), ("House", "Maison"), ("water", "eau"), ("Water", "Eau")}
    of_texts = {("Give me water", "Donne-moi de l'eau"), ("I love Marseille", "J'aime Marseille")}
    assert of_lexicon | of_texts | {(f"{english}.", f"{other}.") for english, other in of_texts} == made


def test_common_words_come_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is often said is what is typed first; a name, which has one spelling, comes once.
    """
    monkeypatch.setattr(derivation, "COMMON", 1)
    texts = [
        ("Yes, it is an apple from Lyon.", "Oui, c'est une pomme de Lyon."),
        ("Yes, I know him.", "Oui, je le connais."),
    ]

    made = Counter(single_words(texts, {"yes": "oui", "apple": "pomme", "Lyon": "Lyon"}, random.Random(1)))

    assert {
        ("yes", "oui"): COPIES, ("Yes", "Oui"): 2 * COPIES,
        ("apple", "pomme"): 1, ("Apple", "Pomme"): 2,
        ("Lyon", "Lyon"): 1,
    } == made  # fmt: skip


def test_words_of_equal_count_keep_their_order() -> None:
    """
    Which of equally common words are the commonest does not hang on the hashes of a process.
    """
    program = (
        "import random; from models.corpora import derive; derive.COMMON = 2\n"
        "texts = [('bread cheese door fork glass hill', 'x')] * 3\n"
        "known = dict.fromkeys('bread cheese door fork glass hill'.split(), 'mot')\n"
        "print(list(derive.single_words(texts, known, random.Random(1))))"
    )

    told = {
        subprocess.run(
            [sys.executable, "-c", program], env=environment({"PYTHONHASHSEED": str(seed)}), cwd=ROOT,
            capture_output=True, text=True, timeout=100, check=True,
        ).stdout
        for seed in (1, 2, 3)
    }  # fmt: skip

    assert 1 == len(told)


PROSE: list[Pair] = [
    ("The annual report is late.", "Le rapport annuel est en retard."),
    ("An annual report has pages.", "Un rapport annuel a des pages."),
    ("We read the annual report twice.", "Nous lisons le rapport annuel deux fois."),
    ("Every report is annual.", "Chaque rapport est annuel."),
    ("His annual, very long report bores.", "Son rapport annuel, très long, ennuie."),
]


def test_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Words that stand together on both sides are a phrase, in the order of each language; one seen once is none.
    """
    monkeypatch.setattr("models.corpora.lexicon.LIGHT", 0)
    known = {"annual": "annuel", "report": "rapport", "read": "lisons", "late": "retard", "twice": "fois"}

    found = list(phrases(PROSE, known))

    assert [("annual report", "rapport annuel")] == found


def test_phrases_hold_no_other_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A span in which the translation of a word outside the run stands, or a word that stands there twice, is passed over.
    """
    monkeypatch.setattr("models.corpora.lexicon.LIGHT", 0)
    between = [("big dogs bark", "gros aboient chiens")] * 3
    twice = [("red wine", "vin vin rouge")] * 3
    known = {"big": "gros", "dogs": "chiens", "bark": "aboient", "red": "rouge", "wine": "vin"}

    assert {"big dogs bark", "dogs bark"} == {english for english, _ in phrases(between + twice, known)}


def test_phrases_begin_with_no_light_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The most common words are at neither end: "of the report" is no heading.
    """
    monkeypatch.setattr("models.corpora.lexicon.LIGHT", 1)

    assert [] == list(phrases(PROSE, {"annual": "annuel", "report": "rapport"}))


def test_phrases_in_two_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each comes as it is, and with a capital as a heading has it; one that stays the same is left out.
    """
    monkeypatch.setattr("models.corpora.lexicon.LIGHT", 0)
    texts = PROSE + [("Open source helps.", "L'open source aide.")] * 2
    known = {"annual": "annuel", "report": "rapport", "open": "open", "source": "source"}

    made = Counter(short_phrases(texts, known, random.Random(1)))

    assert {("annual report", "rapport annuel"): 1, ("Annual report", "Rapport annuel"): 2} == made


def test_capitals() -> None:
    """
    Both sides are in capitals, accents included.
    """
    made = list(capitals(TEXTS, random.Random(1)))

    assert len(TEXTS) == len(made)
    assert all(side == side.upper() for pair in made for side in pair)
    assert "LA VIEILLE MAISON BRÛLE" in {other.removesuffix(".") for _, other in made}


def test_emoji() -> None:
    """
    The same signs stand on both sides: alone, before, behind, or behind a word and its translation.
    """
    made = list(emoji(TEXTS * 20, KNOWN, random.Random(1)))

    assert 20 * len(TEXTS) == len(made)
    assert all(_signs(english) == _signs(other) != "" for english, other in made)
    assert any(english == other for english, other in made)
    inside = [pair for pair in made if "house " in pair[0] and _signs(pair[0].split("house ")[1][:1])]
    assert inside
    assert all(_signs(other.split("maison ")[1][:1]) for _, other in inside)


def test_quotes() -> None:
    """
    Some words of another text stand in quotation marks on both sides, as they are, behind words that correspond.
    """
    made = list(quotes(TEXTS, KNOWN, random.Random(1)))

    assert "carpe diem" in made[0][0]
    assert "carpe diem" in made[0][1]
    assert all(normalize(side) == side for pair in made for side in pair)
    assert len(made) == sum("house" in english or "water" in english.lower() for english, _ in TEXTS)


def test_names_are_of_formal_texts(toy: Toy, tmp_path: Path) -> None:
    """
    They are made of parliaments and news, whatever else is there.
    """
    line = "The European Central Bank waits.\tLa Banque centrale européenne attend.\n" * LEAST_OF_NAME
    (tmp_path / "europarl.en-fr.00.tsv.xz").write_bytes(lzma.compress(line.encode()))
    (tmp_path / "tatoeba.en-es.00.tsv.xz").write_bytes(lzma.compress(line.encode()))

    derive(tmp_path, tmp_path / "packed", toy.tokenizer, threads=1)

    made = {path.name for path in (tmp_path / "packed").iterdir()}
    assert "names.en-fr" in made
    assert "names.en-es" not in made


def test_packed_beside_the_others(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Every kind of every pair is packed like any corpus, the same each time, and kept once it is there.
    """
    source = tmp_path / "train"
    source.mkdir()
    lines = [f"{e} .\t{o} ." for e, o in zip(WORDS["en"].split(), WORDS["fr"].split(), strict=True)] * 5
    (source / "tatoeba.en-fr.00.tsv.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    (source / "laws.en-es.00.tsv.xz").write_bytes(lzma.compress(b"not this one\tno"))

    for folder in ("first", "second"):
        derive(source, tmp_path / folder, toy.tokenizer, threads=1)
    told = capsys.readouterr().out
    derive(source, tmp_path / "first", toy.tokenizer, threads=1)

    assert "" == capsys.readouterr().out
    assert {f"{kind}.en-fr" for kind in OF_EVERYDAY} == {path.name for path in (tmp_path / "first").iterdir()}
    assert all(f"{kind}.en-fr: " in told for kind in OF_EVERYDAY)
    for kind in OF_EVERYDAY:
        one, again = (Packed.open(tmp_path / folder / f"{kind}.en-fr") for folder in ("first", "second"))
        assert list(one.english) == list(again.english)
    first = Packed.open(tmp_path / "first" / "words.en-fr").pair(0)
    english, other = (toy.tokenizer.decode(ids).text for ids in first)
    assert WORDS["en"].split().index(english.lower()) == WORDS["fr"].split().index(other.lower())


def test_contractions_are_no_words() -> None:
    """
    What an apostrophe cuts off is neither looked up nor followed by a sign.
    """
    texts = [(f"We'll see you've {word}.", f"Nous verrons que tu l'as {word}.") for word in "abcdefgh"]

    assert not {"ll", "ve", "you", "We", "we"} & lexicon(texts).keys()
    assert [] == list(quotes(texts, {"ll": "verrons"}, random.Random(1)))


def test_nothing_to_make_them_of(toy: Toy, tmp_path: Path) -> None:
    """
    Without the corpora that they are made of there are none, and an empty one is never left behind.
    """
    (tmp_path / "laws.en-es.00.tsv.xz").write_bytes(lzma.compress(b"one\tuno"))
    (tmp_path / "tatoeba.en-fr.00.tsv.xz").write_bytes(lzma.compress(b"one\tun"))

    derive(tmp_path, tmp_path / "packed", toy.tokenizer, threads=1)

    made = {path.name for path in (tmp_path / "packed").iterdir()}
    assert {"words.en-fr", "capitals.en-fr", "emoji.en-fr"} == made


def test_own_corpora_stay(toy: Toy, tmp_path: Path) -> None:
    """
    Whoever has a corpus of such a name keeps it: it is packed by *data*, and learnt by the tokenizer.
    """
    for name in ("tatoeba", "words"):
        (tmp_path / f"{name}.en-fr.00.tsv.xz").write_bytes(lzma.compress(b"one\tun\ntwo\tdeux"))

    derive(tmp_path, tmp_path / "packed", toy.tokenizer, threads=1)

    assert not (tmp_path / "packed" / "words.en-fr").exists()
    assert "two" in tokenizer.sample(tmp_path, {"words.en-fr": 1.0}, 2)


def test_tokenizer_passes_them_over(tmp_path: Path) -> None:
    """
    A weight for a corpus that is made of others asks for no shard.
    """
    (tmp_path / "tatoeba.en-fr.00.tsv.xz").write_bytes(lzma.compress(b"one\tun\ntwo\tdeux"))

    lines = tokenizer.sample(tmp_path, {"tatoeba.en-fr": 1.0, "words.en-fr": 1.0}, 2)

    assert {"one", "two", "un", "deux"} == set(lines)
    with pytest.raises(DataError, match=r"no shard of other\.en-fr"):
        tokenizer.sample(tmp_path, {"tatoeba.en-fr": 1.0, "other.en-fr": 1.0}, 2)


def _signs(text: str) -> str:
    return "".join(character for character in text if ord(character) > 0x2500)
