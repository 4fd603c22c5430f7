"""STS, as far as it must know our principals: who am I, and may I become that role."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from multiaz.cloud import policy
from multiaz.cloud.principals import Principals
from multiaz.cloud.service import ACCOUNT_ID, AwsFault, AwsRequest, Context, Operation

SHORTEST_MAXIMUM_S = 3600
"""MaxSessionDuration of a role that sets none. Source: IAM API reference, CreateRole."""


class Identity:
    """Answers GetCallerIdentity; refuses what moto would grant to anybody."""

    name = "sts"

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    @property
    def operations(self) -> Mapping[str, Operation]:
        """Actions that are not moto's."""
        refused = ("GetSessionToken", "GetFederationToken", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity")
        return {"GetCallerIdentity": self.get_caller_identity} | {
            action: _refuse(action) for action in (*refused, "AssumeRoot", "GetWebIdentityToken")
        }

    def get_caller_identity(self, context: Context, _: dict[str, Any]) -> dict[str, Any]:
        """The principal that signed the call."""
        caller = context.caller
        principal = self._principals.find(caller.access_key_id)
        user_id = principal.user_id if principal is not None else ACCOUNT_ID
        return {"UserId": user_id, "Account": caller.account_id, "Arn": caller.arn}

    def check_assume_role(self, request: AwsRequest, parameters: Mapping[str, Any]) -> None:
        """Raise AwsFault unless the role exists and its trust policy names the caller.

        moto would hand out keys for a role that does not exist.
        """
        arn = str(parameters.get("RoleArn", ""))
        if "Policy" in parameters or "PolicyArns" in parameters:
            raise AwsFault("InvalidAction", "Session policies are not available on the local cloud.")
        role = self._principals.role(arn)
        message = f"User: {request.caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        if role is None:
            raise AwsFault("AccessDenied", message, 403)
        trust = role.assume_role_policy_document
        document = json.loads(trust) if isinstance(trust, str) else trust
        external = parameters.get("ExternalId")
        context = {"aws:principalarn": (request.caller.arn,)}
        if external:
            context["sts:externalid"] = (str(external),)
        if not request.caller.internal and not policy.trusts(document, request.caller.arn, ACCOUNT_ID, context):
            raise AwsFault("AccessDenied", message, 403)
        longest, wanted = int(role.max_session_duration or SHORTEST_MAXIMUM_S), parameters.get("DurationSeconds")
        if wanted is not None and wanted > longest:
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise AwsFault("ValidationError", message)


def _refuse(action: str) -> Callable[[Context, dict[str, Any]], dict[str, Any]]:
    def refuse(_: Context, __: dict[str, Any]) -> dict[str, Any]:
        raise AwsFault("InvalidAction", f"sts:{action} is not available on the local cloud; use AssumeRole.")

    return refuse
