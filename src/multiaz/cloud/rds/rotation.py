"""Rotation of a PostgreSQL secret, done here: what the hosted function SecretsManagerPostgreSQLSingleUser does.

Secrets Manager's other actions stay with moto. What moto cannot keep without a Lambda function, the rotation's
settings and progress, is kept in the Store, and DescribeSecret shows both together.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field

from multiaz.cloud.rds import schedule
from multiaz.cloud.rds.model import Document
from multiaz.cloud.rds.passwords import Login, NotOurs, RotationFailed, login_of, new_secret, set_password, try_login
from multiaz.cloud.rds.repository import Shelf
from multiaz.cloud.rds.service import RdsService
from multiaz.cloud.service import AwsFault, Clients, Context, Operation
from multiaz.cloud.store import Store

LONGEST_PAUSE_S = 300.0
CALM_S = 30.0
_log = logging.getLogger("multiaz.cloud.rds")


class Rotation(Document):
    """How one secret is rotated."""

    region: str
    arn: str
    name: str
    function: str
    rules: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True
    since: float
    last: float | None = None
    """When it was rotated last."""
    tried: float | None = None
    """When a rotation was last given up."""
    token: str | None = None
    """Version id of the rotation in progress."""
    failures: int = 0
    retry_at: float = 0.0
    error: str | None = None

    def next(self) -> float | None:
        """When the rules want the next rotation."""
        if not self.enabled:
            return None
        base = datetime.fromtimestamp(max(self.since, self.last or 0, self.tried or 0), UTC)
        due = schedule.next_after(self.rules, base)
        return due.timestamp() if due else None


class SecretRotation:
    """Overrides those actions of `secretsmanager` that concern rotation."""

    name = "secretsmanager"

    def __init__(self, store: Store, clients: Clients, rds: RdsService) -> None:
        self._clients = clients
        self._rds = rds
        self._store = store
        self._shelf = Shelf(store, "rotation", Rotation)
        self._bell = threading.Event()
        self._working = threading.Lock()
        self._ending = False
        self._thread: threading.Thread | None = None
        self._operations: dict[str, Operation] = {
            "RotateSecret": self.rotate,
            "CancelRotateSecret": self.cancel,
            "DescribeSecret": self.describe,
        }

    @property
    def operations(self) -> Mapping[str, Operation]:
        """API name to the function that performs it."""
        return self._operations

    def start(self) -> None:
        """Carry on with interrupted and overdue rotations."""
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="secret-rotation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the step in hand."""
        self._ending = True
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
            self._thread = None

    # -- actions ---------------------------------------------------------------------------------

    def rotate(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """RotateSecret: the rotation itself happens in the background, as on AWS."""
        secret = self._secret(context.region, params["SecretId"])
        if secret.get("DeletedDate"):
            raise AwsFault(
                "InvalidRequestException",
                "You tried to perform the operation on a secret that's currently marked deleted.",
            )
        if params.get("ExternalSecretRotationMetadata") or params.get("ExternalSecretRotationRoleArn"):
            raise AwsFault("InvalidParameterException", "Secrets of other vendors are not rotated on the local cloud.")
        before = self._shelf.get(context.region, secret["ARN"])
        function = self._function(context, params.get("RotationLambdaARN"), before)
        rules = params.get("RotationRules") or (before.rules if before else {})
        try:
            schedule.check(rules)
        except schedule.ScheduleError as error:
            raise AwsFault("InvalidParameterException", str(error)) from error
        token = params.get("ClientRequestToken") or str(uuid.uuid4())
        if not 32 <= len(token) <= 64:
            raise AwsFault("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
        now = time.time()
        with self._store.transaction():
            before = self._shelf.get(context.region, secret["ARN"])
            if before is not None and before.token is not None and before.token != token:
                if params.get("RotateImmediately", True):
                    raise AwsFault(
                        "InvalidRequestException",
                        "A previous rotation isn't complete. That rotation will be reattempted.",
                    )
                token = before.token
            at_once = params.get("RotateImmediately", True) or (before is not None and before.token == token)
            self._keep(
                Rotation(
                    region=context.region,
                    arn=secret["ARN"],
                    name=secret["Name"],
                    function=function,
                    rules=rules,
                    since=before.since if before else now,
                    last=before.last if before else None,
                    token=token if at_once else None,
                )
            )
        self._bell.set()
        answer = {"ARN": secret["ARN"], "Name": secret["Name"]}
        return {**answer, "VersionId": token} if at_once else answer

    def cancel(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """CancelRotateSecret: a step in hand is finished first, so that secret and database agree."""
        secret = self._secret(context.region, params["SecretId"])
        with self._working, self._store.transaction():
            before = self._shelf.get(context.region, secret["ARN"])
            if before is None:
                raise AwsFault(
                    "InvalidRequestException",
                    "You tried to enable rotation on a secret that doesn't already have a Lambda function ARN "
                    "configured and you didn't include such an ARN as a parameter in this call.",
                )
            self._keep(before.but(enabled=False, token=None))
        return {"ARN": secret["ARN"], "Name": secret["Name"]}

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeSecret: what moto knows, and how it is rotated."""
        found = dict(self._secret(context.region, params["SecretId"]))
        found["VersionIdsToStages"] = found.pop("SecretVersionsToStages", {})
        rotation = self._shelf.get(context.region, found["ARN"])
        if rotation is not None:
            found["RotationEnabled"] = rotation.enabled
            found["RotationLambdaARN"] = rotation.function
            found["RotationRules"] = rotation.rules
            if rotation.last is not None:
                found["LastRotatedDate"] = datetime.fromtimestamp(int(rotation.last), UTC)
            due = rotation.next()
            if due is not None:
                found["NextRotationDate"] = datetime.fromtimestamp(int(due), UTC)
        return found

    def _function(self, context: Context, named: str | None, before: Rotation | None) -> str:
        """The ARN of the rotation function, which must stand for the hosted PostgreSQL single-user one."""
        if named is None:
            if before is None:
                raise AwsFault(
                    "InvalidRequestException",
                    "No Lambda rotation function ARN is associated with this secret.",
                )
            return before.function
        if before is not None and before.function == named:
            return named
        try:
            self._clients.client("lambda", context.region).get_function(FunctionName=named)
        except ClientError as error:
            # Only the hosted-rotation transform names a function nobody has made: it stands for ours.
            if context.caller.internal:
                return named
            raise AwsFault("ResourceNotFoundException", f"Resource not found for ARN '{named}'.") from error
        raise AwsFault(
            "InvalidRequestException",
            f"The rotation function {named} is not run: code is never executed on the local cloud. Use "
            "HostedRotationLambda with the type PostgreSQLSingleUser, which is carried out here.",
        )

    def _secret(self, region: str, identifier: str) -> dict[str, Any]:
        """The secret by name, ARN, or ARN without its random end, also if it is marked deleted."""
        pages = self._clients.client("secretsmanager", region).get_paginator("list_secrets")
        for page in pages.paginate(IncludePlannedDeletion=True):
            for secret in page["SecretList"]:
                if identifier in (secret["Name"], secret["ARN"], secret["ARN"][:-7]):
                    return dict(secret)
        raise AwsFault("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")

    def _keep(self, rotation: Rotation) -> Rotation:
        return self._shelf.put(rotation.region, rotation.arn, rotation)

    # -- background ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending:
            self._bell.clear()
            try:
                pause = self.work(time.time())
            except Exception:  # noqa: BLE001 - a bug of ours: logged, and rotation goes on
                _log.exception("secret rotation: unexpected")
                pause = CALM_S
            self._bell.wait(pause)

    def work(self, now: float) -> float:
        """Do what is due; seconds until something is due again."""
        pause = CALM_S
        for rotation in self._shelf.all():
            if self._ending:
                break
            due = rotation.next()
            if rotation.token is None and due is not None and due <= now:
                rotation = self._keep(rotation.but(token=str(uuid.uuid4())))
            if rotation.token is not None:
                if rotation.retry_at <= now:
                    rotation = self._attempt(rotation)
                if rotation.token is not None:
                    pause = min(pause, max(0.05, rotation.retry_at - now))
            elif due is not None:
                pause = min(pause, max(0.05, due - now))
        return pause

    def _attempt(self, rotation: Rotation) -> Rotation:
        with self._working:
            fresh = self._shelf.get(rotation.region, rotation.arn)
            if fresh is None or fresh.token is None:
                return fresh or rotation.but(token=None)
            try:
                self._carry_out(fresh, fresh.token)
            except _Gone:
                self._shelf.remove(fresh.region, fresh.arn)
                return fresh.but(token=None, enabled=False)
            except NotOurs as error:
                _log.error("%s is not rotated: %s", fresh.name, error)
                return self._keep(fresh.but(token=None, error=str(error), tried=time.time()))
            except (RotationFailed, ClientError, BotoCoreError, OSError) as error:
                pause = min(LONGEST_PAUSE_S, 0.25 * 2.0 ** min(fresh.failures, 20))
                _log.warning("%s: the rotation is tried again in %.1f s: %s", fresh.name, pause, error)
                return self._keep(
                    fresh.but(failures=fresh.failures + 1, retry_at=time.time() + pause, error=str(error))
                )
            _log.info("rotated %s", fresh.name)
            return self._keep(fresh.but(token=None, failures=0, retry_at=0.0, error=None, last=time.time()))

    def _carry_out(self, rotation: Rotation, token: str) -> None:
        """Create, set, test, finish. Every step looks first whether it was done before an interruption."""
        client = self._clients.client("secretsmanager", rotation.region)
        current = self._value(client, rotation, VersionStage="AWSCURRENT")
        if current is None:
            raise _Gone
        if current["VersionId"] == token:
            return
        login = login_of(self._rds.core, current["SecretString"])
        pending = self._value(client, rotation, VersionId=token)
        if pending is None:
            text = new_secret(client, current["SecretString"])
            client.put_secret_value(
                SecretId=rotation.arn, ClientRequestToken=token, SecretString=text, VersionStages=["AWSPENDING"]
            )
        else:
            text = pending["SecretString"]
        wanted = login_of(self._rds.core, text)
        # Only a resumed rotation can have set it; otherwise the server's log would show a refused login.
        if pending is None or not try_login(wanted):
            set_password(self._working_login(client, rotation, login), wanted)
            if not try_login(wanted):
                raise RotationFailed("the new password was set, and the server refuses it")
        # For moto only a value that is put becomes what GetSecretValue gives without a stage.
        client.put_secret_value(
            SecretId=rotation.arn, ClientRequestToken=token, SecretString=text, VersionStages=["AWSCURRENT"]
        )

    def _working_login(self, client: Any, rotation: Rotation, current: Login) -> Login:
        """A login the server takes: with the current password, else with the one before."""
        if try_login(current):
            return current
        previous = self._value(client, rotation, VersionStage="AWSPREVIOUS")
        if previous is not None:
            login = login_of(self._rds.core, previous["SecretString"])
            if login.user == current.user and try_login(login):
                return login
        raise RotationFailed("the server takes neither the current nor the previous password")

    def _value(self, client: Any, rotation: Rotation, **which: str) -> dict[str, Any] | None:
        try:
            return dict(client.get_secret_value(SecretId=rotation.arn, **which))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise


class _Gone(Exception):
    """The secret was deleted."""
