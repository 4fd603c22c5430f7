"""MAZ702: no security group lets the whole internet in."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.networks import is_anywhere, rules_of_groups
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

WEB = (80, 443)


def check(template: Template) -> Iterator[Problem]:
    """Ports 80 and 443 may be, unless the protocol is -1, which has no ports. A default of a parameter counts."""
    for rule in rules_of_groups(template, outwards=False):
        ports = [*template.inside(rule, "FromPort"), *template.inside(rule, "ToPort")]
        is_all = any(choice.text in ("-1", "all") for choice in template.inside(rule, "IpProtocol"))
        if not is_all and all(port.number in WEB for port in ports) and ports[0].number == ports[-1].number:
            continue
        for name in ("CidrIp", "CidrIpv6"):
            for choice in template.inside(rule, name):
                if is_anywhere(choice.value):
                    yield Problem(choice.path, "the whole internet is let in")


RULE = Rule(
    id="MAZ702",
    title="No security group lets the whole internet in",
    severity=Severity.ERROR,
    source="AWS Security Hub, EC2.18 and EC2.19",
    covers=("EC2.18",),
    related=(
        "AwsSolutions-EC23",
        "EC2.19",
        "EC2.53",
        "EC2.54",
        "CKV_AWS_24",
        "CKV_AWS_25",
        "CKV_AWS_260",
        "INCOMING_SSH_DISABLED",
    ),
    check=check,
)
