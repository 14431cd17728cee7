"""Crowds of sentences, and what each of them gets alone: the drill behind the promise of batch invariance.

Sentences are salads of common words, with lengths, in pieces, on both sides of every multiple of 8; some
are searched with a beam, some go on from a prefix. What comes back is compared byte for byte.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from dragoman.text.tokenizer import Tokenizer
from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import request

WORDS = {
    "en": "the a of and to in we they market house water European economic area river agreement signed old new "
    "children quickly never 1992 42 however because under green light people said that would Paris , ;",
    "fr": "le la de et à dans nous ils marché maison eau européen économique espace rivière accord signé vieux "
    "enfants vite jamais 1992 42 cependant parce sous vert lumière gens dit que serait Madrid , ;",
    "es": "el la de y en nosotros ellos mercado casa agua europeo económico espacio río acuerdo firmado viejo "
    "niños rápido nunca 1992 42 sin porque bajo verde luz gente dijo que sería Londres , ;",
}
DIRECTIONS = [("en", "fr"), ("fr", "en"), ("en", "es"), ("es", "en")]
LENGTHS = [*range(1, 34), 39, 40, 41, 47, 48, 49, 63, 64, 65, 80, 95, 120]  # pieces
PREFIXES = {"en": "The new", "fr": "La maison", "es": "El río"}


@dataclass(frozen=True)
class Case:
    """A call, and the reply it gets when nobody else is there."""

    request: pb.TranslateRequest
    alone: bytes


def sentence(tokenizer: Tokenizer, language: str, pieces: int, rng: random.Random) -> str:
    """Return a sentence of exactly so many pieces, or one less where that cannot be hit."""
    words = WORDS[language].split()
    text = ""
    while True:
        longer = f"{text} {rng.choice(words)}".strip()
        if len(tokenizer.encode(longer).tokens) > pieces:
            short = [
                word for word in words if len(tokenizer.encode(f"{text} {word}".strip()).tokens) == pieces
            ]
            return f"{text} {rng.choice(short)}".strip() if short else text or words[0]
        text = longer


def requests(tokenizer: Tokenizer, count: int, seed: int) -> list[pb.TranslateRequest]:
    """Return calls of one sentence each, of every length, direction and kind of search."""
    rng = random.Random(seed)
    found = []
    for index in range(count):
        source, target = DIRECTIONS[index % len(DIRECTIONS)]
        text = sentence(tokenizer, source, LENGTHS[index % len(LENGTHS)], rng)
        decoding = pb.DecodingOptions(max_target_tokens=rng.choice([0, 0, 8, 31, 47, 63]))
        kind = rng.random()
        if kind < 0.25:
            size = rng.randint(2, 5)
            decoding.beam_size, decoding.num_alternatives = size, rng.randint(0, size)
        elif kind < 0.35:
            decoding.target_prefix = PREFIXES[target]
        found.append(
            request(
                text, source=source, target=target, decoding=decoding,
                output=pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT),
            )
        )  # fmt: skip
    return found


def reply_bytes(reply: pb.TranslateResponse) -> bytes:
    """Return all of a reply but what it cost: text, scores, links, tokens, attention, to the last bit."""
    [translation] = reply.translations
    whole: bytes = translation.SerializeToString(deterministic=True)
    return whole


async def ask_alone(stub: Any, asked: list[pb.TranslateRequest]) -> list[Case]:
    """Send calls one at a time."""
    return [Case(one, reply_bytes(await stub.Translate(one, timeout=60))) for one in asked]


async def count_differences(stub: Any, cases: list[Case], *, crowds: int, largest: int, seed: int) -> int:
    """Send some crowds, each all at once or nearly; return how many replies were not those of the lone call."""
    rng = random.Random(seed)
    different = 0

    async def ask(case: Case, delay: float) -> bool:
        await asyncio.sleep(delay)
        return reply_bytes(await stub.Translate(case.request, timeout=60)) != case.alone

    for _ in range(crowds):
        crowd = rng.choices(cases, k=rng.randint(2, largest))
        delays = [rng.choice([0.0, 0.0, rng.random() * 0.03]) for _ in crowd]
        different += sum(await asyncio.gather(*map(ask, crowd, delays)))
    return different
