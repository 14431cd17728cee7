"""The contract over a real connection: structure and invariants, never the quality of a translation."""

import asyncio
import urllib.request
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import start_http_server

from service.metrics import SERVICE
from service.pb.dragoman.v1 import translation_pb2 as pb
from tests.integration.conftest import Running, running

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


def request(*contents: str, source: str = "en", target: str = "fr", **fields: Any) -> pb.TranslateRequest:
    """Return a request with the fields that a test is not about filled in."""
    return pb.TranslateRequest(
        contents=contents, source_language_code=source, target_language_code=target, **fields
    )


def pair(source: str = "The cat.", target: str = "Le chat.", **fields: Any) -> pb.SentencePair:
    """Return a pair to align."""
    return pb.SentencePair(source_text=source, target_text=target, **fields)


def align_request(*pairs: pb.SentencePair, **fields: Any) -> pb.AlignRequest:
    """Return a request to align English and French."""
    return pb.AlignRequest(pairs=pairs, source_language_code="en", target_language_code="fr", **fields)


async def refused(call: Any) -> tuple[str, Any, list[str], grpc.aio.AioRpcError]:
    """Return code, ErrorInfo and faulty fields of a call that fails, and the error itself."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    error = failed.value
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(bad)
    return error.code().name, info, [violation.field for violation in bad.field_violations], error


def detail(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """Return the detail of one kind that an error carries."""
    for packed in rpc_status.from_call(error).details:  # type: ignore[arg-type]
        if packed.Is(kind.DESCRIPTOR):
            packed.Unpack(message := kind())
            return message
    raise AssertionError(f"no {kind.__name__}")


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
            assert ("en", server.served.bundle.full_name) == (done.source_language_code, done.model)

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

        reply = await server.stub.Translate(request(EMOJI_TEXT, output=output))

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
        assert ("ticket-42", server.served.bundle.full_name) == (cost.request_id, cost.model_version)
        assert cost.source_tokens >= 3
        assert cost.target_tokens >= 1
        assert cost.decode_seconds > 0
        assert min(cost.queue_seconds, cost.encode_seconds) >= 0

    @pytest.mark.parametrize("given", ["", "x" * 129])
    async def test_unusable_request_id(self, server: Running, given: str) -> None:
        """
        A request id that is missing or too long is replaced by one of the server's.
        """
        reply = await server.stub.Translate(request("Hello."), metadata=(("x-request-id", given),))

        assert 32 == len(reply.metadata.request_id)


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
        assert "pairs[1].source_words[1]: 'The' does not occur" in bad.error.message
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
        manifest, settings = server.served.bundle.manifest, server.served.settings
        assert (manifest.name, manifest.version, True) == (model.name, model.version, model.is_default)
        assert server.served.bundle.checksum == model.checksum
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
        assert settings.max_running_sentences == limits.max_running_sentences
        assert settings.max_sentence_tokens == model.max_source_tokens
        assert server.served.threads == runtime.num_threads
        assert runtime.kernel_set
        assert runtime.server_version
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


def decoding(**fields: Any) -> pb.TranslateRequest:
    """Return a request with decoding options."""
    return request("Hi.", decoding=pb.DecodingOptions(**fields))


def output(**fields: Any) -> pb.TranslateRequest:
    """Return a request with output options."""
    return request("Hi.", output=pb.OutputOptions(**fields))


# request -> code, reason, faulty field
REFUSALS = {
    "empty-list": (request(), "INVALID_ARGUMENT", "EMPTY_REQUEST", "contents"),
    "no-target": (request("Hi.", target=""), "INVALID_ARGUMENT", "INVALID_LANGUAGE_CODE", "target_language_code"),
    "no-language": (request("Hi.", source="xx"), "INVALID_ARGUMENT", "INVALID_LANGUAGE_CODE", "source_language_code"),
    "endless-language": (request("Hi.", source="x" * 100_000), "INVALID_ARGUMENT", "INVALID_LANGUAGE_CODE", "source_language_code"),
    "not-served": (request("Hi.", target="de"), "NOT_FOUND", "LANGUAGE_NOT_SERVED", ""),
    "pair": (request("Hi.", source="es"), "NOT_FOUND", "PAIR_NOT_SERVED", ""),
    "same": (request("Hi.", target="en-US"), "INVALID_ARGUMENT", "SAME_LANGUAGE", "target_language_code"),
    "model": (request("Hi.", model="other"), "NOT_FOUND", "MODEL_NOT_SERVED", ""),
    "no-model": (request("Hi.", model="@1"), "NOT_FOUND", "MODEL_NOT_SERVED", ""),
    "too-many": (request(*["Hi."] * 257), "INVALID_ARGUMENT", "TOO_MANY_TEXTS", "contents"),
    "too-long": (request("x" * 20_001), "INVALID_ARGUMENT", "TEXT_TOO_LONG", "contents[0]"),
    "all-too-long": (request(*["x" * 20_001] * 2), "INVALID_ARGUMENT", "TEXT_TOO_LONG", "contents[0]"),
    "request-too-long": (request(*["x" * 20_000] * 11), "INVALID_ARGUMENT", "REQUEST_TOO_LONG", "contents"),
    "sentences": (request("A b. " * 2_001), "INVALID_ARGUMENT", "REQUEST_TOO_LONG", "contents"),
    "beam-99": (decoding(beam_size=99), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.beam_size"),
    "beam-negative": (decoding(beam_size=-1), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.beam_size"),
    "beam-4": (decoding(beam_size=4), "INVALID_ARGUMENT", "NOT_YET_SERVED", "decoding.beam_size"),
    "alternatives-2": (decoding(num_alternatives=2), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.num_alternatives"),
    "alternatives-1": (decoding(num_alternatives=1), "INVALID_ARGUMENT", "NOT_YET_SERVED", "decoding.num_alternatives"),
    "penalty-9": (decoding(length_penalty=9), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.length_penalty"),
    "penalty-nan": (decoding(length_penalty=float("nan")), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.length_penalty"),
    "penalty-0": (decoding(length_penalty=0), "INVALID_ARGUMENT", "NOT_YET_SERVED", "decoding.length_penalty"),
    "prefix": (decoding(target_prefix="Le"), "INVALID_ARGUMENT", "NOT_YET_SERVED", "decoding.target_prefix"),
    "tokens": (decoding(max_target_tokens=-1), "INVALID_ARGUMENT", "INVALID_OPTION", "decoding.max_target_tokens"),
    "html": (request("Hi.", mime_type="text/html"), "INVALID_ARGUMENT", "NOT_YET_SERVED", "mime_type"),
    "mime": (request("Hi.", mime_type="image/png"), "INVALID_ARGUMENT", "INVALID_OPTION", "mime_type"),
    "glossary": (request("Hi.", glossary=[pb.GlossaryEntry()]), "INVALID_ARGUMENT", "NOT_YET_SERVED", "glossary"),
    "keep": (request("Hi.", do_not_translate=["Hi"]), "INVALID_ARGUMENT", "NOT_YET_SERVED", "do_not_translate"),
    "priority": (request("Hi.", priority=7), "INVALID_ARGUMENT", "INVALID_OPTION", "priority"),
    "detection": (request("Hi.", source=""), "INVALID_ARGUMENT", "NOT_YET_SERVED", "source_language_code"),
    "confidence": (output(word_confidence=True), "INVALID_ARGUMENT", "NOT_YET_SERVED", "output.word_confidence"),
    "alignment": (output(alignment=9), "INVALID_ARGUMENT", "INVALID_OPTION", "output.alignment"),
    "unit": (output(offset_unit=9), "INVALID_ARGUMENT", "INVALID_OPTION", "output.offset_unit"),
}  # fmt: skip


class TestErrors:
    @pytest.mark.parametrize("name", list(REFUSALS))
    async def test_translate(self, server: Running, name: str) -> None:
        """
        Each fault has the code, the reason and the field's path that the contract gives it.
        """
        asked, code, reason, field = REFUSALS[name]
        before = server.value("dragoman_rejected_total", reason=reason)

        found, info, fields, error = await refused(server.stub.Translate(asked))

        assert (code, reason, "dragoman") == (found, info.reason, info.domain)
        assert ([field] if field else []) == fields
        assert 10 < len(error.details() or "") < 200
        assert before + 1 == server.value("dragoman_rejected_total", reason=reason)

    @pytest.mark.parametrize(
        ("asked", "code", "reason"),
        [
            (align_request(), "INVALID_ARGUMENT", "EMPTY_REQUEST"),
            (align_request(*[pair()] * 257), "INVALID_ARGUMENT", "TOO_MANY_TEXTS"),
            (align_request(pair(), model="other"), "NOT_FOUND", "MODEL_NOT_SERVED"),
            (align_request(pair(), priority=9), "INVALID_ARGUMENT", "INVALID_OPTION"),
            (align_request(pair("x" * 20_001)), "INVALID_ARGUMENT", "TEXT_TOO_LONG"),
            (align_request(*[pair("x" * 20_000)] * 11), "INVALID_ARGUMENT", "REQUEST_TOO_LONG"),
        ],
        ids=["empty", "too-many", "model", "priority", "too-long", "request-too-long"],
    )
    async def test_align(self, server: Running, asked: Any, code: str, reason: str) -> None:
        """
        So do the faults of a request to align.
        """
        found, info, _, _ = await refused(server.stub.Align(asked))

        assert (code, reason) == (found, info.reason)

    async def test_version(self, server: Running) -> None:
        """
        The model may be named, also with its version; another version is not served, and the error says which is.
        """
        served = server.served.bundle.full_name
        name = served.partition("@")[0]
        for model in (name, served):
            await server.stub.Translate(request("Hi.", model=model))

        code, info, _, _ = await refused(server.stub.Translate(request("Hi.", model=f"{name}@none")))

        assert ("NOT_FOUND", "VERSION_NOT_SERVED", served) == (code, info.reason, info.metadata["served"])

    @pytest.mark.parametrize(
        "payload",
        [b"\xff\xff\xff", b"\x0a\x05abc", b"\x0a\x02\xc3\x28", b"\x0a\x03\xed\xa0\x80"],
        ids=["no-message", "cut", "not-utf-8", "surrogate"],
    )
    async def test_malformed(self, server: Running, payload: bytes) -> None:
        """
        Bytes that are no message, or text in it that is not UTF-8, are the caller's fault.
        """
        call = server.channel.unary_unary(f"/{SERVICE}/Translate")

        code, info, fields, _ = await refused(call(payload))

        assert ("INVALID_ARGUMENT", "MALFORMED_MESSAGE") == (code, info.reason)
        assert [] == fields

    async def test_too_large_for_the_transport(self, server: Running) -> None:
        """
        A message over the transport's size is refused by gRPC itself.
        """
        code, _, _, _ = await refused(server.stub.Translate(request("x" * (4 * 2**20))))

        assert "RESOURCE_EXHAUSTED" == code

    @pytest.mark.parametrize("method", ["DetectLanguage", "StreamTranslate", "Nonsense"])
    async def test_not_implemented(self, server: Running, method: str) -> None:
        """
        A method that is not served yet is UNIMPLEMENTED.
        """
        call = server.channel.unary_unary(f"/{SERVICE}/{method}")

        assert "UNIMPLEMENTED" == (await refused(call(b"")))[0]

    async def test_deadline(self, server: Running) -> None:
        """
        A call that runs out of time ends at once, and its sentences stop costing rows.
        """
        texts = ["The cat sat on the mat, and slept until the morning came. " * 20] * 5

        with pytest.raises(grpc.aio.AioRpcError) as late:
            await server.stub.Translate(request(*texts), timeout=0.05)

        assert grpc.StatusCode.DEADLINE_EXCEEDED is late.value.code()
        await until_idle(server)

    async def test_hanging_up(self, server: Running) -> None:
        """
        A call that its client gives up frees its rows.
        """
        call = server.stub.Translate(request("The cat sat on the mat, and slept on. " * 40))
        await asyncio.sleep(0.1)

        call.cancel()

        await until_idle(server)


async def until_idle(server: Running) -> None:
    """Wait until nothing runs or waits, for a second at most."""
    for _ in range(100):
        await asyncio.sleep(0.01)
        if not server.value("dragoman_running_sentences") and not server.value("dragoman_queue_depth"):
            return
    raise AssertionError("sentences nobody waits for are still running")


async def test_default_deadline() -> None:
    """
    A call without a deadline gets the server's, and the error says how long it was.
    """
    async with running(default_deadline_seconds="0.1") as hurried:
        texts = ["The cat sat on the mat, and slept until the morning came. " * 100] * 3

        code, info, _, error = await refused(hurried.stub.Translate(request(*texts)))

        assert ("DEADLINE_EXCEEDED", "DEADLINE_PASSED") == (code, info.reason)
        assert "not finished within 0.1 s" == error.details()


async def test_queue_full() -> None:
    """
    When the line is full a call is refused with the time to come back, and those accepted are served.
    """
    async with running(max_running_sentences="1", max_queued_sentences="4") as small:
        texts = ["The cat sat on the mat, and slept until the morning came."] * 3
        calls = [small.stub.Translate(request(*texts)) for _ in range(4)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

        failed = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
        assert 1 <= len(failed) <= 3
        for error in failed:
            assert grpc.StatusCode.RESOURCE_EXHAUSTED is error.code()
            assert "QUEUE_FULL" == detail(error, error_details_pb2.ErrorInfo).reason
            metadata: Any = error.trailing_metadata()
            milliseconds = detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds()
            assert milliseconds > 0
            assert str(milliseconds) == dict(metadata)["grpc-retry-pushback-ms"]
        served = [outcome for outcome in outcomes if isinstance(outcome, pb.TranslateResponse)]
        assert 4 == len(failed) + len(served)
        assert all(3 == len(reply.translations) for reply in served)


CROWD = [
    ("en", "fr", "The agreement on the European Economic Area was signed in August 1992."),
    ("en", "es", "Yes."),
    ("fr", "en", "L'accord sur la zone économique européenne a été signé en août 1992."),
    ("es", "en", "¿Dónde está la biblioteca? €18.10, 50 % — «sí»."),
    *[("en", "fr", "a" + " a" * (size - 1)) for size in (5, 29, 45, 61, 90)],  # tag and end make it 31, 47, 63
]  # fmt: skip


async def test_alone_or_in_a_crowd(server: Running) -> None:
    """
    A reply is the same bit for bit, whoever shares the batch: tokens, scores, attention, everything.
    """
    options = pb.OutputOptions(alignment=SOFT, tokens=True)
    limit = pb.DecodingOptions(max_target_tokens=40)
    asked = [
        request(text, source=source, target=target, output=options, decoding=limit)
        for source, target, text in CROWD
    ]
    alone = [await server.stub.Translate(single) for single in asked]
    assert {31, 47, 63} <= {reply.metadata.source_tokens for reply in alone}
    steps, rows = server.value("dragoman_batch_rows_count"), server.value("dragoman_batch_rows_sum")

    for order in (asked, asked[::-1], asked[3:] + asked[:3]):
        together = await asyncio.gather(*(server.stub.Translate(single) for single in order))
        for single, reply in zip(order, together, strict=True):
            expected = alone[asked.index(single)].translations[0]
            assert expected.SerializeToString(deterministic=True) == reply.translations[0].SerializeToString(
                deterministic=True
            )

    merged = server.value("dragoman_batch_rows_sum") - rows
    assert merged / (server.value("dragoman_batch_rows_count") - steps) > 2


class TestHealth:
    @pytest.mark.parametrize("service", ["", SERVICE])
    async def test_check(self, server: Running, service: str) -> None:
        """
        The server as a whole and the service by its name are serving.
        """
        stub: Any = health_pb2_grpc.HealthStub(server.channel)

        reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))

        assert health_pb2.HealthCheckResponse.SERVING == reply.status

    async def test_unknown(self, server: Running) -> None:
        """
        A service that is not ours is NOT_FOUND.
        """
        stub: Any = health_pb2_grpc.HealthStub(server.channel)

        assert "NOT_FOUND" == (await refused(stub.Check(health_pb2.HealthCheckRequest(service="x"))))[0]

    async def test_watch_sees_the_drain(self) -> None:
        """
        Whoever watches is told when the server drains, and does not keep it from ending.
        """
        async with running(drain_seconds="20") as leaving:
            stub: Any = health_pb2_grpc.HealthStub(leaving.channel)
            watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert health_pb2.HealthCheckResponse.SERVING == (await watching.read()).status
            began = asyncio.get_running_loop().time()

            draining = asyncio.create_task(leaving.server.drain())

            assert health_pb2.HealthCheckResponse.NOT_SERVING == (await watching.read()).status
            await draining
            assert asyncio.get_running_loop().time() - began < 5


async def test_drain_finishes_running_calls() -> None:
    """
    A call that was accepted is answered although the server drains; what comes later is refused.
    """
    async with running() as leaving:
        call = leaving.stub.Translate(request("The cat sat on the mat, and slept. " * 10))
        for _ in range(200):
            await asyncio.sleep(0.005)
            if leaving.value("dragoman_running_sentences"):
                break

        draining = asyncio.create_task(leaving.server.drain())

        assert 10 == len((await call).translations[0].sentences)
        await draining


async def test_reflection(server: Running) -> None:
    """
    Tools may ask for the contract.
    """
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    async for reply in stub.ServerReflectionInfo(iter([asked])):
        names = {listed.name for listed in reply.list_services_response.service}

    assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_metrics_over_http(server: Running) -> None:
    """
    Calls and engine are seen at /metrics under the names that dashboards expect.
    """
    await server.stub.Translate(request("Hello."))
    http, thread = start_http_server(0, "127.0.0.1", server.metrics.registry)

    with urllib.request.urlopen(f"http://127.0.0.1:{http.server_port}/metrics", timeout=5) as reply:
        text = reply.read().decode()

    http.shutdown()
    http.server_close()
    thread.join()
    labels = f'{{grpc_code="OK",grpc_method="Translate",grpc_service="{SERVICE}",grpc_type="unary"}}'
    assert f"grpc_server_handled_total{labels}" in text
    assert 'dragoman_target_tokens_total{pair="en-fr"}' in text
    assert f'dragoman_model_info{{model="{server.served.bundle.full_name}"}} 1.0' in text
    assert "dragoman_cpu_limit_cores" in text
