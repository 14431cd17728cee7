"""Names in pairs of sentences: which are kept, and what they become in the other language."""

import random
from collections import Counter

import pytest

from models.corpora.names import LEAST_OF_NAME, MOST_OF_NAME, NAMES_ALONE, names, proper_nouns, renamed

DEEDS = [("waits", "attend"), ("opens", "ouvre"), ("grows", "grandit"), ("falls", "tombe"), ("votes", "vote")]


def test_names() -> None:
    """
    A name of three words that is another in the other language is kept, alone and in some texts; one that stays, or is rare,
    is none.
    """
    banks = [(f"The European Central Bank {e}.", f"La Banque centrale européenne {f}.") for e, f in DEEDS]
    areas = [(f"The European Economic Area {e}.", f"L'Espace économique européen {f}.") for e, f in DEEDS]
    stays = ("We met Jean Claude Martin.", "Nous avons vu Jean Claude Martin.")
    short = ("The Central Bank waits.", "La Banque centrale attend.")
    rare = ("The Royal Mint Museum opens.", "Le musée de la Monnaie ouvre.")

    made = Counter(names([*banks * 20, *areas, *[stays, short] * LEAST_OF_NAME, rare], random.Random(1)))

    assert MOST_OF_NAME == sum(made.pop(bank) for bank in banks)
    assert (
        dict.fromkeys(areas, 1)
        | {
            ("European Central Bank", "Banque centrale européenne"): NAMES_ALONE,
            ("European Economic Area", "Espace économique européen"): NAMES_ALONE,
        }
        == made
    )


@pytest.mark.parametrize(
    "part",
    ["Secretary of State Hillary Clinton {}", "The General Ban Ki-moon {}", "Allowed Legal Basis values {}"],
)
def test_part_of_a_name_is_none(part: str) -> None:
    """
    What stands behind "of", or has always the same word behind it, does not come alone.
    """
    texts = [(f"{part.format(e)}.", f"La secrétaire qui attend {f}.") for e, f in DEEDS]

    assert set(texts) >= set(names(texts, random.Random(1)))


def test_what_a_name_becomes() -> None:
    """
    It is the whole run of words that goes along with it, as it is mostly spelt, without light words at its ends.
    """
    area, bank = {"European Economic Area"}, {"European Central Bank"}
    texts = [
        (area, "Hoy crece el Espacio Económico Europeo de nuevo."),
        (area, "Noruega está en el Espacio Económico Europeo."),
        (area, "Del espacio económico europeo nadie habla."),
        (bank, "El Banco Central Europeo espera."),
        (bank, "Vigila el Banco Central Europeo."),
        (bank, "Nada dice el BCE."),
        (set(), "El pan está en el horno, el vino en el vaso."),
    ]  # fmt: skip

    found = renamed(texts)

    assert {
        "European Economic Area": "Espacio Económico Europeo",
        "European Central Bank": "Banco Central Europeo",
    } == found
    assert {} == renamed([(bank, "Una frase sobre pan."), (bank, "Otra sobre vino.")])


def test_proper_nouns() -> None:
    """
    A name that is another word there is kept, some times, where it is that word; one spelt alike, or any other word, is none.
    """
    known = {"Morocco": "Maroc", "French": "français", "Chad": "chad", "house": "maison"}
    common = ("We leave Morocco.", "Nous quittons le Maroc.")
    people = ("The French wait.", "Les Français attendent.")
    lost = ("We leave Morocco again.", "Nous repartons.")
    alike = ("Chad waits.", "Chad attend.")
    plain = ("Our house waits.", "Notre maison attend.")

    made = Counter(proper_nouns([common, people, lost, alike, plain] * 100, known, random.Random(1)))

    assert {common: MOST_OF_NAME, people: MOST_OF_NAME} == made
