"""What a stack's events add up to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from multiaz.fleet.events import StackEvent, event_of, first_failure, is_final, is_good, plain_reason

STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/shop/1"


def event(logical_id: str, status: str, reason: str = "", resource_type: str = "AWS::RDS::DBInstance") -> StackEvent:
    return event_of(
        {
            "EventId": f"{logical_id}-{status}",
            "StackId": STACK_ID,
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": STACK_ID if resource_type.endswith("::Stack") else logical_id.lower(),
            "ResourceType": resource_type,
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
            "Timestamp": datetime(2026, 11, 23, tzinfo=UTC),
        }
    )


def test_the_first_failure_is_the_cause_and_not_a_cancelled_sibling() -> None:
    events = [
        event("Bucket", "CREATE_IN_PROGRESS"),
        event("Topic", "CREATE_FAILED", "Resource creation cancelled"),
        event("PrimaryDB", "CREATE_FAILED", "Cannot find version 16.6 for postgres"),
        event("shop", "CREATE_FAILED", "The following resource(s) failed", "AWS::CloudFormation::Stack"),
    ]
    found = first_failure(events)
    assert found is not None
    assert found.logical_id == "PrimaryDB"


def test_a_stack_that_failed_before_any_resource_names_itself() -> None:
    failed = event("shop", "CREATE_FAILED", "no", "AWS::CloudFormation::Stack")
    assert first_failure([failed]) == failed


def test_no_failure_no_cause() -> None:
    assert first_failure([event("Bucket", "CREATE_COMPLETE")]) is None


def test_only_the_stack_itself_ends_the_watch_and_not_a_nested_stack() -> None:
    nested = event("Nested", "CREATE_COMPLETE", resource_type="AWS::CloudFormation::Stack")
    assert nested.is_of_stack
    other = StackEvent(**{**nested.__dict__, "physical_id": STACK_ID + "-nested"})
    assert not other.is_of_stack


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "ROLLBACK_COMPLETE", "DELETE_FAILED"])
def test_final_states_end_the_watch(status: str) -> None:
    assert is_final(status)


@pytest.mark.parametrize("status", ["CREATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])
def test_states_of_work_do_not_end_the_watch(status: str) -> None:
    assert not is_final(status)


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "DELETE_COMPLETE", "CREATE_FAILED"])
def test_a_rolled_back_stack_is_not_taken_for_a_good_one(status: str) -> None:
    assert not is_good(status)


def test_a_reason_is_told_without_the_identifiers_around_it() -> None:
    wrapped = (
        'Resource handler returned message: "Cannot find version 9.9 for postgres (Service: Rds, Status Code: 400, '
        'Request ID: 1-2)" (RequestToken: 3-4, HandlerErrorCode: InvalidRequest)'
    )
    assert plain_reason(wrapped) == "Cannot find version 9.9 for postgres"
    assert plain_reason(wrapped.replace("Service: Rds", "Operation: CreateDBInstance, Error Code: X")) == (
        "Cannot find version 9.9 for postgres"
    )
    assert plain_reason("Resource creation cancelled") == "Resource creation cancelled"
