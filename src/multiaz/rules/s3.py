"""Buckets as the rules need them."""

from __future__ import annotations

from typing import Any

from multiaz.rules.policies import Statement
from multiaz.rules.template import Resource, Template, text_of

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


def takes_only_keys_of_s3(template: Template) -> set[str]:
    """Logical ids of buckets whose writer cannot use a key of KMS: access logs of S3, of an Application Load Balancer,
    of a Classic one. Sources: S3 user guide, server access logging; ELB user guides, access logs.
    """
    found = log_targets(template)
    nodes: list[Any] = []
    for balancer in template.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer"):
        if all(choice.is_absent or choice.text == "application" for choice in balancer.choices("Type")):
            listed = balancer.raw("LoadBalancerAttributes")
            for entry in listed if isinstance(listed, list) else ():
                is_target = isinstance(entry, dict) and str(entry.get("Key")).endswith("_logs.s3.bucket")
                nodes += [entry.get("Value")] if is_target else []
    for balancer in template.of_type("AWS::ElasticLoadBalancing::LoadBalancer"):
        policy = balancer.raw("AccessLoggingPolicy")
        nodes += [policy.get("S3BucketName")] if isinstance(policy, dict) else []
    targets = [named(template, node) for node in nodes]
    return found | {target.name for target in targets if target is not None}


def is_of_bucket_and_objects(statement: Statement) -> bool:
    """Its resources are the bucket and what is in it, as far as they are known."""
    listed = statement.raw("Resource")
    texts = [text_of(node) for node in (listed if isinstance(listed, list) else [listed]) if node is not None]
    bucket = any(not text or "/" not in text for text in texts)
    return bucket and any(not text or text.endswith("*") for text in texts)
