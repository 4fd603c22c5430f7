"""IAM database authentication: is this token a valid login for that user of that instance?

The relay asks by HTTP over a Unix socket, so that nobody else can be taken for us. The token is
a presigned URL of service rds-db, signed with the caller's key.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from multiaz.cloud import policy, sigv4
from multiaz.cloud.door import Door, HttpRequest
from multiaz.cloud.principals import Principals
from multiaz.cloud.service import ACCOUNT_ID, AwsResponse

LONGEST_LOGIN_S = 900
"""Lifetime of a token. Source: RDS User Guide, "IAM database authentication"."""
PATH = "/_multiaz/rds-db/authorize"
_EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def judge_url(socket: Path) -> str:
    """Where tokens are judged, if that is served on `socket`."""
    return f"http+unix://{quote(str(socket), safe='')}{PATH}"


@dataclass(frozen=True)
class Login:
    """What the relay asks."""

    token: str
    user: str
    resource_id: str
    region: str
    host: str
    port: int


class DatabaseLogins:
    """Judges IAM tokens."""

    def __init__(
        self, principals: Principals, door: Door, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._principals = principals
        self._door = door
        self._now = now

    def answer(self, http: HttpRequest) -> AwsResponse:
        """POST /_multiaz/rds-db/authorize."""
        try:
            document = json.loads(http.body)
            login = Login(
                str(document["token"]),
                str(document["user"]),
                str(document["resource_id"]),
                str(document["region"]),
                str(document["host"]),
                int(document["port"]),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            body = json.dumps({"allowed": False, "reason": "malformed request"}).encode()
            return AwsResponse(400, {"content-type": "application/json"}, body)
        reason = self.refusal(login)
        body = json.dumps({"allowed": reason is None, "reason": reason or "allowed"}).encode()
        return AwsResponse(200, {"content-type": "application/json"}, body)

    def refusal(self, login: Login) -> str | None:
        """Why the token does not let that user in, or None if it does. Never contains the token."""
        place, slash, query = login.token.partition("/")
        if not slash or not query.startswith("?"):
            return "the password is not an IAM token"
        if not login.token.isascii():
            return "the token is malformed"
        request = sigv4.Signed("GET", "/", query[1:], {"host": place})
        fields = _fields(request.query)
        if fields.get("Action") != ["connect"]:
            return "the token is not for Action=connect"  # before any of it is repeated: it may be a password
        if place != f"{login.host}:{login.port}":
            return f"the token is for {place[:80]}, not for {login.host}:{login.port}"
        if fields.get("DBUser") != [login.user]:
            return "the token is for another user"
        try:
            claim = sigv4.read_claim(request)
            if claim.service != "rds-db" or not claim.presigned:
                return "the token is not signed for rds-db"
            if claim.region != login.region:
                return f"the token is for region {claim.region[:30]}, the instance is in {login.region}"
            if claim.expires_s > LONGEST_LOGIN_S:
                return f"the token is valid for more than {LONGEST_LOGIN_S} seconds"
            principal = self._principals.find(claim.access_key_id)
            if principal is None:
                return "the token is signed with an unknown access key"
            sigv4.check(request, claim, principal.secret, _EMPTY_HASH, self._now())
        except sigv4.BadSignature as bad:
            reasons = {"expired": "the token has expired", "malformed": "the token is malformed"}
            return reasons.get(bad.kind, "the token's signature is wrong")
        if principal.token is not None and not hmac.compare_digest(
            principal.token.encode(), (claim.token or "").encode()
        ):
            return "the token lacks the session token of its temporary key"
        if principal.expires is not None and self._now() >= principal.expires:
            return "the temporary key that signed the token has expired"
        if principal.caller.administrator:
            return None
        arn = f"arn:aws:rds-db:{login.region}:{ACCOUNT_ID}:dbuser:{login.resource_id}/{login.user}"
        context = self._door.context(principal, login.region)
        decision = policy.evaluate(
            principal.policies, policy.Question("rds-db:connect", (arn,), context), principal.boundary
        )
        if not decision.allowed:
            return f"{principal.caller.arn} may not rds-db:connect to {arn} {decision.reason}"
        return None


def _fields(query: str) -> dict[str, list[str]]:
    """The values of each field, as the signature covers them: a plus is a plus, not a space."""
    found: dict[str, list[str]] = {}
    for piece in query.split("&"):
        name, _, value = piece.partition("=")
        found.setdefault(unquote(name), []).append(unquote(value))
    return found
