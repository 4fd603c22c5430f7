"""MAZ201: a read replica sets nothing it has from its source."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

FORBIDDEN = (
    "MasterUsername",
    "MasterUserPassword",
    "ManageMasterUserPassword",
    "StorageEncrypted",
    "CharacterSetName",
    "DBName",
    "DBSnapshotIdentifier",
)


def check(template: Template) -> Iterator[Problem]:
    """KmsKeyId only if the source is in this template, and so in the same region. What stands in a branch of Fn::If
    that excludes the one with the source is of no replica.
    """
    for replica in rds.replicas(template):
        origins = [
            choice
            for name in ("SourceDBInstanceIdentifier", "SourceDBClusterIdentifier")
            for choice in replica.choices(name)
            if not choice.is_absent
        ]
        same_region = ("KmsKeyId",) if rds.source(replica) is not None else ()
        for name in (*FORBIDDEN, *same_region):
            given = [choice for choice in replica.choices(name) if not choice.is_absent]
            if any(template.go_together(choice, origin) for choice in given for origin in origins):
                yield replica.problem(
                    f"{replica.name} is a read replica and has {name} from its source: leave it away", name
                )


RULE = Rule(
    id="MAZ201",
    title="A read replica sets nothing it has from its source",
    severity=Severity.ERROR,
    source="CloudFormation schema of AWS::RDS::DBInstance; RDS API reference, CreateDBInstanceReadReplica",
    why="The creation fails, or the property is ignored.",
    check=check,
)
