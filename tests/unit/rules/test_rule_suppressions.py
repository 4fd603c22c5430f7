"""A suppression takes exactly what it names, says why, and is told of when it is wrong or idle."""

from __future__ import annotations

import pytest

from multiaz.rules import Finding, Report, Severity, check, rules

OPEN = """
Resources:
  Open:
    Type: AWS::EC2::SecurityGroup
    {metadata}
    Properties: {{SecurityGroupIngress: [{{CidrIp: 0.0.0.0/0, Description: x}}]}}
  AlsoOpen:
    Type: AWS::EC2::SecurityGroup
    Properties: {{SecurityGroupIngress: [{{CidrIp: 0.0.0.0/0, Description: x}}]}}
{top}
"""


def report(metadata: str = "", top: str = "") -> Report:
    return check(OPEN.format(metadata=f"Metadata: {metadata}" if metadata else "", top=top))


def open_findings(found: Report) -> list[tuple[str, str | None]]:
    return [(finding.rule, finding.resource) for finding in found.open]


def suppressed(found: Report) -> list[tuple[str, str | None]]:
    return [(finding.rule, finding.resource) for finding in found.findings if finding.suppressed]


def test_without_one_both_are_found() -> None:
    assert open_findings(report()) == [("MAZ702", "Open"), ("MAZ702", "AlsoOpen")]


def test_one_on_a_resource_takes_that_resource_only() -> None:
    found = report("{multiaz: {suppress: [{id: MAZ702, reason: a honeypot}]}}")
    assert open_findings(found) == [("MAZ702", "AlsoOpen")]
    (entry,) = found.suppressions
    assert (entry.id, entry.reason, entry.origin, entry.resource) == ("MAZ702", "a honeypot", "multiaz", "Open")
    assert entry.position.line == 5


def test_one_on_the_template_takes_all() -> None:
    found = report(top="Metadata: {multiaz: {suppress: [{id: MAZ702, reason: a honeypot}]}}")
    assert suppressed(found) == [("MAZ702", "Open"), ("MAZ702", "AlsoOpen")]


def test_one_on_the_template_may_name_its_resources() -> None:
    found = report(top="Metadata: {multiaz: {suppress: [{id: MAZ702, reason: a honeypot, resources: [AlsoOpen]}]}}")
    assert open_findings(found) == [("MAZ702", "Open")]


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ("{id: MAZ702}", "MAZ901"),
        ("{id: MAZ702, reason: ' '}", "MAZ901"),
        ("{id: MAZ702, reason: [1]}", "MAZ901"),
        ("{id: MAZ799, reason: x}", "MAZ902"),
        ("{id: MAZ101, reason: x}", "MAZ903"),
        ("{id: 702, reason: x}", "MAZ904"),
        ("MAZ702", "MAZ904"),
        ("{id: MAZ702, reason: x, resources: [Open]}", "MAZ904"),
    ],
)
def test_one_that_is_wrong_is_a_finding_and_takes_nothing(entry: str, rule: str) -> None:
    found = report(f"{{multiaz: {{suppress: [{entry}]}}}}")
    assert ("MAZ702", "Open") in open_findings(found)
    (told,) = [finding for finding in found.open if finding.rule == rule]
    assert told.severity == Severity.WARNING
    assert told.place.startswith("Resources/Open/Metadata/multiaz")


@pytest.mark.parametrize("ours", ["[]", "nothing", "{suppress: MAZ702}"])
def test_a_section_of_another_form_is_a_finding(ours: str) -> None:
    rules = {rule for rule, _ in open_findings(report(f"{{multiaz: {ours}}}"))}
    assert rules == {"MAZ702", "MAZ904"}


@pytest.mark.parametrize(
    ("metadata", "origin"),
    [
        ("{checkov: {skip: [{id: EC2.18, comment: a honeypot}]}}", "checkov"),
        ("{cdk_nag: {rules_to_suppress: [{id: EC2.18, reason: a honeypot}]}}", "cdk_nag"),
        ("{cfn_nag: {rules_to_suppress: [{id: EC2.18, reason: a honeypot}]}}", "cfn_nag"),
    ],
)
def test_one_for_another_checker_takes_the_rule_that_covers_its_id(metadata: str, origin: str) -> None:
    found = report(metadata)
    assert open_findings(found) == [("MAZ702", "AlsoOpen")]
    assert [entry.origin for entry in found.suppressions] == [origin]


