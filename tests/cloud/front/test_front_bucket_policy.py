"""Policies of buckets: judged by the front door, with principals and conditions, also for the administrator."""

from __future__ import annotations

import json
from typing import Any

import pytest
from front_harness import Endpoint

from multiaz.cloud.policy import Question, evaluate_resource_policy

ROLE = "arn:aws:sts::123456789012:assumed-role/exporter/session"
USER = "arn:aws:iam::123456789012:user/clerk"
READ = Question("s3:GetObject", ("arn:aws:s3:::shop/a",), {"aws:securetransport": ("true",)})


def statement(effect: str, **members: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, "Action": "s3:*", "Resource": "arn:aws:s3:::shop/*", **members}]}


@pytest.mark.parametrize(
    ("document", "caller", "allowed"),
    [
        (statement("Deny", Principal="*"), USER, False),
        (statement("Deny", Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}}), USER, None),
        (statement("Deny", Principal="*", Condition={"Bool": {"aws:SecureTransport": "true"}}), USER, False),
        (statement("Allow", Principal={"AWS": USER}), USER, True),
        (statement("Allow", Principal={"AWS": USER}), ROLE, None),
        (statement("Allow", Principal={"AWS": ["arn:aws:iam::123456789012:role/exporter"]}), ROLE, True),
        (statement("Allow", Principal={"AWS": "123456789012"}), USER, True),
        (statement("Allow", Principal={"Service": "export.rds.amazonaws.com"}), USER, None),
        (statement("Deny", NotPrincipal={"AWS": USER}), USER, None),
        (statement("Deny", NotPrincipal={"AWS": USER}), ROLE, False),
        (statement("Allow", Principal="*", Resource="arn:aws:s3:::other/*"), USER, None),
    ],
)
def test_principals_and_conditions_decide(document: dict[str, Any], caller: str, allowed: bool | None) -> None:
    decision = evaluate_resource_policy(document, READ, caller)
    assert (None if decision is None else decision.allowed) is allowed


def test_a_bucket_that_wants_tls_takes_objects_over_loopback_and_a_closed_one_can_be_opened_again(
    endpoint: Endpoint,
) -> None:
    s3 = endpoint.client("s3")
    s3.create_bucket(Bucket="wants-tls", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})

    def policy(**condition: Any) -> str:
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::wants-tls/*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [deny | condition]})

    s3.put_bucket_policy(Bucket="wants-tls", Policy=policy(Condition={"Bool": {"aws:SecureTransport": "false"}}))
    s3.put_object(Bucket="wants-tls", Key="a", Body=b"x")
    s3.put_bucket_policy(Bucket="wants-tls", Policy=policy())
    with pytest.raises(s3.exceptions.ClientError, match="explicit deny in a resource-based policy"):
        s3.put_object(Bucket="wants-tls", Key="b", Body=b"x")
    s3.delete_bucket_policy(Bucket="wants-tls")
    s3.delete_object(Bucket="wants-tls", Key="a")
    s3.delete_bucket(Bucket="wants-tls")
