"""What a call presents, in gRPC's words: its key, its certificate; and the gate before reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from dragoman.errors import DragomanError
from dragoman.rpc import status
from dragoman.rpc.memory_budget import MemoryBudget
from dragoman.security.guard import Caller, Guard

Refusal = Callable[[str, DragomanError], Any]


class Access:
    """Who may call, and how much of all calls is held at once."""

    def __init__(self, guard: Guard, memory: MemoryBudget, *, knows_clients: bool) -> None:
        """Take over the parts.

        Args:
            knows_clients: Connections come with a certificate that was checked.
        """
        self._guard, self.memory, self._knows_clients = guard, memory, knows_clients

    def caller(self, method: str | None, context: Any) -> Caller:
        """Return who makes a call.

        Raises:
            Unauthenticated, NotAllowed: It may not.
        """
        identity = ""
        if self._knows_clients and not self._guard.wants_keys:
            identity = "".join(f"certificate:{subject!r}" for subject in _subjects(context))
        return self._guard.admit(method, _authorizations(context.invocation_metadata()), identity)

    def check(self, method: str, metadata: Any) -> None:
        """Refuse by metadata alone, before anything of the request is read.

        Raises:
            Unauthenticated, NotAllowed: It may not.
        """
        self._guard.admit(method, _authorizations(metadata))


def _authorizations(metadata: Any) -> list[str]:
    """Return what was sent as `authorization`."""
    return [value for name, value in metadata or () if name == "authorization"]


def _subjects(context: Any) -> list[bytes]:
    """Return the subject of the client's certificate."""
    return list(context.auth_context().get("x509_subject", ()))


class Gate(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """The methods of a service, for those who may call them.

    gRPC reads the whole request of a unary call before it asks us, up to its limit of bytes; a refusal is a stream
    instead, of which nothing is read.
    """

    def __init__(self, service: str, handlers: Mapping[str, Any], access: Access, refusal: Refusal) -> None:
        """Take over the handlers, by method; `refusal` ends a call with an error as any other ends."""
        self._service, self._handlers, self._access, self._refusal = service, handlers, access, refusal

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return what handles a call, or None if it is not ours."""
        service, _, name = (handler_call_details.method or "").removeprefix("/").partition("/")
        if service != self._service or name not in self._handlers:
            return None
        try:
            self._access.check(name, handler_call_details.invocation_metadata)
        except DragomanError as error:
            return grpc.stream_stream_rpc_method_handler(self._refusal(name, error))
        return self._handlers[name]


class GuardedReflection(reflection.aio.ReflectionServicer):  # type: ignore[name-defined]  # stubs lack it
    """The library's servicer, for those who may call."""

    def __init__(self, names: tuple[str, ...], access: Access) -> None:
        super().__init__(names)
        self._access = access

    async def ServerReflectionInfo(  # noqa: N802
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """Answer questions about the contract; any valid key will do."""
        try:
            self._access.caller(None, context)
        except DragomanError as error:
            await context.abort(status.code_of(error), error.message, status.trailers(error))
        async for reply in super().ServerReflectionInfo(request_iterator, context):
            yield reply
