"""What scanners find in the template and we accept, with the reason, as data.

Synthesis writes each entry into the metadata of the resources it is for, in the form its scanner reads, so the reason
stands beside what it excuses. An entry whose resources are not in the template is not written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

_GUARD = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)+")


@dataclass(frozen=True)
class Suppression:
    """Findings we accept in some resources."""

    ids: tuple[str, ...]
    """Ids of checks: CKV_AWS_…, AwsSolutions-…, MAZ…, or a rule of cfn-guard, all in capitals."""
    resources: tuple[str, ...]
    """Logical ids, also as patterns of fnmatch, or types (`AWS::…`)."""
    reason: str
    where: Mapping[str, object] = field(default_factory=dict)
    """Properties that must have these values: else the check passes, and must go on being asked."""
    unless: str = ""
    """A type: a template that has a resource of it passes."""

    def covers(self, logical_id: str, kind: str, properties: Mapping[str, object], kinds: Collection[str]) -> bool:
        """Whether a resource is one of those meant, in a template with resources of these `kinds`."""
        if self.unless in kinds or any(properties.get(name) != value for name, value in self.where.items()):
            return False
        return any(kind == wanted if "::" in wanted else fnmatchcase(logical_id, wanted) for wanted in self.resources)


INSTANCES = ("AWS::RDS::DBInstance",)
REPLICAS = ("ReadReplica[0-9]", "ReadReplica[0-9][0-9]")
"""The instances, and not their alarms and log groups."""
MULTI_AZ = ("CKV_AWS_157", "AwsSolutions-RDS3", "RDS_MULTI_AZ_SUPPORT")

SUPPRESSIONS: tuple[Suppression, ...] = (
    Suppression(
        ("CKV_AWS_16", "AwsSolutions-RDS2", "RDS_STORAGE_ENCRYPTED"),
        REPLICAS,
        "encryption and key are the source's: StorageEncrypted is refused beside SourceDBInstanceIdentifier",
    ),
    Suppression(
        MULTI_AZ,
        REPLICAS,
        "readers stand in for one another, each in a zone of its own; a standby each would double their price",
    ),
    Suppression(
        MULTI_AZ,
        ("PrimaryDB",),
        "multi_az is off, as in the preset test: an outage may last as long as a restore",
        where={"MultiAZ": False},
    ),
    Suppression(
        ("CKV_AWS_293", "AwsSolutions-RDS10", "RDS_INSTANCE_DELETION_PROTECTION_ENABLED"),
        INSTANCES,
        "deletion_protection is off, as in the preset test: the stack must be removable without a person",
        where={"DeletionProtection": False},
    ),
    Suppression(
        ("CKV_AWS_226", "RDS_AUTOMATIC_MINOR_VERSION_UPGRADE_ENABLED"),
        INSTANCES,
        "EngineVersion is pinned: an upgrade behind CloudFormation's back breaks the next update (aws-cdk issue 15475)",
    ),
    Suppression(
        ("AwsSolutions-RDS11",),
        INSTANCES,
        "who connects is decided by the security group, not by the port; DBPort chooses another",
    ),
    Suppression(
        ("RDS_IN_BACKUP_PLAN", "MAZ111"),
        ("PrimaryDB",),
        "RDS keeps automated backups of its own; aws_backup adds a plan of AWS Backup",
        unless="AWS::Backup::BackupSelection",
    ),
    Suppression(
        ("CKV2_AWS_57", "AwsSolutions-SMG4", "SECRETSMANAGER_ROTATION_ENABLED_CHECK"),
        ("DBConnectionSecret",),
        "holds addresses and user names and no password: there is nothing to rotate",
    ),
    Suppression(
        ("CKV_AWS_23",),
        ("DBSecurityGroup",),
        "every rule has a description; checkov does not look for it inside Fn::If",
    ),
    Suppression(
        ("S3_BUCKET_DEFAULT_LOCK_ENABLED", "MAZ508"),
        ("BackupBucket",),
        "exports can be made again from snapshots; a lock would stop the lifecycle and a test's clean-up",
    ),
    Suppression(
        ("S3_BUCKET_REPLICATION_ENABLED",),
        ("BackupBucket",),
        "exports can be made again from snapshots; backup_copy_region can copy the backups themselves",
    ),
    Suppression(
        ("AwsSolutions-IAM5",),
        ("SnapshotExportPolicy",),
        "the actions AWS lists for an export, on the objects of the one bucket",
    ),
    Suppression(
        ("AwsSolutions-IAM5",),
        ("EnhancedMonitoringPolicy",),
        "RDS itself names the log groups; they begin with RDS and are of this account and region",
    ),
    Suppression(
        ("CKV_AWS_18", "AwsSolutions-S1", "S3_BUCKET_LOGGING_ENABLED"),
        ("AccessLogBucket",),
        "holds the access log: logged too it would write logs about its own logs without end",
    ),
    Suppression(
        ("S3_DEFAULT_ENCRYPTION_KMS",),
        ("AccessLogBucket",),
        "encrypted with SSE-S3: S3 delivers access logs to no bucket with a KMS key",
    ),
    Suppression(
        ("S3_BUCKET_DEFAULT_LOCK_ENABLED", "MAZ508"),
        ("AccessLogBucket",),
        "S3 delivers access logs to no bucket with object lock",
    ),
    Suppression(
        ("S3_BUCKET_REPLICATION_ENABLED",),
        ("AccessLogBucket",),
        "tells who used a bucket that is not replicated itself",
    ),
    Suppression(
        ("AwsSolutions-IAM5",),
        ("EmptyBucketPolicy", "EmptyBackupBucketPolicy"),
        "whatever the bucket holds must go before the bucket can",
    ),
    Suppression(
        ("AwsSolutions-IAM4",),
        ("BackupRole",),
        "AWS Backup's own policy: what its service needs for a backup changes with the service",
    ),
    Suppression(
        ("CKV_AWS_115", "LAMBDA_CONCURRENCY_CHECK"),
        ("EmptyBucketFunction",),
        "runs when the stack is made and deleted; concurrency reserved for that would be taken from the account's",
    ),
    Suppression(
        ("CKV_AWS_116", "LAMBDA_DLQ_CHECK"),
        ("EmptyBucketFunction",),
        "CloudFormation waits for its answer and tells of a failure: there is no event to lose",
    ),
    Suppression(
        ("CKV_AWS_117", "LAMBDA_INSIDE_VPC"),
        ("EmptyBucketFunction",),
        "calls S3 only; its network interfaces would hold up the deletion of the VPC",
    ),
    Suppression(
        ("MAZ704",),
        ("NatGateway*",),
        "nat_gateways asks for it, for what else is to leave the subnets; by default there is none",
    ),
)


def metadata_of(
    logical_id: str,
    kind: str,
    properties: Mapping[str, object],
    kinds: Collection[str],
    suppressions: Iterable[Suppression] = SUPPRESSIONS,
) -> dict[str, dict[str, list[Any]]]:
    """Metadata of one resource, by tool; empty if nothing is accepted there. `kinds`: the types in the template.

    Raises ValueError for an id no tool is known for.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for suppression in suppressions:
        if not suppression.covers(logical_id, kind, properties, kinds):
            continue
        for id_ in suppression.ids:
            tool = tool_of(id_)
            key, write = _FORMS[tool]
            found.setdefault(tool, {}).setdefault(key, []).append(write(id_, suppression.reason))
    return found


def tool_of(id_: str) -> str:
    """Key of the metadata under which a check of this id is suppressed.

    Raises ValueError for an id no tool is known for.
    """
    for prefix, tool in _PREFIXES.items():
        if id_.startswith(prefix):
            return tool
    if _GUARD.fullmatch(id_):
        return "guard"
    raise ValueError(f"{id_} is no id of checkov, cdk-nag, cfn-guard or multiaz")


_PREFIXES: Mapping[str, str] = {"CKV": "checkov", "AwsSolutions-": "cdk_nag", "MAZ": "multiaz"}

_FORMS: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
    "checkov": ("skip", lambda id_, reason: {"id": id_, "comment": reason}),
    "cdk_nag": ("rules_to_suppress", lambda id_, reason: {"id": id_, "reason": reason}),
    "guard": ("SuppressedRules", lambda id_, _: id_),
    "multiaz": ("suppress", lambda id_, reason: {"id": id_, "reason": reason}),
}
"""Key of the list and form of an entry. cfn-guard's form has no place for a reason.

Sources: checkov, Suppressing and Skipping Policies; cdk-nag, README, Suppressing a Rule; AWS Guard Rules Registry,
README, Suppressing Rules; `multiaz check`.
"""
