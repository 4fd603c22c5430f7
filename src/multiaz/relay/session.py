"""One client from its startup packet to the hand-over, after which only bytes pass."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from dataclasses import dataclass, field

from multiaz.relay import iam, startup
from multiaz.relay.config import RelayConfig
from multiaz.relay.greeting import Client, greet
from multiaz.relay.liveness import is_gone, tcp_info
from multiaz.relay.pair import Network, Pair, close_soon
from multiaz.relay.pipe import Dialogue, Gone
from multiaz.relay.startup import HEAD_SIZE, FirstReply, Kind, ProtocolViolation, Reply, Startup
from multiaz.relay.turnstile import Turnstile

LINK_LOOK_S = 0.25
"""How often a client that waits for an answer looks whether the primary is another one now."""
CANCEL_WITHIN_S = 5.0

log = logging.getLogger("multiaz.relay")


class Refused(Exception):
    """The client is told no: `packet` is the ErrorResponse, the text is for the log."""

    def __init__(self, sqlstate: str, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(f"{message} ({detail})" if detail else message)
        self.packet = startup.fatal(sqlstate, message, detail=detail, hint=hint)


@dataclass
class Endpoint:
    """What all sessions of this endpoint share."""

    config: RelayConfig
    context: ssl.SSLContext
    turnstile: Turnstile = field(default_factory=Turnstile)
    passing: set[Passing] = field(default_factory=set)
    network: Network = field(default_factory=Network)
    """What lies between clients and this endpoint."""
    entering: set[Session] = field(default_factory=set)
    """Clients that have said who they are and are not handed over yet."""
    capacity: int = 1_000_000
    """Clients this process has descriptors for."""
    led_through: int = 0
    """Clients that came while the network was shaped: each has twice the descriptors (`wires.through`)."""

    def primary(self) -> str | None:
        """The folder the primary link leads to now, or None if it leads nowhere."""
        try:
            return os.path.realpath(self.config.primary, strict=True)
        except OSError:
            return None

    def gone_through(self) -> None:
        """A client that came while the network was shaped is gone, and its descriptors are free."""
        self.led_through -= 1

    def close_strays(self) -> int:
        """Close the sessions of a server that is no longer the primary; how many those were."""
        current = self.primary()
        strays = [session for session in self.passing if current is not None and session.primary != current]
        for session in strays:
            session.end()
        return len(strays)

    def end_vanished(self) -> int:
        """Break the sessions whose client has vanished; how many those were."""
        vanished = [session for session in self.passing if session.client_is_gone(self.config.gone_after_s)]
        for session in vanished:
            session.abort()
        return len(vanished)


class Passing:
    """A session after the login: two connections joined, and the end of both when one ends."""

    def __init__(
        self, endpoint: Endpoint, network: Network, client: Dialogue, server: Server, accepted: socket.socket
    ) -> None:
        self.primary = server.primary
        self._endpoint = endpoint
        self._client = client.transport
        self._accepted = accepted
        client.on_gone = None
        plain = client.transport.get_extra_info("ssl_object") is None  # TLS knows no half-closed connection
        endpoint.passing.add(self)
        self._pair = Pair(network, client.transport, server.dialogue.transport, self._forget, half_closes=plain)
        self._pair.begin(bytes(client.buffer), bytes(server.dialogue.buffer))

    def end(self) -> None:
        """Close what is still open; what was sent already is still delivered."""
        self._pair.end()

    def abort(self) -> None:
        """Break both connections; nothing more is delivered."""
        self._pair.abort()

    def client_is_gone(self, gone_after_s: float) -> bool:
        """True if the client vanished without a word."""
        return not self._client.is_closing() and is_gone(tcp_info(self._accepted), gone_after_s)

    def _forget(self) -> None:
        self._endpoint.passing.discard(self)


@dataclass(frozen=True)
class Server:
    """A connection to the server that was the primary when it was made."""

    dialogue: Dialogue
    primary: str
    reply: FirstReply


class _TimeIsUp(Exception):
    """The client took too long to hand over its token."""


class _NotNow(Exception):
    """The primary cannot be reached or does not accept; the text says why."""


class Session:
    """The login of one client.

    `network` is what its bytes pass after the login: the endpoint's, or a clear one if they pass the endpoint's before.
    `accepted` is what the session reads, `outer` the socket the client itself is connected to, if that is another one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        network: Network,
        accepted: socket.socket,
        host: str,
        *,
        outer: socket.socket | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._network = network
        self._accepted = accepted
        self._from = accepted if outer is None else outer
        self._host = host
        self._judged = False

    async def run(self) -> None:
        """Serve the client until it is handed over, refused or gone. Raises nothing of its own."""
        client: Client | None = None
        try:
            async with asyncio.timeout(self._endpoint.config.startup_timeout_s):
                client = await greet(self._accepted, self._host, self._endpoint.context)
                kind, packet = await _packet(client.dialogue)
            if kind is Kind.CANCEL:
                await self._cancel(packet)  # also for a client that is gone: many do not wait for the end
            else:
                _end_with(client.dialogue)
                await self._log_in(client, startup.read_startup(packet))
                client = None
        except Refused as refusal:
            log.info("refused %s: %s", self._host, _one_line(refusal))
            await self._tell(client, refusal.packet)
        except startup.UnsupportedProtocol as error:
            await self._tell(client, startup.fatal("0A000", str(error)))
        except ProtocolViolation as error:
            log.info("closed %s: %s", self._host, error)
            await self._tell(client, startup.fatal("08P01", str(error)))
        except (TimeoutError, _TimeIsUp):
            log.info("closed %s: it did not finish its startup in time", self._host)
        except ssl.SSLError as error:
            log.info("closed %s: TLS handshake failed: %s", self._host, error.reason or error)
        except (Gone, OSError):
            pass
        finally:
            self._endpoint.turnstile.leave(self)
            self._endpoint.entering.discard(self)
            if client is not None:
                client.dialogue.on_gone = None
                close_soon(client.dialogue.transport)

    async def _tell(self, client: Client | None, packet: bytes) -> None:
        """Send `packet` as soon as the network lets anything pass."""
        if client is not None:
            await self._network.passable()
            if not client.dialogue.gone:
                client.dialogue.transport.write(packet)

    async def _log_in(self, client: Client, asked: Startup) -> None:
        """Try until the primary has given an answer the client should have, then hand over."""
        self._admit(client, asked)
        self._endpoint.entering.add(self)
        loop = asyncio.get_running_loop()
        wait_s = self._endpoint.config.connect_wait_s
        deadline = loop.time() + wait_s
        tries, why = 0, "it does not answer"
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    if tries:
                        await self._endpoint.turnstile.turn(self, tries)
                    server = await self._reach(asked)
                try:
                    if server.reply.meaning is not Reply.UNCHALLENGED or self._judged:
                        await self._attach(client, server)
                        return
                    await self._demand_token(client, asked, server)
                except BaseException:
                    server.dialogue.transport.abort()
                    raise
                server.dialogue.transport.abort()
                tries, deadline = 0, loop.time() + wait_s
                continue
            except _NotNow as reason:
                why = str(reason)
                self._endpoint.turnstile.note(why)
            except TimeoutError:
                pass
            tries += 1
            if loop.time() >= deadline:
                raise Refused(
                    "57P03",
                    "the database system is not accepting connections",
                    detail=f"No primary accepted this connection within {wait_s:g} s: {why}.",
                    hint="A failover or a restart may be going on: try again.",
                )

    async def _attach(self, client: Client, server: Server) -> None:
        """Hand the client to `server`. Raises _NotNow."""
        if self._judged:
            del server.dialogue.buffer[: server.reply.at]  # the client has it already, and once is what it expects
        if server.dialogue.gone:
            if server.reply.meaning is not Reply.FORWARD:
                raise _NotNow("the primary closed the connection")
            # Its answer was an error, and its last word.
            await self._tell(client, bytes(server.dialogue.buffer))
            client.dialogue.on_gone = None
            close_soon(client.dialogue.transport)
            return
        if self._endpoint.primary() != server.primary:
            raise _NotNow("another server became the primary")
        if client.dialogue.gone:
            raise Gone
        Passing(self._endpoint, self._network, client.dialogue, server, self._from)

    def _admit(self, client: Client, asked: Startup) -> None:
        """Refuse who must not even reach the server."""
        config = self._endpoint.config
        encryption = "SSL encryption" if client.encrypted else "no encryption"
        who = f'host "{client.host}", user "{asked.user}", database "{asked.database}", {encryption}'
        if asked.user in config.reserved_users:
            raise Refused("28000", f"pg_hba.conf rejects connection for {who}")
        if config.force_ssl and not client.encrypted:
            raise Refused("28000", f"no pg_hba.conf entry for {who}")
        if asked.replication:
            raise Refused(
                "0A000",
                "replication connections are not accepted through this endpoint",
                detail="Read replicas stream inside the local cloud; clients cannot.",
            )
        entering = len(self._endpoint.entering)
        # a client that was led through a shaped network is itself among `led_through`
        if entering + len(self._endpoint.passing) + self._endpoint.led_through >= self._endpoint.capacity:
            twice = "; one that came through a slow network counts twice" if self._endpoint.led_through else ""
            raise Refused(
                "53300",
                "sorry, too many clients already",
                detail=f"The endpoint has open files for {self._endpoint.capacity} clients{twice}.",
                hint="Close connections, or raise the limit of open files (ulimit -Hn) and start anew.",
            )
        if entering >= config.most_waiting:
            raise Refused(
                "53300",
                "sorry, too many clients already",
                detail=f"{entering} clients wait for the primary to accept them.",
                hint="A failover or a restart may be going on: try again, less often.",
            )

    async def _reach(self, asked: Startup) -> Server:
        """A connection to the primary and its first answer. Raises _NotNow."""
        primary = self._endpoint.primary()
        if primary is None:
            raise _NotNow("there is no primary")
        dialogue = Dialogue()
        loop = asyncio.get_running_loop()
        try:
            await loop.create_unix_connection(lambda: dialogue, self._endpoint.config.primary_socket)
        except OSError as error:
            raise _NotNow(f"the primary cannot be reached: {error.strerror or error}") from error
        keep = False
        try:
            dialogue.transport.write(asked.raw)
            reply = await self._first_reply(dialogue, primary)
            if reply.meaning is Reply.NOT_READY:
                raise _NotNow(reply.text or "the primary is not ready")
            keep = True
        finally:
            if not keep:
                dialogue.transport.abort()
        self._endpoint.turnstile.opened()
        return Server(dialogue, primary, reply)

    async def _first_reply(self, server: Dialogue, primary: str) -> FirstReply:
        while True:
            reply = startup.judge_first_reply(server.buffer)
            if reply.meaning is not Reply.INCOMPLETE:
                return reply
            if server.gone:
                raise _NotNow("the primary closed the connection")
            try:
                async with asyncio.timeout(LINK_LOOK_S):
                    await server.more()
            except TimeoutError:
                if self._endpoint.primary() != primary:
                    raise _NotNow("another server became the primary") from None

    async def _demand_token(self, client: Client, asked: Startup, server: Server) -> None:
        """Return once the client has shown a token the cloud accepts. Raises Refused.

        `server` has let the user in already, so that session is ended first: nobody has a backend before he has shown
        who he is. What the server said in it stays unsent, except a protocol version it negotiated.
        """
        config = self._endpoint.config
        if not client.encrypted:
            raise Refused(
                "28000",
                f'no pg_hba.conf entry for host "{client.host}", user "{asked.user}", '
                f'database "{asked.database}", no encryption',
            )
        verdict = iam.Verdict(False, "IAM authentication is not enabled for this DB instance")
        if config.iam is not None:
            said = bytes(server.dialogue.buffer[: server.reply.at])
            if not server.dialogue.gone:
                server.dialogue.transport.write(startup.TERMINATE)
            await self._tell(client, said + startup.ASK_CLEARTEXT_PASSWORD)
            try:
                async with asyncio.timeout(config.startup_timeout_s):
                    token = await _password(client.dialogue)
            except TimeoutError:
                raise _TimeIsUp from None
            verdict = await iam.judge(config.iam, token=token, user=asked.user, host=config.address, port=config.port)
            await _ended(server.dialogue)
        if not verdict.allowed:
            raise Refused("28000", f'PAM authentication failed for user "{asked.user}"', detail=verdict.reason)
        self._judged = True

    async def _cancel(self, packet: bytes) -> None:
        """Pass a cancel request to the primary; like the server, answer nothing."""
        dialogue = Dialogue()
        try:
            await asyncio.get_running_loop().create_unix_connection(
                lambda: dialogue, self._endpoint.config.primary_socket
            )
        except OSError as error:
            log.info("a cancel request was dropped: %s", error.strerror or error)
            return
        try:
            dialogue.transport.write(packet)
            async with asyncio.timeout(CANCEL_WITHIN_S):
                while not dialogue.gone:
                    await dialogue.more()
        except TimeoutError:
            log.info("a cancel request was given up: the primary did not take it within %g s", CANCEL_WITHIN_S)
        finally:
            dialogue.transport.abort()


