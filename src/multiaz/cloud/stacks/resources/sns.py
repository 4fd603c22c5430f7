"""AWS::SNS: topics, their policies, subscriptions."""

from __future__ import annotations

import json
from typing import Any

from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    as_policy,
    changed_tags,
    pages,
    same_policy,
    tag_list,
    unless_gone,
)

_GONE = frozenset({"NotFound", "NotFoundException", "ResourceNotFound"})


_DEFAULTS = {
    "DisplayName": "",
    "KmsMasterKeyId": "",
    "ContentBasedDeduplication": "false",
    "SignatureVersion": "1",
    "TracingConfig": "PassThrough",
}
"""Attributes of a topic that can be changed, as a new topic has them. Source: SNS API reference, SetTopicAttributes."""


def _attribute(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


class Topic(Handler):
    """AWS::SNS::Topic. SNS itself makes repeated creation harmless."""

    type = "AWS::SNS::Topic"
    _ATTRIBUTES = (
        "DisplayName",
        "KmsMasterKeyId",
        "FifoTopic",
        "ContentBasedDeduplication",
        "SignatureVersion",
        "TracingConfig",
    )
    properties = frozenset({"TopicName", "Subscription", "Tags", *_ATTRIBUTES})
    attributes = frozenset({"TopicArn", "TopicName"})
    gone = _GONE
    updatable = properties - {"TopicName", "FifoTopic"}
    named_by = "TopicName"

    def _name(self, call: Call) -> str:
        fifo = ".fifo" if call.get("FifoTopic") else ""
        return str(call.get("TopicName") or call.name(256 - len(fifo)) + fifo)

    def _arn(self, call: Call) -> str:
        return f"arn:aws:sns:{call.region}:{call.account_id}:{self._name(call)}"

    def _exists(self, call: Call) -> bool:
        sns = call.client("sns")
        return unless_gone(_GONE, sns.get_topic_attributes, TopicArn=self._arn(call))

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        if not self._exists(call):
            return None
        tags = call.client("sns").list_tags_for_resource(ResourceArn=self._arn(call))["Tags"]
        return self._arn(call) if call.owns(tags) else None

    def create(self, call: Call) -> Made:
        """Create and subscribe."""
        sns = call.client("sns")
        if self.existing(call) is None and "TopicName" in call.properties:
            self.refuse_existing(call, self._name(call), self._exists(call))
        attributes = {name: _attribute(call.properties[name]) for name in self._ATTRIBUTES if name in call.properties}
        arn = str(sns.create_topic(Name=self._name(call), Attributes=attributes, Tags=call.tags())["TopicArn"])
        call.made(arn)
        for entry in call.get("Subscription", []):
            sns.subscribe(TopicArn=arn, Protocol=entry["Protocol"], Endpoint=entry["Endpoint"])
        return Made(arn, {"TopicArn": arn, "TopicName": self._name(call)})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Attributes, SNS's defaults where the template says nothing any more; subscriptions; tags."""
        sns, arn = call.client("sns"), str(call.physical_id)
        for name in sorted(changed & _DEFAULTS.keys()):
            value = _attribute(call.properties.get(name, _DEFAULTS[name]))
            sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=value)
        if "Subscription" in changed:
            wanted = {(entry["Protocol"], entry["Endpoint"]) for entry in call.get("Subscription", [])}
            had = {(entry["Protocol"], entry["Endpoint"]) for entry in old.get("Subscription", [])}
            for protocol, endpoint in sorted(wanted):
                sns.subscribe(TopicArn=arn, Protocol=protocol, Endpoint=endpoint)
            for entry in list(pages(sns, "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn)):
                if (entry["Protocol"], entry["Endpoint"]) in had - wanted:
                    unless_gone(_GONE, sns.unsubscribe, SubscriptionArn=entry["SubscriptionArn"])
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            if tags:
                sns.tag_resource(ResourceArn=arn, Tags=tag_list(tags))
            if removed:
                sns.untag_resource(ResourceArn=arn, TagKeys=removed)
        return None

    def delete(self, call: Call) -> None:
        """Delete with its subscriptions."""
        sns = call.client("sns")

        def remove() -> None:
            found = pages(sns, "list_subscriptions_by_topic", "Subscriptions", TopicArn=call.physical_id)
            for entry in list(found):
                if entry["SubscriptionArn"].startswith("arn:"):
                    sns.unsubscribe(SubscriptionArn=entry["SubscriptionArn"])
            sns.delete_topic(TopicArn=call.physical_id)

        unless_gone(_GONE, remove)


class TopicPolicy(Handler):
    """AWS::SNS::TopicPolicy."""

    type = "AWS::SNS::TopicPolicy"
    properties = frozenset({"PolicyDocument", "Topics"})
    attributes = frozenset({"Id"})
    updatable = properties

    def find(self, call: Call) -> str | None:
        """By the document, on any of the topics: a topic has one."""
        for arn in call.properties["Topics"]:
            found = call.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy", "")
            if same_policy(found, call.properties["PolicyDocument"]):
                return call.name(128)
        return None

    def create(self, call: Call) -> Made:
        """Put it on each topic."""
        for arn in call.properties["Topics"]:
            call.client("sns").set_topic_attributes(
                TopicArn=arn,
                AttributeName="Policy",
                AttributeValue=as_policy(call.properties["PolicyDocument"]),
            )
        physical_id = call.name(128)
        return Made(physical_id, {"Id": physical_id})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put it on each topic, take it off those the template lists no more."""
        self.create(call)
        self._take_off(call, [arn for arn in old.properties["Topics"] if arn not in call.properties["Topics"]])
        return None

    def delete(self, call: Call) -> None:
        """Take it off each topic."""
        self._take_off(call, call.properties["Topics"])

    def _take_off(self, call: Call, topics: list[str]) -> None:
        """Give each topic the policy a new one has: only its owner."""
        sns = call.client("sns")
        for arn in topics:
            default = {
                "Version": "2008-10-17",
                "Id": "__default_policy_ID",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Sid": "__default_statement_ID",
                        "Principal": {"AWS": "*"},
                        "Action": [
                            "SNS:GetTopicAttributes",
                            "SNS:SetTopicAttributes",
                            "SNS:AddPermission",
                            "SNS:RemovePermission",
                            "SNS:DeleteTopic",
                            "SNS:Subscribe",
                            "SNS:ListSubscriptionsByTopic",
                            "SNS:Publish",
                        ],
                        "Resource": arn,
                        "Condition": {"StringEquals": {"AWS:SourceOwner": call.account_id}},
                    }
                ],
            }
            unless_gone(
                _GONE,
                sns.set_topic_attributes,
                TopicArn=arn,
                AttributeName="Policy",
                AttributeValue=json.dumps(default),
            )


class Subscription(Handler):
    """AWS::SNS::Subscription."""

    type = "AWS::SNS::Subscription"
    _ATTRIBUTES = ("DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy")
    properties = frozenset({"TopicArn", "Protocol", "Endpoint", *_ATTRIBUTES})
    attributes = frozenset({"Arn"})
    updatable = frozenset(_ATTRIBUTES)

    def find(self, call: Call) -> str | None:
        """By topic, protocol and endpoint: SNS holds each once."""
        found = pages(
            call.client("sns"), "list_subscriptions_by_topic", "Subscriptions", TopicArn=call.properties["TopicArn"]
        )
        for entry in found:
            if (entry["Protocol"], entry["Endpoint"]) == (call.properties["Protocol"], call.get("Endpoint")):
                return str(entry["SubscriptionArn"])
        return None

    def create(self, call: Call) -> Made:
        """Subscribe."""
        attributes = {name: _attribute(call.properties[name]) for name in self._ATTRIBUTES if name in call.properties}
        endpoint = {"Endpoint": call.properties["Endpoint"]} if "Endpoint" in call.properties else {}
        arn = str(
            call.client("sns").subscribe(
                TopicArn=call.properties["TopicArn"],
                Protocol=call.properties["Protocol"],
                Attributes=attributes,
                ReturnSubscriptionArn=True,
                **endpoint,
            )["SubscriptionArn"]
        )
        return Made(arn, {"Arn": arn})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Attributes; one the template gives no more is emptied, or what SNS gives a new subscription."""
        sns = call.client("sns")
        defaults = {"FilterPolicyScope": "MessageAttributes", "RawMessageDelivery": "false", "FilterPolicy": "{}"}
        for name in sorted(changed):
            value = call.properties.get(name, defaults.get(name, ""))
            sns.set_subscription_attributes(
                SubscriptionArn=call.physical_id, AttributeName=name, AttributeValue=_attribute(value)
            )
        return None

    def delete(self, call: Call) -> None:
        """Unsubscribe."""
        sns = call.client("sns")
        unless_gone(_GONE, sns.unsubscribe, SubscriptionArn=call.physical_id)


HANDLERS: tuple[Handler, ...] = (Topic(), TopicPolicy(), Subscription())
