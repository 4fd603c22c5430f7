"""cfn-lint has nothing to say of either preset, and broken input is a finding, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import cfnlint
import pytest

from multiaz.blueprint import settings_from, to_json, to_yaml
from multiaz.blueprint.engines import CURRENT_ENGINE_VERSIONS, DEPRECATED_ENGINE_VERSIONS
from multiaz.rules import lint

SCHEMAS = Path(cfnlint.__file__).parent / "data/schemas/extensions/aws_rds_dbinstance"


@pytest.mark.parametrize("preset", ["prod", "test"])
def test_cfn_lint_is_silent(preset: str) -> None:
    found = lint(to_yaml(settings_from({"preset": preset})), regions=("us-east-1", "eu-central-1"))
    assert [finding.as_text() for finding in found] == []


@pytest.mark.long
def test_json_is_clean_too() -> None:
    assert lint(to_json(settings_from({}))) == []


def test_the_seeds_engine_version_is_at_most_a_warning() -> None:
    found = lint(to_yaml(settings_from({"engine_version": "16.6", "allow_deprecated_engine_version": True})))
    assert {finding.severity for finding in found} <= {"warning"}


@pytest.mark.parametrize(
    "text",
    ["", "   ", "Resources: [", "a: b: c", "42", "- 1", "{", "\t", "Resources: {A: {Type: AWS::No::Such}}", "\0"],
    ids=repr,
)
def test_broken_input_is_a_finding(text: str) -> None:
    found = lint(text)
    assert found
    assert found[0].severity == "error"
    assert found[0].message
    assert found[0].line >= 1


def test_a_finding_says_where() -> None:
    (finding,) = lint("Resources:\n  A:\n    Type: AWS::SNS::Topic\n    Properties: {Nope: 1}\n")
    assert (finding.rule, finding.severity, finding.place) == ("E3002", "error", "Resources/A/Properties/Nope")
    assert finding.as_text().startswith("4:18: error E3002: ")


def test_versions_are_those_cfn_lint_knows() -> None:
    known = json.loads((SCHEMAS / "engine_version.json").read_text())["allOf"]
    deprecated = json.loads((SCHEMAS / "engine_version_deprecated.json").read_text())["allOf"]
    offered = next(
        set(rule["then"]["properties"]["EngineVersion"]["enum"])
        for rule in known
        if rule["if"]["properties"]["Engine"].get("const") == "postgres"
    )
    old = next(
        set(rule["if"]["properties"]["EngineVersion"]["enum"])
        for rule in deprecated
        if rule["if"]["properties"]["Engine"].get("const") == "postgres"
    )
    assert set(CURRENT_ENGINE_VERSIONS) | set(DEPRECATED_ENGINE_VERSIONS) <= offered
    assert set(CURRENT_ENGINE_VERSIONS) & old == set()
    assert set(DEPRECATED_ENGINE_VERSIONS) == {v for v in old if v.startswith(("16.", "17.", "18."))}
