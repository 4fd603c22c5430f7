"""MAZ102: a DB instance is encrypted with a key of one's own."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Replicas in the same region take the key of their source."""
    for instance in rds.primaries(template):
        if any(c.flag for c in instance.choices("StorageEncrypted")) and not rds.is_restored(instance):
            for choice in instance.choices("KmsKeyId"):
                if choice.is_absent or (choice.text or "").endswith("alias/aws/rds"):
                    yield Problem(choice.path, f"{instance.name} is encrypted with the key of AWS: set KmsKeyId")


RULE = Rule(
    id="MAZ102",
    title="A DB instance is encrypted with a key of one's own",
    severity=Severity.WARNING,
    source="AWS Well-Architected, SEC08-BP01",
    why="Only a key of one's own can be disabled, audited, or shared with another account.",
    check=check,
)
