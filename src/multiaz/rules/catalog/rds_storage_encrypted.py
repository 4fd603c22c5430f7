"""MAZ101: Storage of a DB instance or cluster is encrypted."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

INHERITING = (
    "SnapshotIdentifier",
    "SourceDBClusterIdentifier",
    "SourceDbClusterResourceId",
    "ReplicationSourceIdentifier",
)


def check(template: Template) -> Iterator[Problem]:
    """Replicas and what is restored inherit it and are not judged, nor is Aurora Serverless v1, which always is."""
    for instance in rds.primaries(template):
        if not rds.is_restored(instance):
            yield from rds.not_true(
                instance, "StorageEncrypted", f"{instance.name} is not encrypted: set StorageEncrypted"
            )
    for cluster in template.of_type("AWS::RDS::DBCluster"):
        inherits = any(cluster.has(name) for name in INHERITING)
        if not inherits and not any(choice.text == "serverless" for choice in cluster.choices("EngineMode")):
            yield from rds.not_true(
                cluster, "StorageEncrypted", f"{cluster.name} is not encrypted: set StorageEncrypted"
            )


RULE = Rule(
    id="MAZ101",
    title="Storage of a DB instance or cluster is encrypted",
    severity=Severity.ERROR,
    source="AWS Security Hub, RDS.3 and RDS.4",
    covers=("CKV_AWS_16", "RDS_STORAGE_ENCRYPTED", "AwsSolutions-RDS2", "RDS.3", "CKV_AWS_96", "RDS.27"),
    related=("RDS.4",),
    why="It cannot be turned on later: the instance must be replaced. Snapshots are encrypted if the instance is.",
    check=check,
)
