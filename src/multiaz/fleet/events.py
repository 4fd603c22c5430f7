"""What CloudFormation tells while it works: events, and what they add up to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

STACK_TYPE = "AWS::CloudFormation::Stack"


@dataclass(frozen=True)
class StackEvent:
    """One event of a stack or of one of its resources."""

    event_id: str
    stack_id: str
    logical_id: str
    physical_id: str
    resource_type: str
    status: str
    reason: str
    at: datetime

    @property
    def is_of_stack(self) -> bool:
        """The event tells of the stack itself, not of a resource (nor of a nested stack)."""
        return self.resource_type == STACK_TYPE and self.physical_id == self.stack_id

    @property
    def is_failure(self) -> bool:
        """Something went wrong here (a cancelled sibling of a failure counts as well)."""
        return self.status.endswith("_FAILED")

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "at": self.at.isoformat(),
            "logical_id": self.logical_id,
            "physical_id": self.physical_id,
            "type": self.resource_type,
            "status": self.status,
            "reason": self.reason,
        }


def event_of(told: Mapping[str, Any]) -> StackEvent:
    """The event botocore describes with one entry of DescribeStackEvents."""
    return StackEvent(
        event_id=told["EventId"],
        stack_id=told["StackId"],
        logical_id=told.get("LogicalResourceId", ""),
        physical_id=told.get("PhysicalResourceId", ""),
        resource_type=told.get("ResourceType", ""),
        status=told.get("ResourceStatus", ""),
        reason=told.get("ResourceStatusReason", ""),
        at=told["Timestamp"],
    )


def is_final(status: str) -> bool:
    """A stack with this status does nothing more by itself."""
    return status.endswith(("_COMPLETE", "_FAILED"))


def is_good(status: str) -> bool:
    """A stack with this status is whole and is what its template says."""
    return status in (
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    )


def first_failure(events: Iterable[StackEvent]) -> StackEvent | None:
    """The failure all others follow from: the first, in order of time, that is not a cancellation."""
    failures = [event for event in events if event.is_failure]
    own = [e for e in failures if "cancelled" not in e.reason.lower() and not e.is_of_stack]
    for candidates in (own, failures):
        if candidates:
            return candidates[0]
    return None


def plain_reason(reason: str) -> str:
    """The sentence in a ResourceStatusReason, without the identifiers that CloudFormation wraps around it."""
    wrapped = re.fullmatch(r'Resource handler returned message: "(.*)" \(RequestToken: [^)]*\)', reason, re.DOTALL)
    inner = wrapped[1] if wrapped else reason
    return re.sub(r" \((?:Service|Operation): [^()]*Request ID: [^()]*\)$", "", inner)
