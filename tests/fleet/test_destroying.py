"""What a removal refuses, and the commands it advises."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber

from multiaz.errors import Conflict
from multiaz.fleet.access import Access
from multiaz.fleet.fleet import Fleet

ID = "arn:aws:cloudformation:eu-north-1:123456789012:stack/shop/1"


@pytest.mark.parametrize(
    ("endpoint", "where"),
    [
        ("http://127.0.0.1:4566", "aws --endpoint-url http://127.0.0.1:4566 --region eu-north-1"),
        (None, "aws --region eu-north-1"),
    ],
    ids=["local", "amazon"],
)
def test_the_advice_against_deletion_protection_is_for_this_account_and_no_other(
    endpoint: str | None, where: str
) -> None:
    fleet = Fleet(Access("eu-north-1", endpoint, "key", "secret"), "shop")
    cloudformation, rds = (Stubber(fleet.clients.client(name)) for name in ("cloudformation", "rds"))
    stack = {"StackName": "shop", "StackId": ID, "StackStatus": "CREATE_COMPLETE", "CreationTime": "2026-11-23"}
    cloudformation.add_response("describe_stacks", {"Stacks": [stack]})
    resource = {
        "LogicalResourceId": "PrimaryDB",
        "PhysicalResourceId": "shop-db",
        "ResourceType": "AWS::RDS::DBInstance",
        "ResourceStatus": "CREATE_COMPLETE",
        "LastUpdatedTimestamp": "2026-11-23",
    }
    cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": [resource]})
    instance = {"DBInstanceIdentifier": "shop-db", "DBInstanceStatus": "available", "DeletionProtection": True}
    rds.add_response("describe_db_instances", {"DBInstances": [instance]})
    with cloudformation, rds, pytest.raises(Conflict) as caught:
        fleet.destroy()
    assert caught.value.next_step == (
        f"for id in shop-db; do {where} rds modify-db-instance --no-deletion-protection --apply-immediately "
        '--db-instance-identifier "$id"; done'
    )
