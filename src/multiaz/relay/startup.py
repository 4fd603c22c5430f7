"""The PostgreSQL protocol as far as a relay must read it: pure functions over bytes.

Only what happens before the login is understood; everything after it passes as bytes.
Source: PostgreSQL manual, chapter "Frontend/Backend Protocol", "Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

HEAD_SIZE = 8
"""Bytes of length and code with which every packet before the login begins."""
LARGEST_STARTUP = 10_000
"""Longest packet before the login, in bytes. Source: MAX_STARTUP_PACKET_LENGTH."""
LARGEST_CANCEL_KEY = 256
"""Longest secret key of a cancel request in protocol 3.2, in bytes."""
LARGEST_PASSWORD = 65_535
"""Longest password message accepted, in bytes. Source: PG_MAX_AUTH_TOKEN_LENGTH."""
TLS_HANDSHAKE = 0x16
"""First byte of a TLS record that carries a ClientHello: direct TLS negotiation."""

CANCEL_CODE = 80877102
SSL_CODE = 80877103
GSS_CODE = 80877104

ASK_CLEARTEXT_PASSWORD = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
TERMINATE = b"X\x00\x00\x00\x04"
ALPN = "postgresql"

_FALSE_WORDS = ("false", "no", "off", "0")
_ONCE = ("user", "database", "replication")


class ProtocolViolation(Exception):
    """The bytes are not what the protocol allows; the text says why."""


class UnsupportedProtocol(ProtocolViolation):
    """A protocol version other than 3."""

    def __init__(self, major: int, minor: int) -> None:
        super().__init__(f"unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")


class Kind(Enum):
    """What a packet before the login asks for."""

    SSL = "ssl"
    GSS = "gss"
    CANCEL = "cancel"
    STARTUP = "startup"


@dataclass(frozen=True)
class Head:
    """The first eight bytes: what is asked, and the length of the whole packet in bytes."""

    kind: Kind
    length: int


@dataclass(frozen=True)
class Startup:
    """A StartupMessage. `raw` is the packet as it came and as it is passed on."""

    raw: bytes = field(repr=False)
    minor: int
    parameters: Mapping[str, str]

    @property
    def user(self) -> str:
        """The user name; never empty."""
        return self.parameters["user"]

    @property
    def database(self) -> str:
        """The database name; the user's name when none was given, as the server does."""
        return self.parameters.get("database") or self.user

    @property
    def replication(self) -> bool:
        """True if a replication connection is asked for, physical or logical."""
        return _asks_replication(self.parameters.get("replication", ""))


def read_head(head: bytes) -> Head:
    """What the eight bytes `head` announce.

    Raises ProtocolViolation if the length is impossible, UnsupportedProtocol for another version.
    """
    length, code = struct.unpack("!II", head)
    if code in (SSL_CODE, GSS_CODE):
        if length != HEAD_SIZE:
            raise ProtocolViolation("invalid length of encryption request")
        return Head(Kind.SSL if code == SSL_CODE else Kind.GSS, length)
    if code == CANCEL_CODE:
        if not 16 <= length <= 12 + LARGEST_CANCEL_KEY:
            raise ProtocolViolation("invalid length of cancel request packet")
        return Head(Kind.CANCEL, length)
    if not HEAD_SIZE <= length <= LARGEST_STARTUP:
        raise ProtocolViolation("invalid length of startup packet")
    major, minor = code >> 16, code & 0xFFFF
    if major != 3:
        raise UnsupportedProtocol(major, minor)
    return Head(Kind.STARTUP, length)


def encryption_asked(head: bytes) -> Kind | None:
    """Kind.SSL or Kind.GSS if the eight bytes ask for encryption, None for anything else."""
    if head == struct.pack("!II", HEAD_SIZE, SSL_CODE):
        return Kind.SSL
    if head == struct.pack("!II", HEAD_SIZE, GSS_CODE):
        return Kind.GSS
    return None


def read_startup(packet: bytes) -> Startup:
    """The StartupMessage in the complete `packet`.

    A name given twice is refused where it decides who logs in: the server would take the last one.
    Raises ProtocolViolation.
    """
    head = read_head(packet[:HEAD_SIZE])
    if head.kind is not Kind.STARTUP or head.length != len(packet):
        raise ProtocolViolation("not a startup packet")
    body = packet[HEAD_SIZE:]
    parameters: dict[str, str] = {}
    at = 0
    while True:
        name, at = _text(body, at)
        if not name:
            break
        value, at = _text(body, at)
        if name in parameters and name in _ONCE:
            raise ProtocolViolation(f'invalid startup packet: "{name}" is given twice')
        parameters[name] = value
    if at != len(body):
        raise ProtocolViolation("invalid startup packet layout: expected terminator as last byte")
    if not parameters.get("user"):
        raise ProtocolViolation("no PostgreSQL user name specified in startup packet")
    return Startup(raw=packet, minor=packet[6] << 8 | packet[7], parameters=parameters)


