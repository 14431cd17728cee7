"""What users type, made of well-written texts: noise on the side that is read, marks on both, pairs joined."""

import random
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from dragoman.text.tokenizer import PLACEHOLDERS, TERM_BEGIN, TERM_END, Tokenizer
from models.corpora import joined, marked, noise, reserved, things, typed
from models.corpora.batches import Batches
from models.corpora.lexicon import Pair
from models.corpora.packing import Packed, languages_of, open_tokenizer, save_texts
from models.paths import ROOT
from tests.models.toy import sentences, write_shard

PAIRS: list[Pair] = [
    ("The old house has 7 rooms.", "La vieille maison a 7 chambres."),
    ("My house is at https://a.example/x.", "Ma maison est à https://a.example/x."),
    ("Tom drinks cold water.", "Tom boit de l'eau froide."),
    ("Because I don't know you!", "Parce que je ne te connais pas !"),
] * 60
KNOWN = {"house": "maison", "water": "eau", "cold": "froide", "old": "vieille", "drinks": "boit"}


def made(maker: typed.Make, seed: int = 1) -> list[Pair]:
    """Return what a maker makes."""
    return list(maker(random.Random(seed)))


def test_placeholders() -> None:
    """
    Each placeholder stands on both sides exactly once; without them, and what they stand for, the texts are as they were.
    """
    found = made(lambda chance: marked.placeholders(PAIRS, KNOWN, chance))
    sign = re.compile(f"[{PLACEHOLDERS}]")

    assert len(found) == len(PAIRS)
    for pair in found:
        first, second = (Counter(sign.findall(side)) for side in pair)
        assert first == second
        assert set(first.values()) == {1}
    assert any("https" in text for text, _ in found)
    assert any(sign.search(text) and "house" in text for text, _ in found)
    assert any(re.search(f"[{PLACEHOLDERS}]house[{PLACEHOLDERS}]", text) for text, _ in found)


def test_glossary() -> None:
    """
    A term stands behind its word on the side that is read, and is what the other side says.
    """
    found = made(lambda chance: marked.glossary(PAIRS, KNOWN, chance))
    term = re.compile(rf"\w{TERM_BEGIN} (\w+){TERM_END}")

    assert found
    for text, other in found:
        terms = term.findall(text)
        assert terms
        assert text.count(TERM_BEGIN) == text.count(TERM_END) == len(terms)
        assert all(given.lower() in other.lower() for given in terms)
        assert TERM_BEGIN not in other


def test_noise() -> None:
    """
    Slips change a word but never a short one; chat is in small letters; Title Case has a capital for each word.
    """
    chance = random.Random(3)
    slips = [noise.misspelt("We received the packages yesterday", chance) for _ in range(100)]

    assert all(slip != "We received the packages yesterday" for slip in slips)
    assert all(slip.startswith("We ") and " the " in slip for slip in slips)
    assert noise.misspelt("No, I am.", chance) == "No, I am."
    assert {noise.chatty("See you tomorrow.", "en", chance).rstrip(".") for _ in range(99)} >= {"cu tmrw"}
    assert noise.titled("the cat is on the roof.", "fr", chance).split()[1] == "Cat"
    assert noise.without_accents("¿Dónde está el niño?") == "¿Donde esta el nino?"


def test_what_translations_keep() -> None:
    """
    Three dots are neither lost nor made up on the way, and no sign of a currency is a thing to be copied.
    """
    chance = random.Random(7)

    assert all(noise.chatty("I was thinking...", "en", chance).endswith("...") for _ in range(50))
    assert not any("..." in noise.chatty("I was thinking.", "en", chance) for _ in range(200))
    assert not any(set("€£¥") & set(things.thing(chance)) for _ in range(3000))


def test_typed() -> None:
    """
    What is read is no longer the text it was; what is written is as good as it was, or begins small where that does.
    """
    written = {text.rstrip(".!").lower().strip() for _, text in PAIRS}
    found = made(lambda chance: typed.typed(PAIRS, ("en", "fr"), chance))

    assert len(found) > 0.9 * len(PAIRS)
    single = [pair for pair in found if pair[1].rstrip(".!").lower().strip() in written]
    assert len(single) > 0.7 * len(found)
    assert sum(text not in {english for english, _ in PAIRS} for text, _ in found) > 0.8 * len(found)


def test_kept() -> None:
    """
    What needs no translation is its own translation, and most of it is text of the language.
    """
    found = made(lambda chance: typed.kept([text for text, _ in PAIRS], chance))

    assert all(text == other for text, other in found)
    assert sum(text in dict(PAIRS) for text, _ in found) > len(found) / 2


