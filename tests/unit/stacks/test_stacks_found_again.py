"""What an interrupted creation made is found by what the service says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from multiaz.cloud.stacks.resources.base import Call
from multiaz.cloud.stacks.resources.secrets import RotationSchedule, SecretTargetAttachment

FUNCTION = "arn:aws:lambda:us-east-1:1:function:F"


class _Secret:
    def __init__(self, described: dict[str, Any], text: str = "{}") -> None:
        self.described, self.text = described, text

    def client(self, service: str, region: str) -> Any:
        return self

    def describe_secret(self, **_: Any) -> dict[str, Any]:
        return {"ARN": "arn:s", **self.described}

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        return {"SecretString": self.text}


def call(secret: Any, **properties: Any) -> Call:
    return Call(secret, "us-east-1", "1", "arn:stack", "shop", "X", "T", token="t", properties=properties)


@pytest.mark.parametrize(
    ("described", "found"),
    [
        ({"RotationEnabled": True, "RotationLambdaARN": FUNCTION}, "arn:s"),
        ({"RotationEnabled": True, "RotationLambdaARN": "arn:other"}, None),
        ({"RotationEnabled": False, "RotationLambdaARN": FUNCTION}, None),
        ({}, None),
    ],
)
def test_a_rotation_schedule_is_found_by_its_function(described: dict[str, Any], found: str | None) -> None:
    schedule = call(_Secret(described), SecretId="s", HostedRotationLambda={"RotationLambdaName": "F"})
    assert RotationSchedule().find(schedule) == found


@pytest.mark.parametrize(("entries", "found"), [({"dbInstanceIdentifier": "db"}, "arn:s"), ({"username": "u"}, None)])
def test_an_attachment_is_found_by_what_the_secret_says(entries: dict[str, str], found: str | None) -> None:
    attachment = call(_Secret({}, json.dumps(entries)), SecretId="s", TargetId="DB")
    assert SecretTargetAttachment().find(attachment) == found
