"""What differs between two versions of a resource, and which differences each handler takes; all of it pure."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.stacks.parallel import perform_graph
from multiaz.cloud.stacks.plan import Action, Plan, Replacement, View, plan_update, view
from multiaz.cloud.stacks.resources import available_types, handler_for
from multiaz.cloud.stacks.resources.base import Call, changed_tags
from multiaz.cloud.stacks.schema import find_schema, pointer_names
from multiaz.cloud.stacks.template import ResourceDefinition, read_template
from multiaz.cloud.stacks.updates import Difference, difference, name_collision, not_updatable, plan_refusals

REGION = "us-east-1"
PSEUDO = {"AWS::Region": REGION, "AWS::StackName": "s", "AWS::StackId": "arn:s", "AWS::AccountId": "1"}
REFUSED: dict[str, set[str]] = {
    "AWS::Backup::BackupPlan": {"BackupPlanTags"},
    "AWS::Backup::BackupVault": {"BackupVaultTags"},
    "AWS::CloudFormation::CustomResource": {"ServiceToken"},
    "AWS::EC2::EIP": {"Domain"},
    "AWS::EC2::VPC": {"InstanceTenancy"},
    "AWS::EC2::VPCEndpoint": {"PrivateDnsEnabled"},
    "AWS::EC2::VPCGatewayAttachment": {"InternetGatewayId"},
    "AWS::Events::Rule": {"EventBusName"},
    "AWS::IAM::InstanceProfile": {"Roles"},
    "AWS::KMS::Key": {"KeySpec", "KeyUsage", "MultiRegion", "Origin"},
    "AWS::Logs::LogGroup": {"KmsKeyId", "LogGroupClass"},
    "AWS::RDS::DBInstance": {
        "DedicatedLogVolume",
        "Engine",
        "LicenseModel",
        "ManageMasterUserPassword",
        "NetworkType",
        "OptionGroupName",
        "PerformanceInsightsKMSKeyId",
        "Port",
        "RestoreTime",
        "SourceDBInstanceAutomatedBackupsArn",
        "SourceDBInstanceIdentifier",
        "SourceDbiResourceId",
        "UseLatestRestorableTime",
    },
    "AWS::S3::Bucket": {"ObjectLockEnabled"},
    "AWS::SSM::Parameter": {"Policies"},
    "AWS::SecretsManager::RotationSchedule": {"RotationLambdaARN"},
}
"""Properties that can be given but not changed in place: an update of them is refused by name."""


def seen(resources: dict[str, Any], parameters: dict[str, str] | None = None, **sections: Any) -> View:
    parameters = parameters or {}
    body = {"Parameters": {name: {"Type": "String"} for name in parameters}, "Resources": resources, **sections}
    return view(read_template(json.dumps(body)), parameters, PSEUDO, zones=lambda region: [], exports={})


def plan(old: View, new: View, *, tags_changed: bool = False) -> Plan:
    physical = {name: f"{name}-1" for name in old.resources}
    return plan_update(old, new, physical, lambda kind: find_schema(REGION, kind), tags_changed=tags_changed)


def topic(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SNS::Topic", "Properties": properties}


@pytest.mark.parametrize("kind", available_types())
def test_every_property_is_changed_in_place_replaces_or_is_refused_by_name(kind: str) -> None:
    handler, schema = handler_for(kind), find_schema(REGION, kind) or {}
    assert handler is not None
    fixed = pointer_names(schema, "createOnlyProperties")
    assert handler.updatable <= handler.properties
    assert not handler.updatable & (fixed | handler.replacing)
    assert handler.replacing <= handler.properties
    assert handler.named_by is None or handler.named_by in handler.properties
    left = handler.properties - handler.updatable - handler.replacing - (fixed - handler.fixed)
    assert left == REFUSED.get(kind, set())


@pytest.mark.parametrize("kind", available_types())
def test_a_handler_that_changes_something_says_how(kind: str) -> None:
    handler = handler_for(kind)
    assert handler is not None
    assert bool(handler.updatable) == any("update" in vars(base) for base in type(handler).__mro__[:-2])


def test_values_that_differ_only_in_their_notation_are_the_same() -> None:
    found = difference(
        REGION,
        "AWS::RDS::DBInstance",
        {"AllocatedStorage": "20", "MultiAZ": "true", "BackupRetentionPeriod": 7},
        {"AllocatedStorage": 20, "MultiAZ": True, "BackupRetentionPeriod": "7"},
        tags=False,
    )
    assert found == Difference(frozenset(), False)


@pytest.mark.parametrize(
    ("kind", "before", "after", "expected"),
    [
        ("AWS::SNS::Topic", {"DisplayName": "a"}, {}, Difference(frozenset({"DisplayName"}), False)),
        ("AWS::SNS::Topic", {"TopicName": "a"}, {"TopicName": "b"}, Difference(frozenset({"TopicName"}), True)),
        (
            "AWS::RDS::DBInstance",
            {"AvailabilityZone": "us-east-1a"},
            {"AvailabilityZone": "us-east-1b"},
            Difference(frozenset({"AvailabilityZone"}), True),
        ),
        ("AWS::RDS::DBInstance", {"MultiAZ": True}, {"MultiAZ": False}, Difference(frozenset({"MultiAZ"}), False)),
        ("Custom::EmptyBucket", {"BucketName": "a"}, {"BucketName": "b"}, Difference(frozenset({"BucketName"}), True)),
        (
            "Custom::EmptyBucket",
            {"ServiceToken": "a"},
            {"ServiceToken": "b"},
            Difference(frozenset({"ServiceToken"}), False),
        ),
    ],
)
def test_what_replaces_is_known(kind: str, before: dict[str, Any], after: dict[str, Any], expected: Difference) -> None:
    assert difference(REGION, kind, before, after, tags=False) == expected


def test_stack_tags_concern_what_has_tags_here() -> None:
    assert difference(REGION, "AWS::SNS::Topic", {}, {}, tags=True).changed == {"Tags"}
    assert difference(REGION, "AWS::CloudWatch::Dashboard", {}, {}, tags=True).changed == frozenset()
    assert difference(REGION, "AWS::KMS::Alias", {}, {}, tags=True).changed == frozenset()


def test_a_service_token_cannot_change() -> None:
    definition = ResourceDefinition("Custom", "Custom::EmptyBucket")
    problem = not_updatable(definition, Difference(frozenset({"ServiceToken"}), False))
    assert problem == "Modifying service token is not allowed."


def test_a_name_of_its_own_collides_and_a_name_that_changes_does_not() -> None:
    definition = ResourceDefinition("Group", "AWS::EC2::SecurityGroup")
    assert name_collision(definition, {"GroupName": "a"}, {"GroupName": "a"}) == (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename a and update the "
        "stack again."
    )
    assert name_collision(definition, {"GroupName": "a"}, {"GroupName": "b"}) is None
    assert name_collision(definition, {}, {}) is None
    assert name_collision(definition, {"GroupName": "a"}, {}) is None


def test_what_a_plan_cannot_do_is_known_before_anything_is_touched() -> None:
    old = seen({"Key": {"Type": "AWS::KMS::Key", "Properties": {"MultiRegion": False}}, "Topic": topic()})
    new = seen({"Key": {"Type": "AWS::KMS::Key", "Properties": {"MultiRegion": True}}, "Topic": topic(DisplayName="b")})
    assert plan_refusals(REGION, plan(old, new)) == [
        "Key: updating property MultiRegion of AWS::KMS::Key is not available in this local cloud"
    ]


def test_what_cannot_change_in_place_may_change_with_a_replacement() -> None:
    def group(**properties: Any) -> dict[str, Any]:
        return {"Type": "AWS::Logs::LogGroup", "Properties": properties}

    old = seen({"Logs": group(LogGroupName="a", KmsKeyId="k")})
    assert plan_refusals(REGION, plan(old, seen({"Logs": group(LogGroupName="b", KmsKeyId="l")}))) == []
    assert plan_refusals(REGION, plan(old, seen({"Logs": group(LogGroupName="a", KmsKeyId="l")}))) != []


def test_an_attribute_of_what_is_modified_may_change_and_a_reference_does_not() -> None:
    resources = {
        "Role": topic(DisplayName="a"),
        "ByAttribute": topic(DisplayName={"Fn::GetAtt": ["Role", "TopicName"]}),
        "ByRef": topic(DisplayName={"Ref": "Role"}),
    }
    old, new = seen(resources), seen({**resources, "Role": topic(DisplayName="b")})
    steps = {step.logical_id: step for step in plan(old, new).steps}
    assert steps.keys() == {"Role", "ByAttribute"}
    (detail,) = steps["ByAttribute"].details
    assert (detail.evaluation, detail.source, detail.causing) == ("Dynamic", "ResourceAttribute", "Role.TopicName")


def test_a_reference_to_what_exists_is_static_and_to_what_is_added_dynamic() -> None:
    old = seen({"A": topic(), "B": topic(), "User": topic(DisplayName={"Ref": "A"})})
    exists = seen({"A": topic(), "B": topic(), "User": topic(DisplayName={"Ref": "B"})})
    added = seen({"A": topic(), "B": topic(), "C": topic(), "User": topic(DisplayName={"Ref": "C"})})
    for new, evaluation in ((exists, "Static"), (added, "Dynamic")):
        (step,) = [step for step in plan(old, new).steps if step.action is Action.MODIFY]
        (detail,) = step.details
        assert (detail.evaluation, detail.source) == (evaluation, "DirectModification")


def test_a_create_only_property_that_names_something_new_may_replace() -> None:
    def subnet(name: str) -> dict[str, Any]:
        return {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": name}, "CidrBlock": "10.0.0.0/24"}}

    vpc = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}
    old, new = seen({"A": vpc, "Subnet": subnet("A")}), seen({"A": vpc, "B": vpc, "Subnet": subnet("B")})
    (step,) = [step for step in plan(old, new).steps if step.action is Action.MODIFY]
    assert step.replacement is Replacement.CONDITIONAL


def test_a_condition_that_turns_is_a_direct_modification() -> None:
    resources = {"Topic": topic(DisplayName={"Fn::If": ["Big", "a", "b"]})}

    def with_size(text: str) -> View:
        return seen(resources, Conditions={"Big": {"Fn::Equals": [text, "big"]}})

    (step,) = plan(with_size("big"), with_size("small")).steps
    (detail,) = step.details
    assert (detail.source, detail.causing) == ("DirectModification", None)


def call(tags: dict[str, str], stack_tags: dict[str, str]) -> Call:
    properties = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    fixed: dict[str, Any] = {"clients": None, "region": REGION, "account_id": "1", "stack_id": "arn:s"}
    return Call(
        **fixed,
        stack_name="s",
        logical_id="L",
        resource_type="T",
        token="t",
        properties=properties,
        stack_tags=stack_tags,
    )


TAGS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"))


@given(TAGS, TAGS, TAGS, TAGS)
def test_setting_and_removing_tags_gives_those_of_the_new_side(
    own: dict[str, str], stack: dict[str, str], new_own: dict[str, str], new_stack: dict[str, str]
) -> None:
    old, new = call(own, stack), call(new_own, new_stack)
    there = old.tag_map()
    tags, removed = changed_tags(old, new)
    assert not any(key.startswith("aws:") for key in (*tags, *removed))
    result = {key: value for key, value in {**there, **tags}.items() if key not in removed}
    assert result == new.tag_map()


def test_work_goes_along_the_graph_and_stops_behind_what_did_not_succeed() -> None:
    graph = {"a": frozenset[str](), "b": frozenset({"a"}), "c": frozenset({"b"}), "d": frozenset({"a"})}
    done: list[str] = []
    errors: list[tuple[str, str]] = []
    guard = threading.Lock()

    def work(name: str) -> bool:
        if name == "d":
            raise ValueError("unforeseen")
        with guard:
            done.append(name)
        return name != "b"

    perform_graph(graph, work, may_begin=lambda: True, on_error=lambda name, error: errors.append((name, str(error))))
    assert done == ["a", "b"]
    assert errors == [("d", "unforeseen")]


def test_nothing_begins_once_it_may_not() -> None:
    done: list[str] = []

    def work(name: str) -> bool:
        done.append(name)
        return True

    graph = {"a": frozenset[str](), "b": frozenset({"a"})}
    perform_graph(graph, work, may_begin=lambda: not done, on_error=lambda name, error: None)
    assert done == ["a"]
