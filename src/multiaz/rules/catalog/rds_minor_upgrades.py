"""MAZ113: Minor versions are upgraded automatically."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """True is the default."""
    for instance in rds.instances(template):
        for choice in instance.choices("AutoMinorVersionUpgrade"):
            if choice.flag is False:
                yield Problem(choice.path, f"{instance.name} stays on its minor version until somebody upgrades it")


RULE = Rule(
    id="MAZ113",
    title="Minor versions are upgraded automatically",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.13",
    covers=("CKV_AWS_226", "RDS_AUTOMATIC_MINOR_VERSION_UPGRADE_ENABLED", "RDS.13"),
    check=check,
)
