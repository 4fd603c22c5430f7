"""From an accepted socket to a client whose encryption is settled.

The negotiation is read from the bare socket, never more than its eight bytes: bytes a third party
slips in before the handshake cannot be taken for the client's, because nothing is read ahead.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass

from multiaz.relay import startup
from multiaz.relay.pipe import Dialogue, Gone
from multiaz.relay.startup import HEAD_SIZE, Kind, ProtocolViolation
from multiaz.relay.tls import TlsTransport


@dataclass(frozen=True)
class Client:
    """A client that may now say who it is."""

    dialogue: Dialogue
    host: str
    encrypted: bool


async def greet(accepted: socket.socket, host: str, context: ssl.SSLContext) -> Client:
    """Settle encryption as the client asks for it; the client owns the socket afterwards.

    Raises Gone, ProtocolViolation, or the OSError (ssl.SSLError) of a failed handshake. The
    socket is closed unless a client is returned.
    """
    try:
        direct, head = await _settle(accepted)
    except BaseException:
        accepted.close()
        raise
    loop = asyncio.get_running_loop()
    # From here the transport owns the socket and closes it, whatever happens.
    if head is not None:
        dialogue = Dialogue(head)
        await loop.connect_accepted_socket(lambda: dialogue, accepted)
        return Client(dialogue, host, encrypted=False)
    dialogue = Dialogue()
    transport = TlsTransport(context, dialogue)
    await loop.connect_accepted_socket(lambda: transport, accepted)
    await transport.handshake()
    if direct:
        spoken = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        if spoken != startup.ALPN:
            transport.abort()
            raise ProtocolViolation(
                "received direct SSL connection request without ALPN protocol negotiation extension"
            )
    return Client(dialogue, host, encrypted=True)


async def _settle(accepted: socket.socket) -> tuple[bool, bytes | None]:
    """(direct, None) when TLS comes next, (False, head) when the packet that begins with `head` does."""
    await _readable(accepted)
    if _peek(accepted)[0] == startup.TLS_HANDSHAKE:
        return True, None
    refused_gss = False
    while True:
        head = await _exactly(accepted, HEAD_SIZE)
        match startup.encryption_asked(head):
            case Kind.SSL:
                _nothing_smuggled(accepted, "SSL")
                accepted.send(b"S")
                return False, None
            case Kind.GSS:
                if refused_gss:
                    raise ProtocolViolation("GSSAPI encryption requested twice")
                _nothing_smuggled(accepted, "GSSAPI encryption")
                accepted.send(b"N")
                refused_gss = True
            case _:
                return False, head


def _peek(accepted: socket.socket) -> bytes:
    """The next byte, left in the socket. Raises Gone at the end of the stream."""
    if not (seen := accepted.recv(1, socket.MSG_PEEK)):
        raise Gone
    return seen


def _nothing_smuggled(accepted: socket.socket, request: str) -> None:
    try:
        _peek(accepted)
    except BlockingIOError:
        return
    raise ProtocolViolation(f"received unencrypted data after {request} request")


async def _exactly(accepted: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        try:
            part = accepted.recv(size - len(got))
        except BlockingIOError:
            await _readable(accepted)
            continue
        if not part:
            raise Gone
        got += part
    return got


async def _readable(accepted: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not waiter.done():
            waiter.set_result(None)

    loop.add_reader(accepted, ready)
    try:
        await waiter
    finally:
        loop.remove_reader(accepted)
