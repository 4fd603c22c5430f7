from __future__ import annotations

import json
from typing import Any

import pytest

from multiaz.cloud.stacks.capabilities import missing_capabilities, required_capabilities
from multiaz.cloud.stacks.check import check_references
from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.template import read_template

VPC = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}


def text(**sections: Any) -> str:
    return json.dumps({"Resources": {"Vpc": VPC}, **sections})


def test_text_is_kept_byte_for_byte() -> None:
    original = "# comment\nResources:\n  Vpc: {Type: AWS::EC2::VPC}   \n"
    assert read_template(original).text == original


@pytest.mark.parametrize(
    ("kind", "policy"), [("AWS::RDS::DBInstance", "Snapshot"), ("AWS::EC2::VPC", "Delete"), ("AWS::KMS::Key", "Delete")]
)
def test_databases_leave_a_snapshot_unless_the_template_says_otherwise(kind: str, policy: str) -> None:
    template = read_template(json.dumps({"Resources": {"X": {"Type": kind}}}))
    assert template.resources["X"].deletion_policy == policy


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"Resources": {}}, "At least one Resources member must be defined"),
        ({"Foo": 1}, "Invalid template property or properties [Foo]"),
        ({"AWSTemplateFormatVersion": "2011-01-01"}, "unsupported AWSTemplateFormatVersion"),
        ({"Description": ["x"]}, "Description must be a string"),
        ({"Description": "x" * 1025}, "Description length"),
        ({"Resources": {"V-1": VPC}}, "Resources name V-1 is non alphanumeric"),
        ({"Resources": {"V": {"Properties": {}}}}, "must contain a Type member"),
        ({"Resources": {"V": {**VPC, "Foo": 1}}}, "Invalid template resource property 'Foo'"),
        ({"Resources": {"V": {**VPC, "DeletionPolicy": "Keep"}}}, "Unrecognized DeletionPolicy Keep"),
        ({"Resources": {"V": {**VPC, "DeletionPolicy": {"Ref": "X"}}}}, "Every DeletionPolicy member must be a string"),
        ({"Resources": {"V": {**VPC, "CreationPolicy": {"ResourceSignal": {}}}}}, "CreationPolicy of resource V"),
        ({"Resources": {"V": {**VPC, "Properties": []}}}, "[/Resources/V/Properties] must be an object"),
        ({"Resources": {f"V{n}": VPC for n in range(501)}}, "Number of resources, 501, is greater than maximum"),
        ({"Parameters": {"P": {"Type": "Number", "MinValue": "inf"}}}, "MinValue must be a finite number"),
        ({"Parameters": {"P": {"Type": "Number", "MaxLength": "nan"}}}, "MaxLength must be a finite number"),
        ({"Parameters": {"P": {}}}, "Every Parameters object must contain a Type member"),
        ({"Parameters": {"P": {"Type": "String", "Foo": 1}}}, "Invalid template parameter property 'Foo'"),
        ({"Parameters": {"P": {"Type": "String", "AllowedPattern": "("}}}, "AllowedPattern"),
        ({"Parameters": {"P": {"Type": "String", "MinLength": "x"}}}, "MinLength must be a number"),
        ({"Parameters": {"P": {"Type": "String", "MinLength": 1.5}}}, "MinLength must be an integer"),
        ({"Parameters": {"Vpc": {"Type": "String"}}}, "Resource name Vpc is already used as a parameter name"),
        ({"Mappings": {"M": {"a": "b"}}}, "Every Mappings attribute must be a map"),
        ({"Mappings": {"M": {"a": {"b": {"c": 1}}}}}, "must be a String or a List"),
        ({"Outputs": {"O": {}}}, "must contain a Value object"),
        ({"Outputs": {"O": {"Value": "x", "Export": {}}}}, "Output O is malformed"),
        ({"Transform": "AWS::Serverless-2016-10-31"}, "the transform AWS::Serverless-2016-10-31 is not available"),
        ({"Transform": ["AWS::LanguageExtensions"]}, "the transform AWS::LanguageExtensions is not available"),
        ({"Rules": {"R": {}}}, "Rules are not available"),
    ],
)
def test_malformed_sections_are_refused_by_name(sections: dict[str, Any], part: str) -> None:
    with pytest.raises(TemplateError) as error:
        read_template(text(**sections))
    assert part in error.value.message


