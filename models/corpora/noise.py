"""Typing noise: slips, chat, no accents, no capitals, a capital for each word.

For *typed*. Each function takes a well-written text and returns it as somebody in a hurry would have written it.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable

Edit = Callable[[str, int, random.Random], str]  # of a word, at a place

SLIPS = 0.25  # of the longer words of a text that has some
SHORTEST = 4  # letters of a word in which a slip leaves something to recognise
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    letter: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in _KEYS
    for place, letter in enumerate(row)
}
_SOUNDS = (
    ("ie", "ei"), ("ei", "ie"), ("tion", "sion"), ("ph", "f"), ("ght", "t"), ("ck", "k"), ("qu", "k"), ("ll", "l"),
    ("ss", "s"), ("tt", "t"), ("mm", "m"), ("nn", "n"), ("ce", "se"), ("ci", "si"), ("z", "s"), ("v", "b"), ("b", "v"),
    ("h", ""), ("y", "i"), ("ea", "ee"), ("ou", "u"), ("au", "o"), ("ai", "é"), ("an", "en"), ("er", "é"), ("ant", "ent"),
    ("able", "ible"), ("ance", "ence"), ("a", "e"), ("e", "a"), ("o", "u"),
)  # fmt: skip
_MINOR = {
    "en": {"a", "an", "the", "of", "in", "on", "to", "and", "or", "for", "at", "by", "with", "is"},
    "fr": {"le", "la", "les", "de", "du", "des", "et", "à", "au", "en", "un", "une"},
    "es": {"el", "la", "los", "las", "de", "del", "y", "a", "al", "en", "un", "una"},
}
_CHAT = {
    "en": {
        "you": "u", "are": "r", "your": "ur", "thanks": "thx", "thank you": "ty", "please": "pls", "because": "bc",
        "tomorrow": "tmrw", "great": "gr8", "before": "b4", "see you": "cu", "later": "l8r", "okay": "ok",
        "message": "msg", "people": "ppl", "going to": "gonna", "want to": "wanna", "have to": "hafta", "got to": "gotta",
        "what": "wat", "love": "luv", "though": "tho", "by the way": "btw", "i don't know": "idk", "sorry": "sry",
        "as soon as possible": "asap", "weekend": "wknd", "birthday": "bday", "tonight": "2nite", "for": "4", "to": "2",
        "about": "abt", "with": "w/", "without": "w/o", "why": "y", "right": "rite", "night": "nite", "them": "em",
        "something": "smth", "someone": "sb", "probably": "prolly", "and": "n", "don't know": "dunno", "hours": "hrs",
        "be": "b", "see": "c", "i'm": "im", "don't": "dont", "can't": "cant", "it's": "its", "doesn't": "doesnt",
    },
    "fr": {
        "beaucoup": "bcp", "salut": "slt", "bonjour": "bjr", "bonsoir": "bsr", "s'il te plaît": "stp",
        "s'il vous plaît": "svp", "demain": "dem1", "rendez-vous": "rdv", "pourquoi": "pk", "parce que": "pcq",
        "aujourd'hui": "auj", "toujours": "tjs", "quand": "qd", "avec": "ac", "pour": "pr", "tout": "tt", "tous": "ts",
        "mais": "ms", "bisous": "bsx", "message": "msg", "d'accord": "dac", "je ne sais pas": "jsp", "vous": "vs",
        "nous": "ns", "dans": "ds", "temps": "tps", "même": "mm", "quelque chose": "qqch", "quelqu'un": "qqn", "que": "k",
        "c'est": "c", "je suis": "chui", "il y a": "ya", "qu'est-ce que": "keske", "est-ce que": "esk", "problème": "pb",
        "combien": "cb", "c'était": "ct", "j'ai": "g", "week-end": "we", "désolé": "dsl", "maintenant": "mtn", "rien": "ri1",
        "bien": "b1", "longtemps": "lgtps", "cet après-midi": "cet aprem", "t'es": "t", "tu es": "t", "comment": "cmt",
    },
    "es": {
        "que": "q", "por qué": "xq", "porque": "xq", "por": "x", "para": "pa", "también": "tb", "mucho": "muxo",
        "muchas": "muxas", "estoy": "toy", "te quiero": "tq", "por favor": "xfa", "saludos": "slds", "mensaje": "msj",
        "bien": "bn", "cuando": "cdo", "donde": "dnd", "besos": "bss", "fin de semana": "finde", "nada": "nd",
        "gracias": "grax", "de": "d", "mañana": "mñn", "te": "t", "qué": "q", "está": "ta", "estás": "tas", "me": "m",
        "siempre": "smpre", "tengo": "tngo", "igual": "=", "más": "+", "adiós": "adios", "hasta luego": "ta luego",
        "ahora": "aora", "hola": "ola", "hoy": "oy", "ha": "a", "haber": "aber", "quiero": "kiero", "casa": "ksa",
        "mejor": "mjr", "tarde": "tard", "problema": "prob", "cumpleaños": "cumple", "no sé": "nc", "verdad": "vdd",
    },
}  # fmt: skip
_SHORTHAND = {
    language: re.compile(
        rf"(?<!\w)(?:{'|'.join(sorted(map(re.escape, table), key=len, reverse=True))})(?!\w)"
    )
    for language, table in _CHAT.items()
}


def misspelt(text: str, chance: random.Random) -> str:
    """Return a text with slips of finger or ear in some of its longer words, at least in one if there is one."""
    words = [match for match in _WORD.finditer(text) if len(match.group()) >= SHORTEST]
    if not words:
        return text
    wrong = {chance.randrange(len(words))} | {n for n in range(len(words)) if chance.random() < SLIPS}
    for number in sorted(wrong, reverse=True):
        start, end = words[number].span()
        text = text[:start] + _slip(text[start:end], chance) + text[end:]
    return text


def _slip(word: str, chance: random.Random) -> str:
    if chance.random() < 0.4:
        fitting = [(right, wrong) for right, wrong in _SOUNDS if right in word[1:]]
        if fitting:
            right, wrong = chance.choice(fitting)
            return word[0] + word[1:].replace(right, wrong, 1)
    edit: Edit = chance.choice((_swapped, _dropped, _doubled, _beside))
    return edit(word, chance.randrange(1, len(word) - 1), chance)


def _swapped(word: str, at: int, _: random.Random) -> str:
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _dropped(word: str, at: int, _: random.Random) -> str:
    return word[:at] + word[at + 1 :]


def _doubled(word: str, at: int, _: random.Random) -> str:
    return word[:at] + word[at] + word[at:]


def _beside(word: str, at: int, chance: random.Random) -> str:
    return word[:at] + chance.choice(_NEIGHBOURS.get(word[at].lower(), word[at])) + word[at + 1 :]


def chatty(text: str, language: str, chance: random.Random) -> str:
    """Return a text in small letters and shorthand, its end mark lost or repeated."""
    table = _CHAT[language]

    def short(match: re.Match[str]) -> str:
        return table[match.group()] if chance.random() < 0.6 else match.group()

    text = _SHORTHAND[language].sub(short, text.lower()).lstrip("¡¿")
    if language != "en" and chance.random() < 0.7:
        text = without_accents(text)
    if chance.random() < 0.5:
        text = text.replace("'", " " if language == "fr" and chance.random() < 0.3 else "")
    if text.endswith("..."):  # which the translation keeps
        return text
    bare = text.rstrip(" .!?")
    if text.endswith("?"):
        return bare + chance.choice(("", " ?", "?", "??"))
    return bare + chance.choice(("", "", "", "!!") if text.endswith("!") else ("", "", "."))


def without_accents(text: str) -> str:
    """Return a text as a keyboard without accents has it.

    >>> without_accents("Où est le garçon ?")
    'Ou est le garcon ?'
    """
    return "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))


def titled(text: str, language: str, chance: random.Random) -> str:
    """Return a text with a capital for each word, or for each that weighs something, without its full stop."""
    minor = _MINOR[language] if chance.random() < 0.5 else set()

    def capital(match: re.Match[str]) -> str:
        word = match.group()
        return word if match.start() and word.lower() in minor else word[0].upper() + word[1:]

    return _WORD.sub(capital, text.removesuffix("."))
