"""A client that knows an address and nothing else: the contract comes from the server, no stubs, no files."""

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.servers import running

REQUEST = {
    "contents": ["The red house."],
    "sourceLanguageCode": "en",
    "targetLanguageCode": "fr",
    "output": {"alignment": "ALIGNMENT_MODE_HARD"},
}


def call(address: str, method: str, request: dict[str, Any]) -> tuple[Iterable[str], dict[str, Any]]:
    """Ask a server what it serves, build a request from that, and return the services and the reply."""
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = database.get_services()
        [name] = [service for service in services if not service.startswith("grpc.")]
        described: Any = DescriptorPool(database).FindServiceByName(name).FindMethodByName(method)
        reply_type = GetMessageClass(described.output_type)
        ask: Any = channel.unary_unary(
            f"/{name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply_type.FromString,
        )
        reply = ask(ParseDict(request, GetMessageClass(described.input_type)()), timeout=20)
        return services, MessageToDict(reply)


async def test_translates_without_stubs() -> None:
    """
    A program lists the services, builds a request by the names it is told, and reads the reply by them.
    """
    async with running() as server:
        services, reply = await asyncio.to_thread(call, server.address, "Translate", REQUEST)

    assert {"dragoman.v1.TranslationService", "grpc.health.v1.Health"} <= set(services)
    [translation] = reply["translations"]
    assert translation["translatedText"]
    assert translation["sentences"][0]["links"]
    assert reply["metadata"]["requestId"]


async def test_hidden() -> None:
    """
    With reflection switched off the contract is not told.
    """
    async with running(reflection="no") as server:
        with pytest.raises(grpc.RpcError) as refused:
            await asyncio.to_thread(call, server.address, "Translate", REQUEST)

    failed: Any = refused.value
    assert grpc.StatusCode.UNIMPLEMENTED is failed.code()
