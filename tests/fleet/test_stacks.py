"""Deploying and deleting, against answers that botocore checks against CloudFormation's model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from multiaz.errors import BadInput, Conflict, NoProgress, NotFound
from multiaz.fleet.access import Access, AwsClients, AwsRefused
from multiaz.fleet.events import StackEvent
from multiaz.fleet.stacks import Pace, StackFailed, Stacks

ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/shop/1"
TEMPLATE = "Resources: {}\n"


def soon() -> Pace:
    return Pace(shortest_s=0.001, longest_s=0.001)


class Cloud:
    """A scripted CloudFormation: every answer is validated by botocore's model, in order."""

    def __init__(self, quiet_limit_s: float = 60.0) -> None:
        clients = AwsClients(Access("us-east-1", "http://127.0.0.1:1", "key", "secret"))
        self.stub = Stubber(clients.client("cloudformation"))
        self.stacks = Stacks(clients, quiet_limit_s=quiet_limit_s, pace=soon)
        self.seen: list[StackEvent] = []
        self.answered = 0

    def on_event(self, event: StackEvent) -> None:
        self.seen.append(event)

    def absent(self) -> None:
        self.stub.add_client_error(
            "describe_stacks", "ValidationError", "Stack with id shop does not exist", http_status_code=400
        )

    def described(self, status: str, **more: Any) -> None:
        stack = {"StackName": "shop", "StackId": ID, "StackStatus": status, "CreationTime": now(), **more}
        self.stub.add_response("describe_stacks", {"Stacks": [stack]})

    def events(self, *events: tuple[str, str, str], earlier: int = 0) -> None:
        """Logical id, status, reason; newest last here, as people read."""
        told = []
        for number, (name, status, reason) in enumerate(events):
            told.append(
                {
                    "EventId": f"{number}-{name}-{status}",
                    "StackId": ID,
                    "StackName": "shop",
                    "LogicalResourceId": name,
                    "PhysicalResourceId": ID if name == "shop" else f"physical-{name}",
                    "ResourceType": "AWS::CloudFormation::Stack" if name == "shop" else "AWS::S3::Bucket",
                    "ResourceStatus": status,
                    "ResourceStatusReason": reason,
                    "Timestamp": now(),
                }
            )
        self.stub.add_response("describe_stack_events", {"StackEvents": told[::-1]})

    def created(self, **expected: Any) -> None:
        request = {
            "StackName": "shop",
            "TemplateBody": TEMPLATE,
            "Parameters": ANY,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Tags": [],
            "ClientRequestToken": ANY,
            **expected,
        }
        self.stub.add_response("create_stack", {"StackId": ID}, request)

    def template(self, body: str) -> None:
        self.stub.add_response("get_template", {"TemplateBody": body})


def now() -> datetime:
    return datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    with cloud.stub:
        yield cloud
        cloud.stub.assert_no_pending_responses()


def test_deploy_watches_the_events_to_the_end_and_returns_the_outputs(cloud: Cloud) -> None:
    cloud.absent()
    cloud.created(Parameters=[{"ParameterKey": "EnvironmentSuffix", "ParameterValue": "dev"}])
    first = ("shop", "CREATE_IN_PROGRESS", "User Initiated"), ("Bucket", "CREATE_IN_PROGRESS", "")
    cloud.events(*first)
    cloud.events(*first, ("Bucket", "CREATE_COMPLETE", ""), ("shop", "CREATE_COMPLETE", ""))
    cloud.described("CREATE_COMPLETE", Outputs=[{"OutputKey": "Endpoint", "OutputValue": "127.1.2.3"}])
    done = cloud.stacks.deploy("shop", TEMPLATE, {"EnvironmentSuffix": "dev"}, on_event=cloud.on_event)
    assert done.created
    assert done.stack.outputs == {"Endpoint": "127.1.2.3"}
    assert [(e.logical_id, e.status) for e in cloud.seen] == [
        ("shop", "CREATE_IN_PROGRESS"),
        ("Bucket", "CREATE_IN_PROGRESS"),
        ("Bucket", "CREATE_COMPLETE"),
        ("shop", "CREATE_COMPLETE"),
    ]


def test_a_failed_creation_tells_the_reason_of_the_first_resource(cloud: Cloud) -> None:
    cloud.absent()
    cloud.created()
    cloud.events(
        ("shop", "CREATE_IN_PROGRESS", ""),
        ("Topic", "CREATE_FAILED", "Resource creation cancelled"),
        ("Bucket", "CREATE_FAILED", "shop-backups already exists"),
        ("shop", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Bucket]"),
        ("shop", "ROLLBACK_COMPLETE", ""),
    )
    cloud.described("ROLLBACK_COMPLETE")
    with pytest.raises(StackFailed) as caught:
        cloud.stacks.deploy("shop", TEMPLATE, {})
    assert "Bucket (AWS::S3::Bucket): shop-backups already exists" in caught.value.why
    assert len(caught.value.events) == 5


def test_a_stack_that_is_there_and_the_same_is_left_alone(cloud: Cloud) -> None:
    cloud.described("CREATE_COMPLETE", Parameters=[{"ParameterKey": "DBName", "ParameterValue": "shop"}])
    cloud.template(TEMPLATE)
    assert not cloud.stacks.deploy("shop", TEMPLATE, {"DBName": "shop"}).created


