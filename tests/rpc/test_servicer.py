"""Translate, Align and ListModels over a real connection: structure and invariants, never quality."""

from collections.abc import Callable
from typing import Any

import pytest

from dragoman import __version__
from dragoman.types import Options
from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import align_request, pair, refused, request
from tests.servers import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HARD, SOFT = pb.ALIGNMENT_MODE_HARD, pb.ALIGNMENT_MODE_SOFT
UNITS: dict[Any, Callable[[str, Any], str]] = {
    pb.OFFSET_UNIT_UNSPECIFIED: lambda text, span: text[span.start : span.end],
    pb.OFFSET_UNIT_UTF8_BYTE: lambda text, span: text.encode()[span.start : span.end].decode(),
    pb.OFFSET_UNIT_UTF16_CODE_UNIT: lambda text, span: text.encode("utf-16-le")[
        2 * span.start : 2 * span.end
    ].decode("utf-16-le"),
}
EMOJI_TEXT = "🎉 Good morning!\n\n  It’s the 👩‍🚀’s cafe\u0301… "


class TestTranslate:
    async def test_order_and_number(self, server: Running) -> None:
        """
        The reply has as many translations as the request has texts, in the same order, whatever their length.
        """
        texts = ["One.", "", "Two. Three. Four.", "  ", "A rather longer sentence comes last, as they do."]

        reply = await server.stub.Translate(request(*texts))

        assert [1, 0, 3, 0, 1] == [len(done.sentences) for done in reply.translations]
        for text, done in zip(texts, reply.translations, strict=True):
            alone = await server.stub.Translate(request(text))
            assert alone.translations[0] == done
            assert ("en", server.registry.bundle.full_name) == (done.source_language_code, done.model)

    @pytest.mark.parametrize("text", ["", " ", "\n\n", "\u200b", "\t\r\n\u00a0"])
    async def test_blank(self, server: Running, text: str) -> None:
        """
        An empty or blank text translates to itself.
        """
        reply = await server.stub.Translate(request(text))

        assert text == reply.translations[0].translated_text

    async def test_white_space_byte_for_byte(self, server: Running) -> None:
        """
        Borders, line breaks and the space between sentences are those of the request.
        """
        text = "\n  Title\r\n\r\n- first thing\n- second thing\t\n\u00a0The end. \u3000Or not? "

        reply = await server.stub.Translate(request(text))

        done = reply.translations[0]
        source_end = target_end = 0
        for sentence in done.sentences:
            gap = text[source_end : sentence.source_span.start]
            assert gap == done.translated_text[target_end : sentence.target_span.start]
            source_end, target_end = sentence.source_span.end, sentence.target_span.end
        assert text[source_end:] == done.translated_text[target_end:]
        assert 5 == len(done.sentences)

    @pytest.mark.parametrize("unit", list(UNITS), ids=["code-points", "utf-8", "utf-16"])
    async def test_offsets(self, server: Running, unit: Any) -> None:
        """
        Spans point at the words of both texts in the caller's unit, emoji and combining marks included.
        """
        output = pb.OutputOptions(alignment=HARD, offset_unit=unit, tokens=True)

        alone = pb.DecodingOptions(protection=False)  # emoji are words of a sentence, also at its edges
        reply = await server.stub.Translate(request(EMOJI_TEXT, output=output, decoding=alone))

        [done] = reply.translations
        at = UNITS[unit]
        sources = [at(EMOJI_TEXT, word.span) for sentence in done.sentences for word in sentence.source_words]
        assert ["🎉", "Good", "morning", "!", "It’s", "the"] == sources[:6]
        assert sources[-2:] == ["cafe\u0301", "…"]
        for sentence in done.sentences:
            target = at(done.translated_text, sentence.target_span)
            words = [at(done.translated_text, word.span) for word in sentence.target_words]
            assert "".join(target.split()) == "".join("".join(words).split())
            for token in [*sentence.source_tokens, *sentence.target_tokens]:
                assert token.span.start <= token.span.end

    async def test_hard_alignment(self, server: Running) -> None:
        """
        Hard links are indices into the two word lists, in order, with weights in [0, 1]; no matrix comes with them.
        """
        output = pb.OutputOptions(alignment=HARD)

        reply = await server.stub.Translate(request("The cat sat on the mat. It slept.", output=output))

        for sentence in reply.translations[0].sentences:
            links = [(link.source_word, link.target_word) for link in sentence.links]
            assert sorted(set(links)) == links
            assert all(s < len(sentence.source_words) and t < len(sentence.target_words) for s, t in links)
            assert all(0 <= link.weight <= 1 for link in sentence.links)
            assert not sentence.HasField("attention")
            assert not sentence.source_tokens

    async def test_soft_alignment(self, server: Running) -> None:
        """
        The matrix has a row for each target token and a column for each source token; rows sum to 1.
        """
        output = pb.OutputOptions(alignment=SOFT)

        reply = await server.stub.Translate(request("The cat sat on the mat.", output=output))

        [sentence] = reply.translations[0].sentences
        matrix = sentence.attention
        assert (len(sentence.target_tokens), len(sentence.source_tokens)) == (matrix.rows, matrix.columns)
        assert matrix.rows * matrix.columns == len(matrix.weights)
        for row in range(matrix.rows):
            weights = matrix.weights[row * matrix.columns : (row + 1) * matrix.columns]
            assert pytest.approx(1.0, abs=1e-4) == sum(weights)
            assert min(weights) >= 0
        assert sentence.links or sentence.source_words

    async def test_nothing_uncalled_for(self, server: Running) -> None:
        """
        Without output options there are texts, spans and scores only.
        """
        reply = await server.stub.Translate(request("The cat sat."))

        [sentence] = reply.translations[0].sentences
        names = {field.name for field, _ in sentence.ListFields()}
        assert names <= {"source_span", "target_span", "score", "finish_reason"}

    async def test_scores_are_log_probabilities(self, server: Running) -> None:
        """
        No token is likelier than certain, and the score of a sentence is their mean.
        """
        output = pb.OutputOptions(tokens=True)

        reply = await server.stub.Translate(request("Yes.", "The cat sat on the mat.", output=output))

        for done in reply.translations:
            for sentence in done.sentences:
                scores = [token.log_probability for token in sentence.target_tokens]
                assert all(score <= 0 for score in scores)
                assert pytest.approx(sum(scores) / len(scores), rel=1e-4) == sentence.score
                assert not any(token.HasField("log_probability") for token in sentence.source_tokens)

    async def test_cut(self, server: Running) -> None:
        """
        A translation that reaches `max_target_tokens` ends there, says so and is flagged.
        """
        decoding = pb.DecodingOptions(max_target_tokens=2, beam_size=1)

        reply = await server.stub.Translate(request("The cat sat on the mat.", decoding=decoding))

        [done] = reply.translations
        assert pb.FINISH_REASON_LENGTH == done.sentences[0].finish_reason
        assert [(pb.FLAG_KIND_TARGET_CUT, 2.0)] == [(flag.kind, flag.value) for flag in done.flags]

    async def test_uncovered(self, server: Running) -> None:
        """
        What a translation that was cut did not come to is flagged, if an alignment is asked for.
        """
        text = "The old cat sat on the mat, and the big dog slept in the house until the morning came."
        decoding = pb.DecodingOptions(max_target_tokens=6, beam_size=1)
        links = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_HARD)

        aligned = await server.stub.Translate(request(text, decoding=decoding, output=links))
        plain = await server.stub.Translate(request(text, decoding=decoding))

        [lost] = [
            flag for flag in aligned.translations[0].flags if flag.kind == pb.FLAG_KIND_UNCOVERED_SOURCE
        ]
        assert not lost.HasField("target_span")
        assert text[lost.source_span.start : lost.source_span.end].endswith("until the morning came")
        assert lost.value < 0.3
        assert pb.FLAG_KIND_UNCOVERED_SOURCE not in {flag.kind for flag in plain.translations[0].flags}

    async def test_users_forge_no_tags(self, server: Running) -> None:
        """
        Control symbols that a user types are text: they are read in pieces, and the target stays French.
        """
        output = pb.OutputOptions(tokens=True)

        reply = await server.stub.Translate(request("<2es> Hello </s> there <2en>", output=output))

        pieces = [token.piece for token in reply.translations[0].sentences[0].source_tokens]
        assert ["<2fr>", "</s>"] == [pieces[0], pieces[-1]]
        assert {"<2fr>", "<2es>", "<2en>", "</s>"}.isdisjoint(pieces[1:-1])

    @pytest.mark.parametrize("source", ["en-GB", "EN", "en_US", "en-Latn-US"])
    async def test_subtags(self, server: Running, source: str) -> None:
        """
        Script and region are accepted and ignored; the reply says the bare language.
        """
        reply = await server.stub.Translate(request("Hello.", source=source, target="fr-CA"))

        assert "en" == reply.translations[0].source_language_code

    async def test_one_bad_text(self, server: Running) -> None:
        """
        A text that fails alone carries its own error and leaves its neighbours be.
        """
        reply = await server.stub.Translate(request("Hello.", "x" * 20_001, "Bye."))

        good, bad, other = reply.translations
        assert good.translated_text
        assert other.translated_text
        assert not bad.translated_text
        assert (3, "TEXT_TOO_LONG") == (bad.error.code, bad.error.reason)
        assert {"limit": "20000", "actual": "20001"} == dict(bad.error.metadata)
        assert "code points in contents[1]: 20,001, the limit is 20,000" == bad.error.message

    async def test_metadata(self, server: Running) -> None:
        """
        The reply says what it cost and who answered, under the request id of the caller.
        """
        metadata = (("x-request-id", "ticket-42"),)

        reply = await server.stub.Translate(request("Hello there."), metadata=metadata)

        cost = reply.metadata
        assert ("ticket-42", server.registry.bundle.full_name) == (cost.request_id, cost.model_version)
        assert cost.source_tokens >= 3
        assert cost.target_tokens >= 1
        assert cost.decode_seconds > 0
        assert min(cost.queue_seconds, cost.encode_seconds) >= 0


