"""The endpoint's TLS context."""

from __future__ import annotations

import ssl
from pathlib import Path

from multiaz.relay.startup import ALPN


class BadCertificate(Exception):
    """The certificate or its key cannot be used; the text says why."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context that serves `certificate`; TLS 1.2 or later, as PostgreSQL's default. Raises BadCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As the server itself: no tickets, no compression, no renegotiation.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise BadCertificate(f"certificate {certificate} or its key cannot be used: {error}") from error
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")
