"""What is asked on the command line is checked before anything is touched."""

from __future__ import annotations

import pytest

from multiaz.blueprint import settings_from
from multiaz.blueprint.parameters import parameter_groups
from multiaz.blueprint.settings import Settings
from multiaz.cli.requests import (
    StackRequest,
    pairs,
    parameters_with_suffix,
    setting_name,
    split_passthrough,
    stack_name,
    wants_json,
)
from multiaz.cli.synthesising import check_request, stack_request
from multiaz.errors import BadInput


def request(
    *parameters: str, suffix: str | None = None, stack: str | None = None, settings: tuple[str, ...] = ()
) -> StackRequest:
    return stack_request(
        check_request(preset="test", stack=stack, suffix=suffix, parameters=parameters, settings=settings)
    )


def test_every_template_parameter_has_the_setting_its_rules_come_from() -> None:
    names = [name for _, group in parameter_groups(settings_from({})) for name in group]
    assert {setting_name(name) for name in names} <= set(Settings.model_fields)


def test_the_default_stack_is_the_dev_environment() -> None:
    asked = request()
    assert asked.name == "ecommerce-dev"
    assert asked.parameters == {"EnvironmentSuffix": "dev"}


def test_the_suffix_names_stack_and_environment() -> None:
    asked = request(suffix="two")
    assert asked.name == "ecommerce-two"
    assert asked.parameters["EnvironmentSuffix"] == "two"


def test_a_suffix_given_as_parameter_names_the_stack_too() -> None:
    assert request("EnvironmentSuffix=three").name == "ecommerce-three"


def test_environments_share_one_template() -> None:
    assert request(suffix="one").template == request(suffix="two").template


def test_settings_change_the_template() -> None:
    assert request(settings=("zones=2",)).template != request().template


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("Nope=1", "no parameter of this name"),
        ("DBName", "not of the form KEY=VALUE"),
        ("BackupRetentionDays=1", "backup_retention_days"),
        ("BackupRetentionDays=many", "backup_retention_days"),
        ("EngineVersion=17.99", "RDS does not offer this version"),
        ("DBInstanceClass=db.t1.huge", "not one of the 65 classes"),
        ("AllocatedStorage=95", "at least 10 % above"),
        ("ManagementCIDR=0.0.0.0/0", "open to the whole internet"),
        ("EnvironmentSuffix=Upper", "environment_suffix"),
    ],
)
def test_a_wrong_parameter_is_refused_by_the_rule_it_breaks(given: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        request(given)
    assert told in caught.value.as_text()


def test_the_deprecated_engine_version_of_the_seed_must_be_asked_for() -> None:
    with pytest.raises(BadInput, match="deprecated"):
        request("EngineVersion=16.6")
    asked = request("EngineVersion=16.6", settings=("allow_deprecated_engine_version=true",))
    assert asked.parameters["EngineVersion"] == "16.6"


def test_a_local_test_stack_has_a_standby_unless_told_otherwise() -> None:
    assert "MultiAZ: true" in request().template
    assert "MultiAZ: false" in request(settings=("multi_az=false",)).template


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="given twice"):
        pairs(["A=1", "A=2"], "--parameter", "KEY=VALUE")


def test_a_value_may_hold_an_equals_sign_and_may_be_empty() -> None:
    assert pairs(["A=b=c", "D="], "--parameter", "KEY=VALUE") == {"A": "b=c", "D": ""}


def test_two_different_suffixes_are_refused() -> None:
    with pytest.raises(BadInput):
        parameters_with_suffix({"EnvironmentSuffix": "a"}, "b")
    assert parameters_with_suffix({"EnvironmentSuffix": "a"}, "a") == {"EnvironmentSuffix": "a"}


@pytest.mark.parametrize("name", ["1shop", "shop_1", "-", "s" * 129])
def test_a_stack_name_cloudformation_would_refuse_is_refused_here(name: str) -> None:
    with pytest.raises(BadInput):
        stack_name(name, None)


def test_preset_is_no_setting_of_set() -> None:
    with pytest.raises(BadInput, match="option of its own"):
        request(settings=("preset=prod",))


def test_only_what_stands_before_the_dashes_is_ours() -> None:
    assert split_passthrough(["psql", "--", "-c", "--json"]) == (["psql"], ["-c", "--json"])
    assert split_passthrough(["psql"]) == (["psql"], None)
    assert split_passthrough(["psql", "--"]) == (["psql"], [])
    assert not wants_json(["psql", "--", "--json"])
    assert wants_json(["status", "--json"])
