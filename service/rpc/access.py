"""What a call presents, in gRPC's words: its key, its certificate; and the gate before reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from grpc_reflection.v1alpha import reflection

from service.errors import DragomanError
from service.rpc import status
from service.security.guard import Caller, Guard
from service.security.memory import Memory


class Access:
    """Who may call, and how much of all calls is held at once."""

    def __init__(self, guard: Guard, memory: Memory, *, knows_clients: bool) -> None:
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
        return self._guard.admit(method, _authorizations(context), identity)


def _authorizations(context: Any) -> list[str]:
    """Return what was sent as `authorization`."""
    metadata = context.invocation_metadata() or ()
    return [value for name, value in metadata if name == "authorization"]


def _subjects(context: Any) -> list[bytes]:
    """Return the subject of the client's certificate."""
    return list(context.auth_context().get("x509_subject", ()))


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