def test_a_stack_that_is_there_and_differs_is_refused_with_the_differences(cloud: Cloud) -> None:
    cloud.described("CREATE_COMPLETE", Parameters=[{"ParameterKey": "DBName", "ParameterValue": "shop"}])
    cloud.template("Resources: {Other: {}}")
    with pytest.raises(Conflict) as caught:
        cloud.stacks.deploy("shop", TEMPLATE, {"DBName": "other"})
    assert "DBName is shop, not other" in caught.value.why
    assert "its template differs in Resources/Other (only in it)" in caught.value.why


def test_a_hidden_parameter_is_not_called_different(cloud: Cloud) -> None:
    cloud.described("CREATE_COMPLETE", Parameters=[{"ParameterKey": "Password", "ParameterValue": "****"}])
    cloud.template(TEMPLATE)
    assert not cloud.stacks.deploy("shop", TEMPLATE, {"Password": "x"}).created


def test_a_creation_somebody_else_began_is_watched_to_its_end(cloud: Cloud) -> None:
    cloud.described("CREATE_IN_PROGRESS")
    cloud.events(("shop", "CREATE_IN_PROGRESS", ""), ("shop", "CREATE_COMPLETE", ""))
    cloud.described("CREATE_COMPLETE")
    cloud.template(TEMPLATE)
    assert not cloud.stacks.deploy("shop", TEMPLATE, {}).created


def test_the_remains_of_a_rolled_back_creation_are_cleared_away_first(cloud: Cloud) -> None:
    cloud.described("ROLLBACK_COMPLETE")
    cloud.described("ROLLBACK_COMPLETE")
    before = [("shop", "ROLLBACK_COMPLETE", "")]
    cloud.events(*before)
    cloud.stub.add_response("delete_stack", {}, {"StackName": ID, "ClientRequestToken": ANY})
    cloud.events(*before, ("shop", "DELETE_IN_PROGRESS", ""), ("shop", "DELETE_COMPLETE", ""))
    cloud.described("DELETE_COMPLETE")
    cloud.created()
    cloud.events(("shop", "CREATE_COMPLETE", ""))
    cloud.described("CREATE_COMPLETE")
    assert cloud.stacks.deploy("shop", TEMPLATE, {}).created


def test_a_stack_in_a_bad_state_is_not_taken_for_deployed(cloud: Cloud) -> None:
    cloud.described("DELETE_FAILED", StackStatusReason="bucket not empty")
    with pytest.raises(Conflict) as caught:
        cloud.stacks.deploy("shop", TEMPLATE, {})
    assert "DELETE_FAILED: bucket not empty" in caught.value.why


def test_a_refused_parameter_is_bad_input_in_the_words_of_aws(cloud: Cloud) -> None:
    cloud.absent()
    cloud.stub.add_client_error("create_stack", "ValidationError", "Parameters: [Nope] do not exist")
    with pytest.raises(AwsRefused) as caught:
        cloud.stacks.deploy("shop", TEMPLATE, {"Nope": "1"})
    assert caught.value.exit_code == BadInput.exit_code
    assert "Parameters: [Nope] do not exist (ValidationError)" in caught.value.why


def test_a_template_too_long_for_a_bucket_is_refused_before_the_call(cloud: Cloud) -> None:
    cloud.absent()
    with pytest.raises(BadInput, match="1048577 bytes"):
        cloud.stacks.deploy("shop", "x" * 1_048_577, {})


def test_deletion_begun_and_ended_elsewhere_is_noticed_without_an_event(cloud: Cloud) -> None:
    """The last event may come before the first look: then only the stack itself tells."""
    cloud.described("DELETE_IN_PROGRESS")
    ended = [("shop", "DELETE_COMPLETE", "")]
    cloud.events(*ended)
    clock = iter(float(n) for n in range(0, 1000, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multiaz.fleet.stacks.time.monotonic", lambda: next(clock))
        cloud.events(*ended)
        cloud.described("DELETE_COMPLETE")
        cloud.described("DELETE_COMPLETE")
        assert cloud.stacks.delete("shop") == ID


def test_deleting_nothing_is_not_found(cloud: Cloud) -> None:
    cloud.absent()
    with pytest.raises(NotFound):
        cloud.stacks.delete("shop")


def test_termination_protection_is_told_with_the_command_that_ends_it(cloud: Cloud) -> None:
    cloud.described("CREATE_COMPLETE", EnableTerminationProtection=True)
    with pytest.raises(Conflict) as caught:
        cloud.stacks.delete("shop")
    assert caught.value.next_step == (
        "aws --endpoint-url http://127.0.0.1:1 --region us-east-1 cloudformation update-termination-protection "
        "--no-enable-termination-protection --stack-name shop"
    )


def test_silence_is_given_up_by_name() -> None:
    cloud = Cloud(quiet_limit_s=0.0)
    with cloud.stub:
        cloud.absent()
        cloud.created()
        cloud.stub.add_response("describe_stack_events", {"StackEvents": []})
        with pytest.raises(NoProgress, match="shop"):
            cloud.stacks.deploy("shop", TEMPLATE, {})


def test_a_near_cloud_is_looked_at_often_and_a_far_one_seldom() -> None:
    near, far, slow = Pace(), Pace(), Pace()
    assert [near.after(look_s) for look_s in (0.3, 0.02, 0.005, 0.4)] == [0.1, 0.1, 0.1, 0.1]
    assert [far.after(0.15) for _ in range(3)] == [0.1, 0.1, 1.5]
    assert [slow.after(2.0) for _ in range(3)] == [0.1, 0.1, 5.0]
