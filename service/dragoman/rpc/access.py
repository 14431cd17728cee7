"""What a call presents, in gRPC's words: its key, its certificate; and the gate before reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from dragoman.errors import DragomanError
from dragoman.rpc import status
from dragoman.rpc.intake import Intake, address
from dragoman.rpc.memory_budget import MemoryBudget
from dragoman.rpc.peers import Peers
from dragoman.security.guard import Caller, Guard

MAX_QUESTION_BYTES = 4096  # names of services, methods and files
_AT_ONCE_SECONDS = 1.0  # after which a reset is that of a caller who has lost patience
Refusal = Callable[[str, DragomanError], Any]


class Access:
    """Who may call, and how much of all calls is held at once."""

    def __init__(self, guard: Guard, memory: MemoryBudget, peers: Peers, *, knows_clients: bool) -> None:
        """Take over the parts.

        Args:
            knows_clients: Connections come with a certificate that was checked.
        """
        self._guard, self.memory, self.peers, self._knows_clients = guard, memory, peers, knows_clients

    def caller(self, method: str | None, context: Any) -> Caller:
        """Return who makes a call.

        Raises:
            Unauthenticated, NotAllowed: It may not.
        """
        identity = ""
        if self._knows_clients and not self._guard.wants_keys:
            identity = "".join(f"certificate:{subject!r}" for subject in _subjects(context))
        try:
            caller = self._guard.admit(method, _authorizations(context.invocation_metadata()), identity)
        except DragomanError:
            self.peers.charge(context.peer(), "refused_calls")
            raise
        self.peers.accept(context.peer())
        return caller

    def settle(self, context: Any, code: grpc.StatusCode, seconds: float) -> None:
        """Take note of how a call ended, and after what time: its peer may have taken it back at once."""
        if code is grpc.StatusCode.CANCELLED and seconds < _AT_ONCE_SECONDS:
            self.peers.charge(context.peer(), "reset_calls")
        elif code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            self.peers.answered(context.peer())

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

    def __init__(self, names: tuple[str, ...], access: Access, intake: Intake) -> None:
        """Take over the names of the services, and where questions are read: not where callers' requests are."""
        super().__init__(names)
        self._access, self._intake = access, intake

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler of the service, which takes bytes."""
        return grpc.method_handlers_generic_handler(
            reflection.SERVICE_NAME,
            {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(self._answer)},
        )

    async def _answer(self, _: AsyncIterator[bytes], context: Any) -> None:
        """Answer questions about the contract; any valid key will do."""
        try:
            self._access.caller(None, context)
        except DragomanError as error:
            await context.abort(status.code_of(error), error.message, status.trailers(error))
        async for reply in super().ServerReflectionInfo(self._questions(context), context):
            await context.write(reply.SerializeToString())

    async def _questions(self, context: Any) -> AsyncIterator[ServerReflectionRequest]:
        while (payload := await self._intake.read(context, address(context))) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # stubs lack it
            if len(payload) > MAX_QUESTION_BYTES:
                message = f"bytes of a question: {len(payload):,}, the limit is {MAX_QUESTION_BYTES:,}"
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
            try:
                yield ServerReflectionRequest.FromString(payload)
            except DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a question about the contract")
