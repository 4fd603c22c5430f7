"""MAZ705: the database takes connections from no public subnet."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.networks import group_of, public_subnets, rules_of_groups
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """A rule of a security group of a DB instance whose range is that of a public subnet of the template."""
    ranges = {
        choice.text: subnet.name
        for subnet in public_subnets(template).values()
        for choice in subnet.choices("CidrBlock")
        if choice.text
    }
    guarding = {name for instance in rds.instances(template) for name in template.mentions(instance)}
    for rule in rules_of_groups(template, outwards=False):
        if not ranges or group_of(template, rule) not in guarding:
            continue
        for choice in template.inside(rule, "CidrIp"):
            if choice.text in ranges:
                yield Problem(choice.path, f"{choice.text} is the public subnet {ranges[choice.text]}")


RULE = Rule(
    id="MAZ705",
    title="The database takes connections from no public subnet",
    severity=Severity.WARNING,
    source="AWS Well-Architected, SEC05-BP01",
    why="What is called the application subnet must not be one machines of the internet are in.",
    check=check,
)