@pytest.mark.parametrize("id_", rules()["MAZ702"].related)
def test_one_for_a_check_that_asks_less_takes_nothing(id_: str) -> None:
    found = report(f"{{checkov: {{skip: [{{id: {id_}, comment: port 80 redirects to 443}}]}}}}")
    assert open_findings(found) == [("MAZ702", "Open"), ("MAZ702", "AlsoOpen")]


@pytest.mark.parametrize(
    ("id_", "rule"),
    [("AwsSolutions-SMG4", "MAZ121"), ("CKV_AWS_53", "MAZ504"), ("CKV_AWS_57", "MAZ503"), ("CKV_AWS_19", "MAZ502")],
)
def test_a_narrower_check_is_not_the_same_check(id_: str, rule: str) -> None:
    assert id_ not in rules()[rule].covers


def test_what_is_related_is_not_covered_too() -> None:
    assert [rule.id for rule in rules().values() if set(rule.covers) & set(rule.related)] == []


STAR = """
Resources:
  P:
    Type: AWS::IAM::ManagedPolicy
    Metadata: {cdk_nag: {rules_to_suppress: [{id: AwsSolutions-IAM5, reason: x, applies_to: %s}]}}
    Properties: {PolicyDocument: {Statement: [{Effect: Allow, Action: 's3:*', Resource: '*'}]}}
"""


@pytest.mark.parametrize(
    ("applies_to", "taken"),
    [
        ("['Resource::*']", True),
        ("['Resource::arn:aws:logs:*']", False),
        ("[{regex: '/.*/g'}]", False),
        ("[]", False),
        ("none", False),
    ],
)
def test_applies_to_bounds_an_entry_of_cdk_nag(applies_to: str, taken: bool) -> None:
    assert (("MAZ312", "P") in suppressed(check(STAR % applies_to))) is taken


def test_of_the_foreign_entries_on_the_template_only_cdk_nag_s_take_something() -> None:
    entry = "[{id: EC2.18, reason: x, comment: x}]"
    assert len(suppressed(report(top=f"Metadata: {{cdk_nag: {{rules_to_suppress: {entry}}}}}"))) == 2
    for other in (f"{{checkov: {{skip: {entry}}}}}", f"{{cfn_nag: {{rules_to_suppress: {entry}}}}}"):
        found = report(top=f"Metadata: {other}")
        assert suppressed(found) == []
        assert len(found.suppressions) == 1


def test_a_resource_that_is_not_there_is_told() -> None:
    found = report(top="Metadata: {multiaz: {suppress: [{id: MAZ702, reason: x, resources: [Open, Nope]}]}}")
    assert suppressed(found) == [("MAZ702", "Open")]
    assert [f.message for f in found.open if f.rule == "MAZ903"] == ["there is no resource Nope"]
    found = report(top="Metadata: {multiaz: {suppress: [{id: MAZ702, reason: x, resources: [Nope]}]}}")
    assert [f.message for f in found.open if f.rule == "MAZ903"] == ["there is no resource Nope"]


def test_one_for_another_checker_without_a_reason_takes_nothing() -> None:
    found = report("{checkov: {skip: [{id: EC2.18}]}}")
    assert open_findings(found) == [("MAZ901", "Open"), ("MAZ702", "Open"), ("MAZ702", "AlsoOpen")]


@pytest.mark.parametrize(
    "metadata",
    ["{guard: {SuppressedRules: [INCOMING_SSH_DISABLED]}}", "{cfn-lint: {config: {ignore_checks: [E3002]}}}"],
)
def test_a_notation_without_reasons_is_listed_and_takes_nothing(metadata: str) -> None:
    found = report(metadata)
    assert len(found.suppressions) == 1
    assert open_findings(found) == [("MAZ702", "Open"), ("MAZ702", "AlsoOpen")]


def test_findings_of_cfn_lint_can_be_suppressed() -> None:
    text = OPEN.format(metadata="Metadata: {multiaz: {suppress: [{id: W3010, reason: known}]}}", top="")
    told = Finding("W3010", Severity.WARNING, "a zone", 6, 1, ("Resources", "Open", "Properties"))
    found = check(text, linter=lambda _: [told])
    assert ("W3010", "Open") in suppressed(found)
    idle = check(text, linter=lambda _: [])
    assert ("MAZ903", "Open") in open_findings(idle)
    not_asked = check(text)
    assert "MAZ903" not in {rule for rule, _ in open_findings(not_asked)}
