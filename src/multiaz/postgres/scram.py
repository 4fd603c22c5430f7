"""SCRAM-SHA-256 verifiers, so that a password need never reach a server, a file or a log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

ITERATIONS = 4096
"""PostgreSQL's default `scram_iterations`."""


def verifier(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """The text PostgreSQL keeps in pg_authid for `password`; `PASSWORD '<this>'` sets it.

    Only printable ASCII is taken, as RDS demands of a master password: for it SASLprep
    changes nothing. Raises ValueError otherwise.
    Source: RFC 5802 and PostgreSQL's scram_build_secret.
    """
    if not password or not all(" " <= letter <= "~" for letter in password):
        raise ValueError("a password must be printable ASCII and not empty")
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")

    def text(raw: bytes) -> str:
        return base64.b64encode(raw).decode()

    return f"SCRAM-SHA-256${iterations}:{text(salt)}${text(stored_key)}:{text(server_key)}"