async def _ended(server: Dialogue) -> None:
    """Return when the session that was told to end has, or cannot: it has one of max_connections until then."""
    try:
        async with asyncio.timeout(LINK_LOOK_S):
            while not server.gone:
                await server.more()
    except TimeoutError:
        pass


def _one_line(error: Exception) -> str:
    return "".join(char if char.isprintable() else "?" for char in str(error))


def _end_with(client: Dialogue) -> None:
    """Have the current task end when `client` leaves. Raises Gone if it has."""
    if client.gone:
        raise Gone
    task = asyncio.current_task()
    assert task is not None
    client.on_gone = task.cancel


async def _packet(client: Dialogue) -> tuple[Kind, bytes]:
    """The complete packet a client sends once encryption is settled."""
    await client.at_least(HEAD_SIZE)
    head = startup.read_head(bytes(client.buffer[:HEAD_SIZE]))
    if head.kind in (Kind.SSL, Kind.GSS):
        raise ProtocolViolation("encryption requested twice")
    return head.kind, await client.take(head.length)


async def _password(client: Dialogue) -> str:
    """The text of the PasswordMessage the client sends next."""
    await client.at_least(5)
    length = int.from_bytes(client.buffer[1:5], "big")
    if client.buffer[0:1] != b"p" or not 4 <= length <= startup.LARGEST_PASSWORD:
        raise ProtocolViolation("expected a password message")
    message = await client.take(1 + length)
    return startup.read_password(message[5:])
