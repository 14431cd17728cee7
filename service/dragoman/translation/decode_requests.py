"""Decode requests: from a prepared sentence and the caller's options to what the decode pool is asked for."""

from __future__ import annotations

from collections.abc import Iterable

from dragoman.batching.decode_request import DecodeRequest
from dragoman.bundle import Bundle
from dragoman.text.preprocessing import PreparedSentence, target_token_limit
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from dragoman.types import Options

_WEIGHT_BYTES = 4  # float32


class DecodeRequests:
    """Makes the decode requests of one model."""

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._shift = bundle.manifest.alignment.shift
        self._max_target_tokens = bundle.manifest.max_target_tokens

    def make(
        self, sentence: PreparedSentence, options: Options, prefix: PreparedSentence | None = None
    ) -> DecodeRequest:
        """Return the request to translate a sentence, beginning with a prefix if there is one."""
        source_tokens = [self._tokenizer.tag_id(options.target), *sentence.tokens, EOS_ID]
        target_prefix = prefix.tokens if prefix else []
        limit = len(target_prefix) + target_token_limit(len(source_tokens))
        return DecodeRequest(
            source_tokens,
            max_tokens=options.max_target_tokens or min(limit, self._max_target_tokens),
            shift=self._shift,
            wants_attention=options.alignment or sentence.masked is not None,
            search=options.search,
            target_prefix=target_prefix,
            priority=int(options.is_bulk),
            deadline=options.deadline,
            caller=options.caller,
        )

    def make_forced(
        self, source: PreparedSentence, target: PreparedSentence, options: Options
    ) -> DecodeRequest:
        """Return the request to score and align a given target, by forcing it through the decoder."""
        request = self.make(source, options, target)
        request.max_tokens = len(target.tokens) + 1  # and the end
        request.is_target_forced = True
        return request


def hold_attention(requests: Iterable[DecodeRequest], options: Options, at_once: int | None = None) -> None:
    """Hold the memory that the attention of some sentences may take, for all their hypotheses.

    Args:
        at_once: How many of them are in work at the same time; the largest count. None: all.

    Raises:
        MemoryFull: There is no room for it.
    """
    attended = [one for one in requests if one.wants_attention]
    if attended:
        sizes = sorted((len(one.source_tokens) * one.max_tokens for one in attended), reverse=True)
        num_hypotheses = 1 + options.search.num_alternatives
        options.hold(_WEIGHT_BYTES * num_hypotheses * sum(sizes[:at_once]))
