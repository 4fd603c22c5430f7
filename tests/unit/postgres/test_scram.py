"""SCRAM verifiers: the same text libpq would make, for every password RDS accepts."""

from __future__ import annotations

import pytest

from multiaz.postgres.scram import verifier


def test_verifier_is_the_one_postgresql_computes() -> None:
    """Against the worked example of RFC 7677: password "pencil", its salt and iterations."""
    import base64

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    text = verifier("pencil", salt=salt, iterations=4096)
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_two_verifiers_of_one_password_differ() -> None:
    assert verifier("correct horse") != verifier("correct horse")


@pytest.mark.parametrize("password", ["", "tab\t", "umlaut-ü", "line\n"])
def test_password_saslprep_might_change_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        verifier(password)
