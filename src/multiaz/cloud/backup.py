"""AWS Backup, recorded: vaults, plans and selections are kept and described, and no plan ever runs.

So a vault holds no recovery point and there are no jobs; both lists are empty, which is the truth.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.service import ACCOUNT_ID, PARTITION, AwsFault, Clients, Context, Operation
from multiaz.cloud.store import Store

_DDL = """
CREATE TABLE IF NOT EXISTS backup_item (
    region TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, plan TEXT NOT NULL,
    document TEXT NOT NULL, tags TEXT NOT NULL,
    PRIMARY KEY (region, kind, id)
) STRICT
"""
VAULT, PLAN, SELECTION = "vault", "plan", "selection"
_RULE = frozenset({
    "RuleName", "TargetBackupVaultName", "ScheduleExpression", "ScheduleExpressionTimezone", "StartWindowMinutes",
    "CompletionWindowMinutes", "Lifecycle", "RecoveryPointTags", "EnableContinuousBackup",
})  # fmt: skip
_DEFAULT_RULE = {
    "ScheduleExpression": "cron(0 5 ? * * *)",
    "ScheduleExpressionTimezone": "Etc/UTC",
    "StartWindowMinutes": 480,
    "CompletionWindowMinutes": 10080,
}
"""Source: AWS Backup API reference, BackupRule."""
COLD_DAYS = 90
"""A recovery point stays in cold storage at least so long. Source: AWS Backup API reference, Lifecycle."""
CONTINUOUS_DAYS = range(1, 36)
"""Retention of continuous backups. Source: AWS Backup developer guide, "Point-in-time recovery"."""


class BackupService:
    """The recorded vaults, plans and selections of all regions, in the store."""

    name = "backup"

    def __init__(self, store: Store, clients: Clients) -> None:
        self._store = store
        self._clients = clients
        store.create(_DDL)

    @property
    def operations(self) -> Mapping[str, Operation]:
        """API actions by name."""
        return {
            "CreateBackupVault": self.create_vault,
            "DescribeBackupVault": self.describe_vault,
            "ListBackupVaults": self.list_vaults,
            "DeleteBackupVault": self.delete_vault,
            "CreateBackupPlan": self.create_plan,
            "GetBackupPlan": self.get_plan,
            "UpdateBackupPlan": self.update_plan,
            "ListBackupPlans": self.list_plans,
            "DeleteBackupPlan": self.delete_plan,
            "CreateBackupSelection": self.create_selection,
            "GetBackupSelection": self.get_selection,
            "ListBackupSelections": self.list_selections,
            "DeleteBackupSelection": self.delete_selection,
            "ListBackupJobs": lambda context, parameters: {"BackupJobs": []},
            "ListRecoveryPointsByBackupVault": self.list_recovery_points,
            "ListTags": self.list_tags,
        }

    def start(self) -> None:
        """Nothing to resume: no plan runs."""

    def stop(self) -> None:
        """Nothing runs."""

    # Vaults

    def create_vault(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """CreateBackupVault."""
        name = parameters["BackupVaultName"]
        if not re.fullmatch(r"[a-zA-Z0-9_-]{2,50}", name):
            raise _bad_value(
                f"Invalid backup vault name: {name}. It has 2 to 50 letters, digits, hyphens, underscores."
            )
        document = {
            "BackupVaultName": name,
            "BackupVaultArn": _arn(context.region, "backup-vault", name),
            "CreationDate": _now(),
            "EncryptionKeyArn": self._key(context.region, parameters.get("EncryptionKeyArn")),
            "CreatorRequestId": parameters.get("CreatorRequestId"),
        }
        tags = _tags(context, parameters.get("BackupVaultTags"))
        with self._store.transaction():
            if self._read(context.region, VAULT, name) is not None:
                raise AwsFault("AlreadyExistsException", f"Backup vault with the same name already exists: {name}")
            self._write(context.region, VAULT, name, document, tags)
        return {key: document[key] for key in ("BackupVaultName", "BackupVaultArn", "CreationDate")}

    def describe_vault(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """DescribeBackupVault."""
        return _vault_shape(self._require(context.region, VAULT, parameters["BackupVaultName"]))

    def list_vaults(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """ListBackupVaults, in one page."""
        _one_page(parameters, {"ByVaultType", "ByShared"})
        return {"BackupVaultList": [_vault_shape(found) for found in self._all(context.region, VAULT)]}

    def delete_vault(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """DeleteBackupVault: it is empty, as no plan runs."""
        name = parameters["BackupVaultName"]
        with self._store.transaction():
            self._require(context.region, VAULT, name)
            self._remove(context.region, VAULT, name)
        return {}

    def list_recovery_points(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """ListRecoveryPointsByBackupVault: none, of a vault there is."""
        self._require(context.region, VAULT, parameters["BackupVaultName"])
        return {"RecoveryPoints": []}

    # Plans

    def _checked(self, region: str, plan: Mapping[str, Any]) -> dict[str, Any]:
        """A plan, checked, with its defaults. Raises AwsFault."""
        _only(plan, {"BackupPlanName", "Rules"}, "BackupPlan")
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,50}", plan["BackupPlanName"]):
            raise _bad_value(f"Invalid backup plan name: {plan['BackupPlanName']}")
        if not plan["Rules"]:
            raise AwsFault("MissingParameterValueException", "A backup plan needs at least one rule.")
        rules = [self._rule(region, rule) for rule in plan["Rules"]]
        return {"BackupPlanName": plan["BackupPlanName"], "Rules": rules}

    def create_plan(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """CreateBackupPlan."""
        plan = self._checked(context.region, parameters["BackupPlan"])
        number = str(uuid.uuid4())
        document = {
            "BackupPlanId": number,
            "BackupPlanArn": _arn(context.region, "backup-plan", number),
            "VersionId": uuid.uuid4().hex,
            "CreationDate": _now(),
            "CreatorRequestId": parameters.get("CreatorRequestId"),
            "BackupPlan": plan,
        }
        tags = _tags(context, parameters.get("BackupPlanTags"))
        with self._store.transaction():
            if any(_plan_name(found) == plan["BackupPlanName"] for found in self._all(context.region, PLAN)):
                raise AwsFault("AlreadyExistsException", "Backup plan with the same plan document already exists.")
            self._write(context.region, PLAN, number, document, tags)
        return {key: document[key] for key in ("BackupPlanId", "BackupPlanArn", "VersionId", "CreationDate")}

    def update_plan(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """UpdateBackupPlan: another version, which is the only one kept."""
        plan = self._checked(context.region, parameters["BackupPlan"])
        number = parameters["BackupPlanId"]
        with self._store.transaction():
            found = self._require(context.region, PLAN, number)
            others = [other for other in self._all(context.region, PLAN) if other["BackupPlanId"] != number]
            if any(_plan_name(other) == plan["BackupPlanName"] for other in others):
                raise AwsFault("AlreadyExistsException", "Backup plan with the same plan document already exists.")
            document = {**found, "VersionId": uuid.uuid4().hex, "BackupPlan": plan}
            self._replace(context.region, PLAN, number, document)
        return {key: document[key] for key in ("BackupPlanId", "BackupPlanArn", "VersionId", "CreationDate")}

    def _rule(self, region: str, rule: Mapping[str, Any]) -> dict[str, Any]:
        """One rule, checked, with its defaults. Raises AwsFault."""
        _only(rule, _RULE, "a backup rule")
        name, vault = rule["RuleName"], rule["TargetBackupVaultName"]
        if self._read(region, VAULT, vault) is None:
            raise _bad_value(f"Backup vault {vault} of the rule {name} does not exist.")
        whole = {**_DEFAULT_RULE, **rule, "RuleId": str(uuid.uuid4())}
        if not re.fullmatch(r"cron\((\S+ ){5}\S+\)", whole["ScheduleExpression"]):
            raise _bad_value(f"Invalid schedule expression of the rule {name}: {whole['ScheduleExpression']}")
        if whole["StartWindowMinutes"] < 60 or whole["CompletionWindowMinutes"] <= whole["StartWindowMinutes"]:
            raise _bad_value(
                f"Invalid windows of the rule {name}: the start window has at least 60 minutes, and the completion "
                "window is longer"
            )
        life = rule.get("Lifecycle") or {}
        _only(life, {"MoveToColdStorageAfterDays", "DeleteAfterDays"}, "Lifecycle")
        cold, deleted = life.get("MoveToColdStorageAfterDays") or 0, life.get("DeleteAfterDays")
        if deleted is not None and (deleted < 1 or (cold > 0 and deleted < cold + COLD_DAYS)):
            raise _bad_value(
                f"Invalid lifecycle of the rule {name}: DeleteAfterDays must be {COLD_DAYS} days greater than "
                "MoveToColdStorageAfterDays"
            )
        if rule.get("EnableContinuousBackup") and deleted not in CONTINUOUS_DAYS:
            raise _bad_value(f"Continuous backups of the rule {name} are kept 1 to 35 days")
        return whole

    def get_plan(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """GetBackupPlan: the one version there is."""
        found = self._require(context.region, PLAN, parameters["BackupPlanId"])
        if parameters.get("VersionId") not in (None, found["VersionId"]):
            raise _not_found(f"version {parameters['VersionId']} of backup plan {found['BackupPlanId']}")
        return found

    def list_plans(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """ListBackupPlans, in one page."""
        _one_page(parameters, {"IncludeDeleted"})
        return {
            "BackupPlansList": [
                {
                    **{key: value for key, value in found.items() if key != "BackupPlan"},
                    "BackupPlanName": _plan_name(found),
                }
                for found in self._all(context.region, PLAN)
            ]
        }

    def delete_plan(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """DeleteBackupPlan, once it has no selection."""
        number = parameters["BackupPlanId"]
        with self._store.transaction():
            found = self._require(context.region, PLAN, number)
            if self._all(context.region, SELECTION, number):
                raise AwsFault(
                    "InvalidRequestException",
                    "Related backup plan selections must be deleted prior to backup plan deletion.",
                )
            self._remove(context.region, PLAN, number)
        return {**{key: found[key] for key in ("BackupPlanId", "BackupPlanArn", "VersionId")}, "DeletionDate": _now()}

    # Selections

    def create_selection(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """CreateBackupSelection."""
        plan, selection = parameters["BackupPlanId"], parameters["BackupSelection"]
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,50}", selection["SelectionName"]):
            raise _bad_value(f"Invalid selection name: {selection['SelectionName']}")
        self._check_role(context.region, selection["IamRoleArn"])
        number = str(uuid.uuid4())
        document = {
            "SelectionId": number,
            "BackupPlanId": plan,
            "BackupSelection": selection,
            "CreationDate": _now(),
            "CreatorRequestId": parameters.get("CreatorRequestId"),
        }
        with self._store.transaction():
            self._require(context.region, PLAN, plan)
            for other in self._all(context.region, SELECTION, plan):
                if other["BackupSelection"]["SelectionName"] == selection["SelectionName"]:
                    raise AwsFault("AlreadyExistsException", "Backup selection with the same name already exists.")
            self._write(context.region, SELECTION, number, document, {}, plan)
        return {key: document[key] for key in ("SelectionId", "BackupPlanId", "CreationDate")}

    def get_selection(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """GetBackupSelection."""
        return self._selection(context.region, parameters)

    def list_selections(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """ListBackupSelections of a plan, in one page."""
        _one_page(parameters, {"BackupPlanId"})
        plan = parameters["BackupPlanId"]
        self._require(context.region, PLAN, plan)
        return {
            "BackupSelectionsList": [
                {
                    **{key: value for key, value in found.items() if key != "BackupSelection"},
                    "SelectionName": found["BackupSelection"]["SelectionName"],
                    "IamRoleArn": found["BackupSelection"]["IamRoleArn"],
                }
                for found in self._all(context.region, SELECTION, plan)
            ]
        }

    def delete_selection(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """DeleteBackupSelection."""
        with self._store.transaction():
            found = self._selection(context.region, parameters)
            self._remove(context.region, SELECTION, found["SelectionId"])
        return {}

    def list_tags(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """ListTags of a vault or a plan, by ARN."""
        arn = parameters["ResourceArn"]
        for kind, member in ((VAULT, "BackupVaultArn"), (PLAN, "BackupPlanArn")):
            for row in self._rows(context.region, kind):
                if json.loads(row["document"])[member] == arn:
                    return {"Tags": json.loads(row["tags"])}
        raise _not_found(arn)

    # What is shared

    def _selection(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        found = self._require(region, SELECTION, parameters["SelectionId"])
        if found["BackupPlanId"] != parameters["BackupPlanId"]:
            raise _not_found(f"backup selection {parameters['SelectionId']} of plan {parameters['BackupPlanId']}")
        return found

    def _key(self, region: str, given: str | None) -> str:
        """ARN of the key, AWS's own if none is given. Raises AwsFault for one that cannot be used."""
        if given is None:
            return f"arn:{PARTITION}:kms:{region}:{ACCOUNT_ID}:alias/aws/backup"
        try:
            key = self._clients.client("kms", region).describe_key(KeyId=given)["KeyMetadata"]
        except ClientError as error:
            raise _bad_value(f"The KMS key {given} cannot be used: it was not found") from error
        if key["KeyState"] != "Enabled":
            raise _bad_value(f"The KMS key {given} cannot be used: its state is {key['KeyState']}")
        return str(key["Arn"])

    def _check_role(self, region: str, arn: str) -> None:
        """Raise AwsFault unless AWS Backup may assume the role."""
        refusal = f"IAM Role {arn} cannot be assumed by AWS Backup"
        try:
            role = self._clients.client("iam", region).get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except ClientError as error:
            raise _bad_value(refusal) from error
        if role["Arn"] != arn or "backup.amazonaws.com" not in json.dumps(role["AssumeRolePolicyDocument"]):
            raise _bad_value(refusal)

    def _rows(self, region: str, kind: str, plan: str | None = None) -> list[Any]:
        rows = self._store.rows("SELECT * FROM backup_item WHERE region = ? AND kind = ? ORDER BY id", (region, kind))
        return [row for row in rows if plan in (None, row["plan"])]

    def _all(self, region: str, kind: str, plan: str | None = None) -> list[dict[str, Any]]:
        return [dict(json.loads(row["document"])) for row in self._rows(region, kind, plan)]

    def _read(self, region: str, kind: str, item: str) -> dict[str, Any] | None:
        sql = "SELECT document FROM backup_item WHERE region = ? AND kind = ? AND id = ?"
        rows = self._store.rows(sql, (region, kind, item))
        return dict(json.loads(rows[0]["document"])) if rows else None

    def _require(self, region: str, kind: str, item: str) -> dict[str, Any]:
        found = self._read(region, kind, item)
        if found is None:
            raise _not_found(f"backup {kind} {item}")
        return found

    def _write(
        self, region: str, kind: str, item: str, document: dict[str, Any], tags: dict[str, str], plan: str = ""
    ) -> None:
        kept = {key: value for key, value in document.items() if value is not None}
        row = (region, kind, item, plan, json.dumps(kept), json.dumps(tags))
        with self._store.transaction() as connection:
            connection.execute("INSERT INTO backup_item VALUES (?, ?, ?, ?, ?, ?)", row)

    def _replace(self, region: str, kind: str, item: str, document: dict[str, Any]) -> None:
        kept = {key: value for key, value in document.items() if value is not None}
        sql = "UPDATE backup_item SET document = ? WHERE region = ? AND kind = ? AND id = ?"
        with self._store.transaction() as connection:
            connection.execute(sql, (json.dumps(kept), region, kind, item))

    def _remove(self, region: str, kind: str, item: str) -> None:
        sql = "DELETE FROM backup_item WHERE region = ? AND kind = ? AND id = ?"
        with self._store.transaction() as connection:
            connection.execute(sql, (region, kind, item))


