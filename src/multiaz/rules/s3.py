"""Buckets as the rules need them."""

from __future__ import annotations

from typing import Any

from multiaz.rules.policies import Statement
from multiaz.rules.template import Resource, Template

BUCKET = "AWS::S3::Bucket"


def named(template: Template, node: Any) -> Resource | None:
    """The bucket of this template a property names, by reference or by the same name."""
    found = template.referred(node, BUCKET)
    if found is None and node is not None:
        same = [bucket for bucket in template.of_type(BUCKET) if bucket.raw("BucketName") == node]
        found = same[0] if len(same) == 1 else None
    return found


def log_targets(template: Template) -> set[str]:
    """Logical ids of buckets that get the access logs of others."""
    found: set[str] = set()
    for bucket in template.of_type(BUCKET):
        logging = bucket.raw("LoggingConfiguration")
        if isinstance(logging, dict):
            target = named(template, logging.get("DestinationBucketName"))
            found.update([target.name] if target is not None else [])
    return found


def refuses_plain_http(statement: Statement) -> bool:
    """It is about requests that do not come by TLS."""
    condition = statement.raw("Condition")
    tests = condition.get("Bool") if isinstance(condition, dict) else None
    if not isinstance(tests, dict):
        return False
    values = [value for key, value in tests.items() if str(key).lower() == "aws:securetransport"]
    return any(str(v).lower() == "false" for value in values for v in (value if isinstance(value, list) else [value]))
