"""Plain types as messages to the server: the client's way out."""

from __future__ import annotations

from typing import Any

from dragoman.types import GREEDY, Search
from dragoman.v1 import translation_pb2 as pb


def translation(texts: Any, **options: Any) -> pb.TranslateRequest:
    """Return a `TranslateRequest`; `options` as those of `_fields`."""
    return pb.TranslateRequest(contents=texts, **_fields(**options))


def alignment(pairs: Any, source: str, target: str, one_direction: bool) -> pb.AlignRequest:
    """Return an `AlignRequest` for pairs of texts."""
    return pb.AlignRequest(
        pairs=[pb.SentencePair(source_text=first, target_text=second) for first, second in pairs],
        source_language_code=source,
        target_language_code=target,
        output=pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT),
        one_direction=one_direction,
    )


class StreamRequests:
    """The messages of one stream; the first brings the options of all."""

    def __init__(self, **options: Any) -> None:
        self._options: pb.StreamTranslateOptions | None = pb.StreamTranslateOptions(
            priority=pb.PRIORITY_BULK, **_fields(**options)
        )

    def request(self, id_: str, text: str) -> pb.StreamTranslateRequest:
        """Return the next message."""
        request = pb.StreamTranslateRequest(id=id_, content=text, options=self._options)
        self._options = None
        return request


def _fields(
    *,
    source: str,
    target: str,
    alignment: bool = False,
    search: Search = GREEDY,
    prefix: str = "",
    protection: bool | None = None,
) -> dict[str, Any]:
    """Return the fields that `TranslateRequest` and `StreamTranslateOptions` share."""
    mode = pb.ALIGNMENT_MODE_SOFT if alignment else pb.ALIGNMENT_MODE_UNSPECIFIED
    decoding = pb.DecodingOptions(
        beam_size=search.beam_size, num_alternatives=search.num_alternatives,
        length_penalty=search.length_penalty, target_prefix=prefix, protection=protection,
    )  # fmt: skip
    return {
        "source_language_code": source, "target_language_code": target, "decoding": decoding,
        "output": pb.OutputOptions(alignment=mode),
    }  # fmt: skip