def _vault_shape(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "NumberOfRecoveryPoints": 0, "Locked": False}


def _plan_name(found: Mapping[str, Any]) -> str:
    return str(found["BackupPlan"]["BackupPlanName"])


def _arn(region: str, kind: str, name: str) -> str:
    return f"arn:{PARTITION}:backup:{region}:{ACCOUNT_ID}:{kind}:{name}"


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _only(given: Mapping[str, Any], names: set[str] | frozenset[str], what: str) -> None:
    """Refuse, by name, members that would have no effect."""
    for name in sorted(set(given) - names):
        raise _bad_value(f"{name} of {what} is not available on the local cloud.")


def _one_page(parameters: Mapping[str, Any], ignored: set[str]) -> None:
    if parameters.get("NextToken"):
        raise _bad_value("NextToken is not one this list has given.")
    _only(parameters, ignored | {"MaxResults", "NextToken"}, "this list")


def _tags(context: Context, given: Mapping[str, str] | None) -> dict[str, str]:
    for key in given or {}:
        if key.lower().startswith("aws:") and not context.caller.internal:
            raise _bad_value(f"Tag keys starting with 'aws:' are reserved for internal use: {key}")
    return dict(given or {})


def _bad_value(message: str) -> AwsFault:
    return AwsFault("InvalidParameterValueException", message)


def _not_found(what: str) -> AwsFault:
    return AwsFault("ResourceNotFoundException", f"Cannot find {what}.")
