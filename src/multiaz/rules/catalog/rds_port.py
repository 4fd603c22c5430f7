"""MAZ119: a DB instance does not listen on the port everybody tries."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

PORTS = {"postgres": 5432, "mysql": 3306, "mariadb": 3306}


def check(template: Template) -> Iterator[Problem]:
    """A replica without a port has its source's, so only what is written counts there."""
    for instance in rds.instances(template):
        usual = next((PORTS[c.text] for c in rds.engines(instance) if c.text in PORTS), None)
        if usual is None:
            continue
        for choice in instance.choices("Port"):
            if choice.number == usual or (choice.is_absent and not rds.is_replica(instance)):
                yield Problem(choice.path, f"{instance.name} listens on {usual}, the usual port")


RULE = Rule(
    id="MAZ119",
    title="A DB instance does not listen on the port everybody tries",
    severity=Severity.INFO,
    source="AWS Security Hub, RDS.23",
    covers=("AwsSolutions-RDS11", "RDS.23"),
    check=check,
)