def references(**sections: Any) -> None:
    check_references(read_template(text(**sections)), lambda kind, name: name == "Arn")


def resource(node: Any, **more: Any) -> dict[str, Any]:
    return {"Resources": {"Vpc": VPC, "X": {"Type": "AWS::EC2::VPC", "Properties": {"P": node}, **more}}}


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        (resource({"Ref": "No"}), "Unresolved resource dependencies [No] in the Resources block of the template"),
        (resource({"Fn::Sub": "${No}"}), "Unresolved resource dependencies [No] in the Resources block"),
        (resource({"Fn::Sub": "${No.Arn}"}), "Unresolved resource dependencies [No.Arn]"),
        (resource({"Fn::GetAtt": ["No", "Arn"]}), "Fn::GetAtt references undefined resource No"),
        (resource({"Fn::GetAtt": ["Vpc", "Foo"]}), "resource Vpc does not support attribute type Foo in Fn::GetAtt"),
        (resource({"Fn::Sub": "${Vpc.Foo}"}), "resource Vpc does not support attribute type Foo in Fn::GetAtt"),
        (resource({"Fn::If": ["No", 1, 2]}), "Unresolved condition dependency No"),
        (resource({"Fn::FindInMap": ["No", "a", "b"]}), "Mapping named 'No' is not present"),
        (resource({"Fn::Foo": 1}), "Encountered unsupported function: Fn::Foo"),
        (resource(1, DependsOn="No"), "Unresolved resource dependencies [No]"),
        (resource(1, DependsOn="X"), "Circular dependency between resources: [X]"),
        (resource(1, Condition="No"), "Unresolved condition dependency No"),
        ({"Outputs": {"O": {"Value": {"Ref": "No"}}}}, "[No] in the Outputs block of the template"),
        (
            {"Outputs": {"O": {"Value": "x", "Export": {"Name": {"Ref": "Vpc"}}}}},
            "must not depend on any resources",
        ),
        ({"Conditions": {"C": {"Fn::Equals": [{"Ref": "Vpc"}, 1]}}}, "[Vpc] in the Conditions block"),
        ({"Conditions": {"C": {"Condition": "D"}}}, "Unresolved condition dependency D"),
        ({"Conditions": {"C": "x"}}, "Conditions can only be boolean operations"),
    ],
)
def test_references_that_lead_nowhere_are_refused(sections: dict[str, Any], part: str) -> None:
    with pytest.raises(TemplateError) as error:
        references(**sections)
    assert part in error.value.message


def test_references_in_a_branch_that_is_not_taken_are_checked_too() -> None:
    with pytest.raises(TemplateError, match="No"):
        references(
            Conditions={"Never": {"Fn::Equals": ["a", "b"]}}, **resource({"Fn::If": ["Never", {"Ref": "No"}, "x"]})
        )


ROLE = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}
NAMED = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}, "RoleName": "x"}}


@pytest.mark.parametrize(
    ("sections", "given", "missing"),
    [
        ({}, [], []),
        ({"Resources": {"R": ROLE}}, [], ["CAPABILITY_IAM"]),
        ({"Resources": {"R": ROLE}}, ["CAPABILITY_IAM"], []),
        ({"Resources": {"R": ROLE}}, ["CAPABILITY_NAMED_IAM"], []),
        ({"Resources": {"R": NAMED}}, ["CAPABILITY_IAM"], ["CAPABILITY_NAMED_IAM"]),
        ({"Transform": "AWS::SecretsManager-2024-09-16"}, ["CAPABILITY_IAM"], ["CAPABILITY_AUTO_EXPAND"]),
        (
            {"Transform": "AWS::SecretsManager-2024-09-16"},
            ["CAPABILITY_AUTO_EXPAND"],
            ["CAPABILITY_IAM"],
        ),
    ],
)
def test_capabilities_are_demanded_where_due(sections: dict[str, Any], given: list[str], missing: list[str]) -> None:
    assert missing_capabilities(read_template(text(**sections)), given) == missing


def test_reason_names_the_resource_types() -> None:
    assert required_capabilities(read_template(text(Resources={"R": ROLE, "V": VPC})))[1] == ["AWS::IAM::Role"]
