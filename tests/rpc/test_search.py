"""Beam search, alternatives, prefixes and the guard against repetition, over gRPC."""

from typing import Any

import pytest

from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import request
from tests.servers import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT = "The children drink cold water in the old house."


async def translate(server: Running, text: str = TEXT, **decoding: Any) -> pb.Translation:
    """Return the translation of one text, its alignment and tokens included."""
    output = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT)
    asked = request(text, decoding=pb.DecodingOptions(**decoding), output=output)
    done: pb.Translation = (await server.stub.Translate(asked)).translations[0]
    return done


class TestBeam:
    async def test_is_at_least_as_probable(self, server: Running) -> None:
        """
        Compared by its mean, the best of a beam is no worse than what greedy search finds.
        """
        greedy, beam = await translate(server), await translate(server, beam_size=4)

        assert beam.sentences[0].score >= greedy.sentences[0].score

    async def test_size_one_is_greedy(self, server: Running) -> None:
        """
        A beam of one hypothesis is greedy search, to the last bit.
        """
        assert await translate(server) == await translate(server, beam_size=1)

    async def test_tokens_links_and_score_belong_together(self, server: Running) -> None:
        """
        Score, tokens, attention and links are those of the hypothesis that won.
        """
        done = await translate(server, beam_size=8)

        [sentence] = done.sentences
        scores = [token.log_probability for token in sentence.target_tokens]
        assert pytest.approx(sum(scores) / len(scores), rel=1e-4) == sentence.score
        assert len(sentence.target_tokens) == sentence.attention.rows
        aligned = await server.stub.Align(
            pb.AlignRequest(
                pairs=[pb.SentencePair(source_text=TEXT, target_text=done.translated_text)],
                source_language_code="en", target_language_code="fr",
            )
        )  # fmt: skip
        # Forced along the same pieces the decoder attends as it did in the beam.
        assert [(link.source_word, link.target_word) for link in aligned.alignments[0].links] == [
            (link.source_word, link.target_word) for link in sentence.links
        ]

    async def test_alternatives(self, server: Running) -> None:
        """
        Alternatives are other texts, best first, with words and links of their own.
        """
        done = await translate(server, beam_size=4, num_alternatives=3)

        others = done.sentences[0].alternatives
        texts = [done.translated_text, *(other.text for other in others)]
        assert 1 < len(set(texts)) == len(texts) <= 4
        scores = [done.sentences[0].score, *(other.score for other in others)]
        assert sorted(scores, reverse=True) == scores
        for other in others:
            assert all(other.text[word.span.start : word.span.end].strip() for word in other.words)
            assert {link.target_word for link in other.links} <= set(range(len(other.words)))

    async def test_alternatives_count(self, server: Running) -> None:
        """
        What a call cost has the tokens of all hypotheses that came back.
        """
        best = await server.stub.Translate(request("The cat sat.", decoding=pb.DecodingOptions(beam_size=4)))
        decoding = pb.DecodingOptions(beam_size=4, num_alternatives=3)
        before = server.value("dragoman_target_tokens_total", pair="en-fr")
        all_ = await server.stub.Translate(request("The cat sat.", decoding=decoding))

        written = all_.metadata.target_tokens
        assert written > best.metadata.target_tokens
        assert written == server.value("dragoman_target_tokens_total", pair="en-fr") - before

    async def test_length_penalty(self, server: Running) -> None:
        """
        A larger exponent never prefers the shorter translation.
        """
        short = await translate(server, beam_size=4, length_penalty=0.0)
        long = await translate(server, beam_size=4, length_penalty=5.0)

        assert len(short.sentences[0].target_tokens) <= len(long.sentences[0].target_tokens)


class TestPrefix:
    @pytest.mark.parametrize("prefix", ["Les gamins", "Les gam", "L'eau froide, ", "  «\u00a0Ça", "🙂", " "])
    @pytest.mark.parametrize("beam_size", [1, 3])
    async def test_is_kept_as_given(self, server: Running, prefix: str, beam_size: int) -> None:
        """
        The translation begins with the prefix, character by character, and goes on after it.
        """
        done = await translate(server, target_prefix=prefix, beam_size=beam_size)

        assert done.translated_text.startswith(prefix)
        assert len(done.translated_text) > len(prefix)
        assert not done.translated_text[len(prefix) :].startswith(" " * 2)

    async def test_spans_count_it(self, server: Running) -> None:
        """
        Words and tokens of the prefix are words and tokens of the translation.
        """
        done = await translate(server, target_prefix="Les gamins")

        [sentence] = done.sentences
        assert (0, len(done.translated_text)) == (sentence.target_span.start, sentence.target_span.end)
        words = [done.translated_text[w.span.start : w.span.end] for w in sentence.target_words]
        assert ["Les", "gamins"] == words[:2]
        assert len(sentence.target_tokens) == sentence.attention.rows

    async def test_its_own_translation_is_no_news(self, server: Running) -> None:
        """
        Given the first words that it would have chosen itself, the model goes on as it would have.
        """
        free = await translate(server)
        first = " ".join(free.translated_text.split()[:2])

        assert free.translated_text == (await translate(server, target_prefix=first)).translated_text