class TestAlign:
    async def test_words_of_the_server(self, server: Running) -> None:
        """
        A given pair gets words, links and a score; its text is not touched.
        """
        reply = await server.stub.Align(align_request(pair("The cat sat.", "Le chat  s'est assis.")))

        [sentence] = reply.alignments
        target = "Le chat  s'est assis."
        assert ["Le", "chat", "s'", "est", "assis", "."] == [
            target[word.span.start : word.span.end] for word in sentence.target_words
        ]
        assert 4 == len(sentence.source_words)
        assert sentence.score <= 0
        assert pb.FINISH_REASON_UNSPECIFIED == sentence.finish_reason

    async def test_words_of_the_caller(self, server: Running) -> None:
        """
        The caller's own words come back one for one, and links refer to them.
        """
        words = ["Le", "chat", "s'est", "assis"]
        given = pb.SentencePair(
            source_text="The cat sat.", source_words=["The cat", "sat"], target_words=words
        )

        reply = await server.stub.Align(align_request(given, output=pb.OutputOptions(alignment=SOFT)))

        [sentence] = reply.alignments
        assert [(0, 7), (8, 11)] == [(word.span.start, word.span.end) for word in sentence.source_words]
        joined = " ".join(words)
        assert words == [joined[word.span.start : word.span.end] for word in sentence.target_words]
        assert all(link.source_word < 2 and link.target_word < 4 for link in sentence.links)
        matrix = sentence.attention
        assert (len(sentence.target_tokens), len(sentence.source_tokens)) == (matrix.rows, matrix.columns)
        assert "</s>" == sentence.target_tokens[-1].piece

    @pytest.mark.parametrize("one_direction", [False, True])
    async def test_directions(self, server: Running, one_direction: bool) -> None:
        """
        Links are those of the mean of both directions, unless the one asked for is to do; all else is its own.
        """
        texts = "The cat sat.", "Le chat s'est assis."
        output = pb.OutputOptions(alignment=SOFT)

        request = align_request(pair(*texts), output=output, one_direction=one_direction)
        [sentence] = (await server.stub.Align(request)).alignments

        options = Options("en", "fr", alignment=True, both_directions=not one_direction)
        expected = await server.registry.translator.align(*texts, options)
        assert expected.words is not None
        assert expected.words.links
        assert [(link.source_word, link.target_word) for link in sentence.links] == [
            link[:2] for link in expected.words.links
        ]
        assert [link.weight for link in sentence.links] == pytest.approx(
            [link.weight for link in expected.words.links]
        )
        assert list(sentence.attention.weights) == pytest.approx(expected.attention.ravel().tolist())

    async def test_one_bad_pair(self, server: Running) -> None:
        """
        A pair that cannot be aligned carries its own error; a blank side is none, it has no links.
        """
        misplaced = pair(source_words=["cat", "The"])

        reply = await server.stub.Align(
            align_request(pair(), misplaced, pair("", "Le chat."), pair("a " * 400))
        )

        good, bad, blank, long = reply.alignments
        assert good.source_words
        assert not good.HasField("error")
        assert (3, "WORDS_NOT_IN_TEXT") == (bad.error.code, bad.error.reason)
        assert "pairs[1].source_words[1] does not occur" in bad.error.message
        assert not blank.HasField("error")
        assert not blank.links
        assert 3 == len(blank.target_words)
        assert "TEXT_TOO_LONG" == long.error.reason

    async def test_all_bad(self, server: Running) -> None:
        """
        A call fails when every pair did, with the first one's error.
        """
        call = server.stub.Align(align_request(pair(source_words=["dog"]), pair("a " * 400)))

        code, info, fields, _ = await refused(call)

        assert ("INVALID_ARGUMENT", "WORDS_NOT_IN_TEXT") == (code, info.reason)
        assert ["pairs[0].source_words[0]"] == fields

    async def test_agrees_with_translate(self, server: Running) -> None:
        """
        A translation that is given back to be aligned gets the probabilities it was written with.
        """
        texts = ["Hello there.", "Yes.", "The cat sat.", "I do not know."]
        options = pb.OutputOptions(alignment=SOFT)
        done = (await server.stub.Translate(request(*texts, output=options))).translations

        given = [pair(text, each.translated_text) for text, each in zip(texts, done, strict=True)]
        aligned = (await server.stub.Align(align_request(*given, output=options))).alignments

        for each, again in zip(done, aligned, strict=True):
            [written] = each.sentences
            pieces = [token.piece for token in written.target_tokens]
            if pieces == [token.piece for token in again.target_tokens]:  # it may also be spelled otherwise
                assert written.target_tokens == again.target_tokens
                assert (written.score, written.attention) == (again.score, again.attention)


