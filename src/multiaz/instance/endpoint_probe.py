"""Asks the endpoint on a client's way: a TCP connection to its address and port, and a question it answers by itself.

What it costs: one connection every few seconds, which the endpoint takes, answers by one byte and forgets. No TLS, no
server, no place among its clients, no line in its log.
"""

from __future__ import annotations

import errno
import socket
import struct

QUESTION = struct.pack("!II", 8, 80877104)
"""GSSENCRequest: the answer is "N", and a client that leaves then has asked for nothing. (After the "S" for an
SSLRequest the endpoint would begin a TLS handshake.) Source: PostgreSQL manual, "Message Formats"."""


class EndpointProbe:
    """One question at a time, on a socket on which nothing ever waits: the supervising loop looks at it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sent = False

    @property
    def pending(self) -> bool:
        """A question waits for its answer."""
        return self._socket is not None

    def ask(self, address: str, port: int) -> None:
        """Begin a question; nothing is pending if that cannot be done (no descriptors, nobody listens there)."""
        self.drop()
        try:
            asking = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        except OSError:
            return
        asking.setblocking(False)
        if asking.connect_ex((address, port)) not in (0, errno.EINPROGRESS):
            asking.close()
            return
        self._socket, self._sent = asking, False
        self.look()

    def look(self) -> None:
        """Take the answer, if it is there. The end of the connection is one too: a process that hangs ends none."""
        if self._socket is None:
            return
        try:
            if not self._sent:
                self._socket.send(QUESTION)  # raises BlockingIOError while the connection is being made
                self._sent = True
            self._socket.recv(1)
        except BlockingIOError:
            return
        except OSError:
            pass
        self.drop()

    def drop(self) -> None:
        """Let the question be."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
