"""Requests with the fields that a test is not about filled in, and what a refusal carries."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dragoman.v1 import translation_pb2 as pb


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