def test_signs_numbers_people() -> None:
    """
    What is copied stands on both sides; a number is in words on both; names take the places of Tom and Mary.
    """
    signs = made(lambda chance: typed.signs(PAIRS, KNOWN, chance))
    said = made(lambda chance: typed.numbers(PAIRS, ("en", "fr"), chance))
    people = made(lambda chance: typed.people(PAIRS, KNOWN, chance))

    assert all(
        set(pair[0].split()) & set(pair[1].split()) or "(" in pair[0] or "[" in pair[0] for pair in signs
    )
    rooms = [pair for pair in said if "rooms" in pair[0]]
    assert rooms
    assert not any(re.search(r"\d", side) for pair in rooms for side in pair)
    assert people
    assert all("Tom" not in side for pair in people for side in pair)
    assert all(things.roman(number) for number in (1, 1987))
    assert things.roman(1987) == "MCMLXXXVII"


def test_things_differ() -> None:
    """
    What is to be copied is new each time: a network cannot learn it by heart.
    """
    chance = random.Random(5)
    found = {things.thing(chance) for _ in range(500)}

    assert len(found) > 300


def test_joined() -> None:
    """
    Pairs with equal English sides, whatever their case and marks, give pairs of the other two; a question is no answer.
    """
    left = [("Don't panic!", "¡Que no cunda el pánico!"), ("Ready", "Listo"), ("No.", "No.")]
    right = [("don\u2019t panic", "Pas de panique"), ("Ready?", "Prêt ?"), ("No", "No.")]

    assert list(joined.joined(left, right)) == [("¡Que no cunda el pánico!", "Pas de panique")]


def test_joined_bounded() -> None:
    """
    A text with hundreds of translations gives `OF_EACH` of each side, not each with each.
    """
    left = [("Yes.", f"Sí {number}") for number in range(100)]
    right = [("Yes.", f"Oui {number}") for number in range(100)]

    assert len(list(islice(joined.joined(left, right), 100))) == joined.OF_EACH**2


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("joined.es-fr", ("es", "fr", True)),
        ("typed.fr2en", ("fr", "en", False)),
        ("europarl-near.en-es", ("en", "es", True)),
    ],
)
def test_languages_of(name: str, languages: tuple[str, str, bool]) -> None:
    """
    The name of a packed corpus says its languages, and whether it is for both directions.
    """
    assert languages_of(name) == languages


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The commands pack what shards give for all three pairs, and keep what is there; without reserved pieces they say so.
    """
    monkeypatch.setenv("DRAGOMAN_DATA", str(tmp_path))
    monkeypatch.setenv("DRAGOMAN_RUNS", str(tmp_path))
    plain = (ROOT / "bundles" / "default" / "tokenizer.model").read_bytes().removesuffix(reserved.PIECES)
    (tmp_path / "tokenizer.model").write_bytes(plain)
    with pytest.raises(SystemExit, match="no reserved pieces"):
        typed.main()
    reserved.extend(tmp_path / "tokenizer.model")
    for other in ("fr", "es"):
        write_shard(tmp_path / "train" / f"tatoeba.en-{other}.00.tsv.xz", sentences(300, other, seed=1))
    joined.main()
    typed.main()
    first = capsys.readouterr().out
    joined.main()
    typed.main()

    assert "" == capsys.readouterr().out
    assert {"joined.es-fr", "placeholders.es-fr", "typed.fr2es", "glossary.en2fr", "kept.es2es"} <= {
        line.partition(":")[0] for line in first.splitlines()
    }
    tokenizer = open_tokenizer(tmp_path / "tokenizer.model")
    marked_pair = Packed.open(tmp_path / "packed" / "placeholders.en-fr").pair(0)
    assert all(any(tokenizer.piece(id_).startswith("<p") for id_ in side) for side in marked_pair)


def test_one_direction(tmp_path: Path) -> None:
    """
    What is read and never written comes in its direction only, with the tag of its target language.
    """
    tokenizer = Tokenizer(reserved.extended((ROOT / "bundles" / "default" / "tokenizer.model").read_bytes()))
    save_texts(tmp_path / "typed.fr2es", [("oui", "sí")] * 30, tokenizer, 1)
    save_texts(tmp_path / "joined.es-fr", [("sí", "oui")] * 30, tokenizer, 1)
    batches = Batches(
        tmp_path,
        tokenizer,
        {"typed.fr2es": 1.0, "joined.es-fr": 1.0},
        batch_tokens=400,
        max_tokens=20,
        seed=1,
        multiple=1,
    )
    _, plan = next(batches.plans(0))
    drawn = {(name, back) for name, _, back in plan}
    batch = batches.collate(plan)

    assert {("typed.fr2es", False), ("joined.es-fr", False), ("joined.es-fr", True)} == drawn
    for (name, _, back), source in zip(plan, batch.source, strict=True):
        target = "es" if name == "typed.fr2es" or back else "fr"
        assert tokenizer.tag_id(target) == source[0]