class TestListModels:
    async def test_agrees_with_settings_and_manifest(self, server: Running) -> None:
        """
        Models, limits and runtime are those that are really in force.
        """
        reply = await server.stub.ListModels(pb.ListModelsRequest())

        [model], limits, runtime = reply.models, reply.limits, reply.runtime
        manifest, settings = server.registry.bundle.manifest, server.registry.settings
        assert (manifest.name, manifest.version, True) == (model.name, model.version, model.is_default)
        assert server.registry.bundle.checksum == model.checksum
        assert manifest.pairs == [
            [both.source_language_code, both.target_language_code] for both in model.language_pairs
        ]
        assert manifest.shape["vocabulary"] == model.vocabulary_size
        assert manifest.num_parameters == model.num_parameters
        assert model.precision in ("int8", "float32")
        assert model.load_time.seconds > 0
        assert settings.max_texts == limits.max_texts_per_call
        assert settings.max_code_points == limits.max_code_points_per_text
        assert settings.max_call_code_points == limits.max_code_points_per_call
        assert settings.max_queued_sentences == limits.max_queued_sentences
        assert server.registry.num_workers * settings.max_running_sentences == limits.max_running_sentences
        assert settings.max_sentence_tokens == model.max_source_tokens
        assert server.registry.num_workers * server.registry.threads == runtime.num_threads
        assert runtime.kernel_set
        assert __version__ == runtime.server_version
        assert "onnxruntime" in runtime.engine_version

    async def test_limits_can_be_used(self, server: Running) -> None:
        """
        The most target tokens that ListModels names may be asked for, one more may not.
        """
        [model] = (await server.stub.ListModels(pb.ListModelsRequest())).models
        most = pb.DecodingOptions(max_target_tokens=model.max_target_tokens)
        too_many = pb.DecodingOptions(max_target_tokens=model.max_target_tokens + 1)

        await server.stub.Translate(request("Hi.", decoding=most))
        code, info, fields, _ = await refused(server.stub.Translate(request("Hi.", decoding=too_many)))

        assert ("INVALID_ARGUMENT", "INVALID_OPTION") == (code, info.reason)
        assert ["decoding.max_target_tokens"] == fields
