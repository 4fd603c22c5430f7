"""Whatever valid settings a person chooses: cfn-lint is silent, and CloudFormation's limits hold."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from chosen_settings import SETTINGS, values
from multiaz.blueprint import Settings, settings_from, synthesize
from multiaz.rules import lint

RESOURCES, PARAMETERS, OUTPUTS, BYTES = 500, 200, 200, 1_048_576
"""Source: AWS CloudFormation user guide, Quotas."""
DESCRIPTION = 1024
"""Longest description of a template, in bytes. Source: the same."""


def check(chosen: dict[str, object]) -> None:
    s = settings_from(chosen)
    blueprint = synthesize(s)
    document, text = blueprint.to_dict(), blueprint.to_yaml()
    assert len(document["Resources"]) <= RESOURCES
    assert len(document["Parameters"]) <= PARAMETERS
    assert len(document["Outputs"]) <= OUTPUTS
    assert len(text.encode()) <= BYTES
    assert len(document["Description"]) <= DESCRIPTION
    assert [found.as_text() for found in lint(text, regions=(s.region or "us-east-1",))] == []


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(values())
def test_cfn_lint_is_silent_and_limits_hold_for_any_settings(chosen: dict[str, object]) -> None:
    check(chosen)


@pytest.mark.long
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(values())
def test_cfn_lint_is_silent_and_limits_hold_for_two_hundred_settings(chosen: dict[str, object]) -> None:
    check(chosen)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(values())
def test_any_settings_give_the_same_text_twice(chosen: dict[str, object]) -> None:
    assert synthesize(settings_from(chosen)).to_yaml() == synthesize(settings_from(dict(chosen))).to_yaml()


def test_the_strategy_chooses_every_setting() -> None:
    """But those that name others: capacity fills sizes, the flag admits old versions."""
    apart = {"orders_per_day", "reads_per_write", "peak_factor", "allow_deprecated_engine_version"}
    assert set(Settings.model_fields) - apart == SETTINGS
