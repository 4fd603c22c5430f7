"""Creation, rollback, deletion, events: the engine on resources moto keeps."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from stacks_world import World, refused

from multiaz.cloud.stacks.state import Journal

NETWORK: dict[str, Any] = {
    "Description": "a small network",
    "Parameters": {
        "Suffix": {"Type": "String", "Default": "dev"},
        "Secret": {"Type": "String", "NoEcho": True, "Default": "do-not-show-me"},
    },
    "Conditions": {"Big": {"Fn::Equals": [{"Ref": "Suffix"}, "prod"]}},
    "Resources": {
        "Vpc": {
            "Type": "AWS::EC2::VPC",
            "Metadata": {"why": "test"},
            "Properties": {
                "CidrBlock": "10.0.0.0/16",
                "EnableDnsHostnames": True,
                "Tags": [{"Key": "Name", "Value": {"Fn::Sub": "vpc-${Suffix}"}}],
            },
        },
        "SubnetA": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "CidrBlock": {"Fn::Select": [0, {"Fn::Cidr": [{"Fn::GetAtt": ["Vpc", "CidrBlock"]}, 2, 8]}]},
                "AvailabilityZone": {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
            },
        },
        "Group": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "GroupDescription": "database",
                "VpcId": {"Ref": "Vpc"},
                "SecurityGroupIngress": [
                    {
                        "IpProtocol": "tcp",
                        "FromPort": 5432,
                        "ToPort": "5432",
                        "CidrIp": "10.0.1.0/24",
                        "Description": "app",
                    }
                ],
                "SecurityGroupEgress": [
                    {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/16", "Description": "api"}
                ],
            },
        },
        "Topic": {"Type": "AWS::SNS::Topic", "Condition": "Big"},
    },
    "Outputs": {
        "VpcId": {
            "Value": {"Ref": "Vpc"},
            "Description": "the network",
            "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-vpc"}},
        },
        "Zone": {"Value": {"Fn::GetAtt": ["SubnetA", "AvailabilityZone"]}},
        "Never": {"Value": "x", "Condition": "Big"},
    },
}


def test_a_stack_comes_up_with_outputs_exports_and_events_in_order(world: World) -> None:
    stack = world.made(NETWORK, Tags=[{"Key": "team", "Value": "shop"}], ClientRequestToken="first-try")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert stack["Description"] == "a small network"
    outputs = world.outputs(stack)
    assert outputs.keys() == {"VpcId", "Zone"}
    assert outputs["Zone"] == "us-east-1a"
    export = {item["Name"]: item["Value"] for item in world.cfn.list_exports()["Exports"]}
    assert export[f"{stack['StackName']}-vpc"] == outputs["VpcId"]
    shown = {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}
    assert shown == {"Suffix": "dev", "Secret": "****"}

    events = world.events(stack["StackId"])
    assert events[0] == (stack["StackName"], "CREATE_IN_PROGRESS", "User Initiated")
    assert events[-1] == (stack["StackName"], "CREATE_COMPLETE", "")
    assert [event[1:] for event in events if event[0] == "Vpc"] == [
        ("CREATE_IN_PROGRESS", ""),
        ("CREATE_IN_PROGRESS", "Resource creation Initiated"),
        ("CREATE_COMPLETE", ""),
    ]
    order = [event[0] for event in events if event[1] == "CREATE_COMPLETE"]
    assert order.index("Vpc") < order.index("SubnetA")
    raw = world.cfn.describe_stack_events(StackName=stack["StackName"])["StackEvents"]
    assert {event["ClientRequestToken"] for event in raw} == {"first-try"}

    vpc = world.client("ec2").describe_vpcs(VpcIds=[outputs["VpcId"]])["Vpcs"][0]
    assert {tag["Key"]: tag["Value"] for tag in vpc["Tags"]} == {
        "Name": "vpc-dev",
        "team": "shop",
        "aws:cloudformation:stack-name": stack["StackName"],
        "aws:cloudformation:stack-id": stack["StackId"],
        "aws:cloudformation:logical-id": "Vpc",
    }
    group = world.client("ec2").describe_security_groups(
        GroupIds=[world.resources(stack["StackId"])["Group"]["PhysicalResourceId"]]
    )["SecurityGroups"][0]
    assert [(rule["FromPort"], rule["IpRanges"]) for rule in group["IpPermissionsEgress"]] == [
        (443, [{"CidrIp": "10.0.0.0/16", "Description": "api"}])
    ]
    detail = world.cfn.describe_stack_resource(StackName=stack["StackName"], LogicalResourceId="Vpc")
    assert json.loads(detail["StackResourceDetail"]["Metadata"]) == {"why": "test"}
    world.deleted(stack["StackId"])


def test_boto3s_waiters_work_and_a_deleted_stack_is_known_by_its_id_only(world: World) -> None:
    name = world.name()
    stack_id = world.create(NETWORK, name)
    settings = {"Delay": 1, "MaxAttempts": 30}
    world.cfn.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=settings)
    world.cfn.delete_stack(StackName=name)
    world.cfn.get_waiter("stack_delete_complete").wait(StackName=stack_id, WaiterConfig=settings)
    assert refused(world.cfn.describe_stacks, StackName=name) == (
        "ValidationError",
        f"Stack with id {name} does not exist",
    )
    gone = world.cfn.describe_stacks(StackName=stack_id)["Stacks"][0]
    assert gone["StackStatus"] == "DELETE_COMPLETE"
    assert isinstance(gone["DeletionTime"], datetime)
    assert {entry["ResourceStatus"] for entry in world.resources(stack_id).values()} == {"DELETE_COMPLETE"}
    assert stack_id in {entry["StackId"] for entry in world.cfn.list_stacks()["StackSummaries"]}
    live = world.cfn.list_stacks(StackStatusFilter=["CREATE_COMPLETE"])["StackSummaries"]
    assert stack_id not in {entry["StackId"] for entry in live}
    world.cfn.delete_stack(StackName=name)  # what is not there is deleted already


def test_what_needs_a_resource_is_deleted_before_it(world: World) -> None:
    stack = world.made(NETWORK)
    world.deleted(stack["StackId"])
    order = [event[0] for event in world.events(stack["StackId"]) if event[1] == "DELETE_COMPLETE"]
    assert order.index("SubnetA") < order.index("Vpc")
    assert order[-1] == stack["StackName"]
    filters = [{"Name": "tag:aws:cloudformation:stack-id", "Values": [stack["StackId"]]}]
    assert world.client("ec2").describe_vpcs(Filters=filters)["Vpcs"] == []


FAILING: dict[str, Any] = {
    "Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Subnet": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.1.0/24"},
        },
        "Wrong": {
            "Type": "AWS::EC2::Subnet",
            "DependsOn": "Subnet",
            "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "192.168.0.0/24"},
        },
        "After": {"Type": "AWS::SNS::Topic", "DependsOn": "Wrong"},
    }
}


def test_a_failed_creation_rolls_back_in_reverse_order(world: World) -> None:
    stack = world.made(FAILING)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    events = world.events(stack["StackId"])
    failure = next(event for event in events if event[1] == "CREATE_FAILED")
    assert failure[0] == "Wrong"
    assert 'Resource handler returned message: "The CIDR' in failure[2]
    assert "HandlerErrorCode: InvalidRequest" in failure[2]
    name = stack["StackName"]
    assert (
        name,
        "ROLLBACK_IN_PROGRESS",
        "The following resource(s) failed to create: [Wrong]. Rollback requested by user.",
    ) in events
    order = [event[0] for event in events if event[1] == "DELETE_COMPLETE"]
    assert order.index("Subnet") < order.index("Vpc")
    assert "After" not in {event[0] for event in events}
    assert events[-1][:2] == (name, "ROLLBACK_COMPLETE")
    assert refused(world.create, template=FAILING, name=name) == (
        "AlreadyExistsException",
        f"Stack [{name}] already exists",
    )
    assert world.deleted(name)["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"OnFailure": "DO_NOTHING"}, "CREATE_FAILED"),
        ({"DisableRollback": True}, "CREATE_FAILED"),
        ({"OnFailure": "DELETE"}, "DELETE_COMPLETE"),
        ({"OnFailure": "ROLLBACK"}, "ROLLBACK_COMPLETE"),
    ],
)
def test_on_failure_says_what_becomes_of_a_failed_creation(world: World, arguments: Any, status: str) -> None:
    stack = world.made(FAILING, **arguments)
    assert stack["StackStatus"] == status
    kept = world.resources(stack["StackId"])["Vpc"]["ResourceStatus"]
    assert kept == ("CREATE_COMPLETE" if status == "CREATE_FAILED" else "DELETE_COMPLETE")
    if status == "CREATE_FAILED":
        assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def test_properties_that_cannot_be_carried_out_fail_before_anything_is_made(world: World) -> None:
    template = {
        "Resources": {
            "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"Versioning": True}},
        }
    }
    stack = world.made(template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    events = world.events(stack["StackId"])
    (reason,) = [event[2] for event in events if event[1] == "CREATE_FAILED"]
    assert reason == (
        "Properties validation failed for resource Bucket with message:\n"
        "#: extraneous key [Versioning] is not permitted"
    )
    assert "Vpc" not in {event[0] for event in events}


def exporting(*names: Any) -> dict[str, Any]:
    outputs = {f"O{number}": {"Value": "x", "Export": {"Name": name}} for number, name in enumerate(names)}
    return {"Resources": {"T": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}


@pytest.mark.parametrize(
    ("template", "arguments", "code", "message"),
    [
        (
            {"Resources": {"X": {"Type": "AWS::EC2::Foo"}}},
            {},
            "ValidationError",
            "Template format error: Unrecognized resource types: [AWS::EC2::Foo]",
        ),
        (
            {"Resources": {"X": {"Type": "AWS::DynamoDB::Table"}}},
            {},
            "ValidationError",
            "Resource types not available in this local cloud: [AWS::DynamoDB::Table (X)]",
        ),
        (
            NETWORK,
            {"Parameters": [{"ParameterKey": "Nope", "ParameterValue": "1"}]},
            "ValidationError",
            "Parameters: [Nope] do not exist in the template",
        ),
        (
            {"Resources": {"R": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}}},
            {},
            "InsufficientCapabilitiesException",
            "Requires capabilities : [CAPABILITY_IAM]",
        ),
        (
            {
                "Resources": {
                    "A": {"Type": "AWS::SNS::Topic", "DependsOn": "B"},
                    "B": {"Type": "AWS::SNS::Topic", "DependsOn": "A"},
                }
            },
            {},
            "ValidationError",
            "Circular dependency between resources: [A, B]",
        ),
        (
            NETWORK,
            {"RoleARN": "arn:aws:iam::123456789012:role/deployer"},
            "ValidationError",
            "The parameter RoleARN is not available in this local cloud.",
        ),
        (
            NETWORK,
            {"OnFailure": "DELETE", "DisableRollback": True},
            "ValidationError",
            "Only one of DisableRollback or OnFailure can be specified, not both.",
        ),
        (
            NETWORK,
            {"Tags": [{"Key": "aws:x", "Value": "y"}]},
            "ValidationError",
            "aws: prefixed tag key names are not allowed for external use.",
        ),
        ("{", {}, "ValidationError", "Template format error: JSON not well-formed. (line 1, column 2)"),
        (
            exporting("twice", "twice"),
            {},
            "ValidationError",
            "Template format error: Export names must be unique, twice is used more than once.",
        ),
        (
            exporting(["a", "list"]),
            {},
            "ValidationError",
            "Template format error: Output O0 is malformed. The Name field of Export must evaluate to a String of 1 to "
            "255 characters.",
        ),
    ],
)
def test_bad_requests_are_refused_as_aws_words_it_and_leave_no_stack(
    world: World, template: Any, arguments: dict[str, Any], code: str, message: str
) -> None:
    name = world.name()
    assert refused(world.create, template=template, name=name, **arguments) == (code, message)
    assert refused(world.cfn.describe_stacks, StackName=name)[0] == "ValidationError"


def test_parameters_of_aws_types_name_what_exists(world: World) -> None:
    template = {
        "Parameters": {"Zone": {"Type": "AWS::EC2::AvailabilityZone::Name"}, "Net": {"Type": "AWS::EC2::VPC::Id"}},
        "Resources": {"T": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "Zone"}}}},
    }
    vpc = world.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

    def given(zone: str, net: str) -> list[dict[str, str]]:
        return [{"ParameterKey": "Zone", "ParameterValue": zone}, {"ParameterKey": "Net", "ParameterValue": net}]

    stack = world.made(template, Parameters=given("us-east-1a", vpc))
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    world.deleted(stack["StackId"])
    for zone, net, wrong in (
        ("us-east-1z", vpc, "us-east-1z for parameter name Zone"),
        ("us-east-1a", "vpc-1", "vpc-1"),
    ):
        _, message = refused(world.create, template=template, Parameters=given(zone, net))
        assert "Parameter validation failed: parameter value" in message
        assert wrong in message


def test_names_that_aws_refuses_are_refused(world: World) -> None:
    code, message = refused(world.create, template=NETWORK, name="1st")
    assert (code, "[a-zA-Z][-a-zA-Z0-9]*" in message) == ("ValidationError", True)


def test_the_same_request_token_gives_the_same_stack(world: World) -> None:
    name = world.name()
    first = world.create(NETWORK, name, ClientRequestToken="token-1")
    assert world.create(NETWORK, name, ClientRequestToken="token-1") == first
    assert (
        refused(world.create, template=NETWORK, name=name, ClientRequestToken="token-2")[0] == "AlreadyExistsException"
    )
    world.settle(first)
    world.deleted(first)


def test_a_template_larger_than_the_inline_limit_comes_from_s3(world: World) -> None:
    text = json.dumps({**NETWORK, "Metadata": {"filler": "x" * 60_000}})
    assert "51200" in refused(world.create, template=text)[1]
    s3 = world.client("s3")
    s3.create_bucket(Bucket="templates")
    s3.put_object(Bucket="templates", Key="a/t.json", Body=text.encode())
    name = world.name()
    url = "https://templates.s3.amazonaws.com/a/t.json"
    stack_id = world.cfn.create_stack(StackName=name, TemplateURL=url)["StackId"]
    assert world.settle(stack_id)["StackStatus"] == "CREATE_COMPLETE"
    assert json.loads(json.dumps(world.cfn.get_template(StackName=name)["TemplateBody"])) == json.loads(text)
    world.deleted(stack_id)
    missing = refused(world.cfn.create_stack, StackName=name, TemplateURL=url + ".no")
    assert missing[0] == "ValidationError"


def test_the_template_comes_back_exactly_as_it_was_sent(world: World) -> None:
    text = "# a comment\nResources:\n  Topic:   {Type: 'AWS::SNS::Topic'}\n\n"
    stack = world.made(text)
    assert world.cfn.get_template(StackName=stack["StackId"])["TemplateBody"] == text
    world.deleted(stack["StackId"])


def test_termination_protection_refuses_deletion_until_it_is_off(world: World) -> None:
    stack = world.made(NETWORK, EnableTerminationProtection=True)
    name = stack["StackName"]
    assert refused(world.cfn.delete_stack, StackName=name) == (
        "ValidationError",
        f"Stack [{name}] cannot be deleted while TerminationProtection is enabled",
    )
    world.cfn.update_termination_protection(StackName=name, EnableTerminationProtection=False)
    assert world.deleted(name)["StackStatus"] == "DELETE_COMPLETE"


def test_an_export_cannot_go_while_another_stack_imports_it(world: World) -> None:
    exporting = world.made(NETWORK)
    export = f"{exporting['StackName']}-vpc"
    importing = world.made(
        {
            "Resources": {
                "Subnet": {
                    "Type": "AWS::EC2::Subnet",
                    "Properties": {"VpcId": {"Fn::ImportValue": export}, "CidrBlock": "10.0.9.0/24"},
                }
            }
        }
    )
    assert importing["StackStatus"] == "CREATE_COMPLETE"
    assert world.cfn.list_imports(ExportName=export)["Imports"] == [importing["StackName"]]
    assert refused(world.cfn.delete_stack, StackName=exporting["StackName"]) == (
        "ValidationError",
        f"Export {export} cannot be deleted as it is in use by {importing['StackName']}",
    )
    world.deleted(importing["StackId"])
    assert refused(world.cfn.list_imports, ExportName=export)[1] == f"Export '{export}' is not imported by any stack."
    assert world.deleted(exporting["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    assert export not in {item["Name"] for item in world.cfn.list_exports()["Exports"]}


def test_an_import_that_does_not_exist_fails_the_stack_by_name(world: World) -> None:
    template = {
        "Resources": {"T": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Fn::ImportValue": "no-such"}}}}
    }
    stack = world.made(template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert (
        stack["StackName"],
        "ROLLBACK_IN_PROGRESS",
        "No export named no-such found. Rollback requested by user.",
    ) in world.events(stack["StackId"])


def test_an_export_name_is_used_once_in_a_region(world: World) -> None:
    template = {
        "Resources": {"T": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"O": {"Value": "x", "Export": {"Name": "only-once"}}},
    }
    first, second = world.made(template), world.made(template)
    assert second["StackStatus"] == "ROLLBACK_COMPLETE"
    reasons = [event[2] for event in world.events(second["StackId"])]
    assert any(
        f"Export with name only-once is already exported by stack {first['StackName']}." in reason for reason in reasons
    )
    world.deleted(first["StackId"])


def test_an_error_nobody_foresaw_rolls_the_creation_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise TypeError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish_create", fail)
        stack = world.made(exporting("unforeseen"))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert world.resources(stack["StackId"])["T"]["ResourceStatus"] == "DELETE_COMPLETE"


def retaining(policy: str) -> dict[str, Any]:
    return {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "DeletionPolicy": policy}, **FAILING["Resources"]}}


@pytest.mark.parametrize(
    ("policy", "arguments", "status"),
    [
        ("Retain", {}, "DELETE_SKIPPED"),
        ("Retain", {"RetainExceptOnCreate": True}, "DELETE_COMPLETE"),
        ("RetainExceptOnCreate", {}, "DELETE_COMPLETE"),
        ("Delete", {}, "DELETE_COMPLETE"),
    ],
)
def test_retained_resources_survive_a_rollback_unless_the_policy_excepts_it(
    world: World, policy: str, arguments: Any, status: str
) -> None:
    template = retaining(policy)
    template["Resources"]["Vpc"]["DependsOn"] = "Topic"
    stack = world.made(template, **arguments)
    topic = world.resources(stack["StackId"])["Topic"]
    assert topic["ResourceStatus"] == status
    arns = {entry["TopicArn"] for entry in world.client("sns").list_topics()["Topics"]}
    assert (topic["PhysicalResourceId"] in arns) == (status == "DELETE_SKIPPED")


@pytest.mark.parametrize("policy", ["Retain", "RetainExceptOnCreate"])
def test_retained_resources_survive_their_stack(world: World, policy: str) -> None:
    stack = world.made({"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "DeletionPolicy": policy}}})
    gone = world.deleted(stack["StackId"])
    assert gone["StackStatus"] == "DELETE_COMPLETE"
    topic = world.resources(stack["StackId"])["Topic"]
    assert topic["ResourceStatus"] == "DELETE_SKIPPED"
    world.client("sns").get_topic_attributes(TopicArn=topic["PhysicalResourceId"])


def test_a_deletion_that_fails_says_why_and_can_be_repeated(world: World) -> None:
    template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}, "Topic": {"Type": "AWS::SNS::Topic"}}}
    stack = world.made(template)
    s3, bucket = world.client("s3"), world.resources(stack["StackId"])["Bucket"]["PhysicalResourceId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert (
        "RetainResources"
        in refused(world.cfn.delete_stack, StackName=stack["StackName"], RetainResources=["Bucket"])[1]
    )
    failed = world.deleted(stack["StackId"])
    assert failed["StackStatus"] == "DELETE_FAILED"
    assert failed["StackStatusReason"] == "The following resource(s) failed to delete: [Bucket]. "
    assert "not empty" in world.resources(stack["StackId"])["Bucket"]["ResourceStatusReason"]
    assert world.resources(stack["StackId"])["Topic"]["ResourceStatus"] == "DELETE_COMPLETE"
    again = world.deleted(stack["StackId"], RetainResources=["Bucket"])
    assert again["StackStatus"] == "DELETE_COMPLETE"
    assert world.resources(stack["StackId"])["Bucket"]["ResourceStatus"] == "DELETE_SKIPPED"
    s3.head_bucket(Bucket=bucket)


def test_events_come_newest_first_and_in_pages(world: World) -> None:
    many = {"Resources": {f"Topic{number}": {"Type": "AWS::SNS::Topic"} for number in range(40)}}
    stack = world.made(many)
    first = world.cfn.describe_stack_events(StackName=stack["StackId"])
    assert len(first["StackEvents"]) == 100
    assert first["StackEvents"][0]["ResourceStatus"] == "CREATE_COMPLETE"
    assert len(world.events(stack["StackId"])) == 40 * 3 + 2
    assert len({event["EventId"] for event in first["StackEvents"]}) == 100
    stamps = [event["Timestamp"] for event in first["StackEvents"]]
    assert stamps == sorted(stamps, reverse=True)
    world.deleted(stack["StackId"])


def test_summary_and_validation_tell_what_a_template_declares(world: World) -> None:
    body = json.dumps(
        {
            **NETWORK,
            "Resources": {
                **NETWORK["Resources"],
                "R": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}, "RoleName": "r"}},
            },
        }
    )
    summary = world.cfn.get_template_summary(TemplateBody=body)
    assert "AWS::EC2::VPC" in summary["ResourceTypes"]
    assert summary["Capabilities"] == ["CAPABILITY_NAMED_IAM"]
    defaults = {item["ParameterKey"]: item["DefaultValue"] for item in summary["Parameters"]}
    assert defaults == {"Suffix": "dev", "Secret": "****"}
    checked = world.cfn.validate_template(TemplateBody=body)
    assert checked["CapabilitiesReason"] == "The following resource(s) require capabilities: [AWS::IAM::Role]"
    broken = json.dumps({"Resources": {"X": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "No"}}}}})
    assert refused(world.cfn.validate_template, TemplateBody=broken)[1] == (
        "Template format error: Unresolved resource dependencies [No] in the Resources block of the template"
    )


def test_stacks_of_another_region_are_not_seen(world: World) -> None:
    stack = world.made({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
    other = world._outside.client("cloudformation", "eu-west-1")
    assert refused(other.describe_stacks, StackName=stack["StackName"])[0] == "ValidationError"
    assert refused(other.describe_stacks, StackName=stack["StackId"])[0] == "ValidationError"
    world.deleted(stack["StackId"])