def _text(body: bytes, at: int) -> tuple[str, int]:
    end = body.find(b"\0", at)
    if end < 0:
        raise ProtocolViolation("invalid startup packet layout: expected terminator as last byte")
    return body[at:end].decode("utf-8", "surrogateescape"), end + 1


def _asks_replication(value: str) -> bool:
    word = value.strip().lower()
    if not word:
        return False
    # Unique prefixes are Booleans to the server; anything else it would refuse, so do we.
    no = word == "0" or any(full.startswith(word) for full in _FALSE_WORDS if word != "o")
    return not no


@dataclass(frozen=True)
class Message:
    """One message of the server: its type, where it ends in the buffer, and its payload."""

    kind: str
    end: int
    payload: bytes = field(repr=False)


def read_message(buffer: bytes | bytearray, at: int = 0) -> Message | None:
    """The message that begins at `at`, or None if it is not complete yet.

    Raises ProtocolViolation if its length is impossible.
    """
    if len(buffer) < at + 5:
        return None
    (length,) = struct.unpack_from("!I", buffer, at + 1)
    if not 4 <= length <= 1_000_000:
        raise ProtocolViolation("invalid message length")
    end = at + 1 + length
    if len(buffer) < end:
        return None
    return Message(chr(buffer[at]), end, bytes(buffer[at + 5 : end]))


class Reply(Enum):
    """What a server's first answer to a startup packet means to the relay."""

    INCOMPLETE = "incomplete"
    """More bytes are needed."""
    NOT_READY = "not ready"
    """SQLSTATE 57P03: starting up, shutting down or in recovery. Ask again."""
    UNCHALLENGED = "unchallenged"
    """AuthenticationOk without a challenge: the server leaves the judgement to the relay."""
    FORWARD = "forward"
    """A challenge or an error that is the client's business."""


@dataclass(frozen=True)
class FirstReply:
    """`at` is where the deciding message begins: what is before it goes to the client first."""

    meaning: Reply
    at: int = 0
    text: str = ""
    """The server's words, when it is not ready."""


def judge_first_reply(buffer: bytes | bytearray) -> FirstReply:
    """What the server's answer so far means. NegotiateProtocolVersion and notices are read over."""
    at = 0
    while True:
        if len(buffer) > at and chr(buffer[at]) not in "RENv":
            return FirstReply(Reply.FORWARD, at)
        try:
            message = read_message(buffer, at)
        except ProtocolViolation:
            # An error in the form of protocol 2, as a postmaster that cannot fork sends it.
            return FirstReply(Reply.FORWARD, at)
        if message is None:
            return FirstReply(Reply.INCOMPLETE, at)
        match message.kind:
            case "R":
                ok = message.payload == b"\0\0\0\0"
                return FirstReply(Reply.UNCHALLENGED if ok else Reply.FORWARD, at)
            case "E":
                fields = read_error(message.payload)
                if fields.get("C") == "57P03":
                    return FirstReply(Reply.NOT_READY, at, fields.get("M", ""))
                return FirstReply(Reply.FORWARD, at)
            case _:
                at = message.end


def read_error(payload: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse by their one-letter codes."""
    fields: dict[str, str] = {}
    for part in payload.split(b"\0"):
        if part:
            fields[chr(part[0])] = part[1:].decode("utf-8", "replace")
    return fields


def fatal(sqlstate: str, message: str, *, detail: str = "", hint: str = "") -> bytes:
    """An ErrorResponse of severity FATAL, ready to send."""
    parts = [("S", "FATAL"), ("V", "FATAL"), ("C", sqlstate), ("M", message), ("D", detail), ("H", hint)]
    body = b"".join(code.encode() + _clean(text) + b"\0" for code, text in parts if text or code in "SVCM") + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


def _clean(text: str) -> bytes:
    return text.replace("\0", "").encode("utf-8", "surrogateescape")


def read_password(payload: bytes) -> str:
    """The text of a PasswordMessage's payload. Raises ProtocolViolation."""
    if not payload.endswith(b"\0") or b"\0" in payload[:-1]:
        raise ProtocolViolation("invalid password packet size")
    return payload[:-1].decode("utf-8", "surrogateescape")


def startup_packet(parameters: Mapping[str, str], *, major: int = 3, minor: int = 0) -> bytes:
    """A StartupMessage with `parameters`; the inverse of `read_startup`."""
    body = b"".join(_clean(name) + b"\0" + _clean(value) + b"\0" for name, value in parameters.items()) + b"\0"
    return struct.pack("!II", len(body) + HEAD_SIZE, major << 16 | minor) + body
