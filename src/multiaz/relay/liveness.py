"""Clients that vanished without a word, told from clients that are only slow or silent.

A silent client is asked by keepalive. With data under way the kernel sends no keepalives and would go on for about
fifteen minutes, so then the relay looks itself. TCP_USER_TIMEOUT would end both, but also a client that
just does not read: its acknowledged window probes count for nothing there.
Source: tcp(7); RFC 9293, section 3.8.6.1.
"""

from __future__ import annotations

import socket
import sys

SWEEP_S = 5.0
"""How often clients with data under way are looked at."""
PROBES = 3
"""Unanswered keepalives, retransmissions or window probes after which a client can be gone."""
_CLOSED = 7
_LAST_ACK_AT = 56


def tune(client: socket.socket, gone_after_s: float) -> None:
    """Send small packets at once, and end an idle connection whose client has not answered for `gone_after_s`."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, share in (("TCP_KEEPIDLE", 0.5), ("TCP_KEEPINTVL", 0.5 / PROBES)):
        if (option := getattr(socket, name, None)) is not None:
            client.setsockopt(socket.IPPROTO_TCP, option, max(1, round(gone_after_s * share)))
    if hasattr(socket, "TCP_KEEPCNT"):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def tcp_info(client: socket.socket) -> bytes:
    """The kernel's view of the connection; empty where there is none."""
    if not hasattr(socket, "TCP_INFO") or client.family == socket.AF_UNIX:
        return b""
    try:
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:
        return b""


def is_gone(info: bytes, gone_after_s: float) -> bool:
    """True if the client has acknowledged nothing for `gone_after_s` though it was asked `PROBES` times.

    `info` is Linux's struct tcp_info: state, congestion state, retransmissions, unanswered window probes;
    at byte 56 the milliseconds since the last acknowledgement.
    """
    if len(info) < _LAST_ACK_AT + 4:
        return False
    state, retransmitted, probed = info[0], info[2], info[3]
    silent_ms = int.from_bytes(info[_LAST_ACK_AT : _LAST_ACK_AT + 4], sys.byteorder)
    return state == _CLOSED or (max(retransmitted, probed) >= PROBES and silent_ms >= gone_after_s * 1000)
