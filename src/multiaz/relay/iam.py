"""Asks the local cloud whether a token lets a user in.

Over a Unix socket, where the kernel says who listens: a TCP port could be somebody else's while the cloud is down, who
would let everyone in and collect tokens that are still good.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from multiaz.relay.config import IamConfig

LARGEST_ANSWER = 65_536
"""Longest answer read, in bytes."""
ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True)
class Verdict:
    """Whether the token lets the user in, and why not."""

    allowed: bool
    reason: str


async def judge(iam: IamConfig, *, token: str, user: str, host: str, port: int) -> Verdict:
    """What the cloud at `iam.authorize_url` says of `token`; a cloud that does not answer allows nothing."""
    question = {
        "token": token,
        "user": user,
        "resource_id": iam.resource_id,
        "region": iam.region,
        "host": host,
        "port": port,
    }
    try:
        body = json.dumps(question).encode()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            answer = await _post(iam.authorize_url, body)
    except TimeoutError:
        return Verdict(False, f"the local cloud did not judge the token within {ANSWER_WITHIN_S:g} s")
    except OSError as error:
        why = error.strerror or type(error).__name__
        return Verdict(False, f"the local cloud that judges tokens cannot be reached: {why}")
    except Unproven as error:
        return Verdict(False, f"the token was shown to nobody: {error}")
    except BadAnswer as error:
        return Verdict(False, f"the local cloud's answer cannot be used: {error}")
    return read_answer(answer)


def read_answer(body: bytes) -> Verdict:
    """The verdict in the JSON `body`; only an explicit true allows."""
    try:
        answer = json.loads(body)
    except ValueError:
        return Verdict(False, "the local cloud's answer is not JSON")
    if not isinstance(answer, dict) or not isinstance(answer.get("allowed"), bool):
        return Verdict(False, "the local cloud's answer says neither yes nor no")
    return Verdict(answer["allowed"], str(answer.get("reason") or ""))


class Unproven(Exception):
    """Whoever would be asked cannot be the local cloud."""


class BadAnswer(Exception):
    """Not an HTTP answer we understand."""


async def _post(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    if parts.scheme != "http+unix":
        raise Unproven(f"{url} is not on a Unix socket")
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_unix_connection(unquote(parts.netloc))
    try:
        _prove(writer.get_extra_info("socket"))
        writer.write(head.encode() + body)
        answer = b""
        while len(answer) <= LARGEST_ANSWER and (chunk := await reader.read(LARGEST_ANSWER)):
            answer += chunk
            if (answered := read_http(answer)) is not None:
                return answered
    finally:
        writer.close()
    raise BadAnswer("it is cut off or too long")


def _prove(judge: socket.socket) -> None:
    """Raise Unproven unless a process of our own user listens. Source: unix(7), SO_PEERCRED."""
    if not hasattr(socket, "SO_PEERCRED"):
        return  # its folder is its owner's alone
    _, user, _ = struct.unpack("3i", judge.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if user != os.geteuid():
        raise Unproven(f"user {user} listens where the local cloud should")


def read_http(answer: bytes) -> bytes | None:
    """The body of the HTTP `answer` of status 200, or None if more must be read."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise BadAnswer("it is not HTTP")
    if words[1] != "200":
        raise BadAnswer(f"HTTP status {words[1]}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise BadAnswer("it does not give its length")
    return body[: int(length)] if len(body) >= int(length) else None
