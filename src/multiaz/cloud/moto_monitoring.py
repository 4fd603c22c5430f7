"""What we change in moto's CloudWatch, Logs and SNS; applied by `moto_patches`, pinned by its contract test."""

from __future__ import annotations

from typing import Any

from multiaz.cloud.alarm_rules import BadRule, alarms_of

LOG_GROUP_CLASSES = ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY")
"""Source: CloudWatch Logs API reference, CreateLogGroup, logGroupClass."""
DELIVERY_RETENTION_DAYS = 2
"""What a group of the class DELIVERY has, whatever is asked for. Source: as above."""
_SHOWN_TOPIC_ATTRIBUTES = {
    "SignatureVersion": "signature_version",
    "TracingConfig": "tracing_config",
    "DataProtectionPolicy": "data_protection_policy",
}
_TOPIC_VALUES = {"SignatureVersion": ("1", "2"), "TracingConfig": ("PassThrough", "Active")}
"""Source: SNS API reference, CreateTopic and SetTopicAttributes."""
_TOPIC_ATTRIBUTES = frozenset(
    {"ContentBasedDeduplication", "DeliveryPolicy", "DisplayName", "FifoTopic", "KmsMasterKeyId", "Policy"}
    | set(_SHOWN_TOPIC_ATTRIBUTES)
)


def apply() -> None:
    """Change moto; once."""
    _composite_alarms()
    _alarms_others_depend_on()
    _alarms_that_are_asked_for()
    _log_group_classes()
    _metric_filters()
    _topic_attributes()


def _composite_alarms() -> None:
    """moto describes composite alarms, and its PutMetricAlarm reads their rule, but nothing calls it; it looks
    neither at the rule nor for the alarms the rule names."""
    from moto.cloudwatch.exceptions import ValidationError
    from moto.cloudwatch.models import CloudWatchBackend
    from moto.cloudwatch.responses import CloudWatchResponse

    response: Any = CloudWatchResponse
    backend: Any = CloudWatchBackend
    if not hasattr(response, "put_composite_alarm"):
        response.put_composite_alarm = response.put_metric_alarm
    put = backend.put_metric_alarm

    def put_alarm(self: Any, *arguments: Any, **named: Any) -> Any:
        rule = named.get("rule")
        if rule is not None:
            try:
                missing = [name for name in alarms_of(rule) if alarm_name(self, name) not in self.alarms]
            except BadRule as bad:
                raise ValidationError(str(bad)) from bad
            if missing:
                shown = ", ".join(missing)
                raise ValidationError(
                    f"Could not save the composite alarm as alarms [{shown}] in the alarm rule do not exist"
                )
        return put(self, *arguments, **named)

    backend.put_metric_alarm = put_alarm


def alarm_name(backend: Any, reference: str) -> str:
    """The name of the alarm a rule names by name or by ARN; an ARN of elsewhere is no name there is."""
    prefix = f"arn:aws:cloudwatch:{backend.region_name}:{backend.account_id}:alarm:"
    return reference.removeprefix(prefix)


def _alarms_others_depend_on() -> None:
    """moto deletes alarms a composite alarm still names."""
    from moto.cloudwatch.exceptions import ValidationError
    from moto.cloudwatch.models import CloudWatchBackend

    backend: Any = CloudWatchBackend
    delete = backend.delete_alarms

    def delete_alarms(self: Any, alarm_names: list[str]) -> None:
        going = set(alarm_names)
        composite = {name: alarm for name, alarm in self.alarms.items() if alarm.rule}
        if len(going & set(composite)) > 1:
            raise ValidationError("You can delete at most one composite alarm in one call.")
        needed = {
            alarm_name(self, reference)
            for name, alarm in composite.items()
            if name not in going
            for reference in alarms_of(alarm.rule)
        }
        for name in alarm_names:
            if name in self.alarms and name in needed:
                raise ValidationError(f"Cannot delete {name} as there are composite alarm(s) depending on it.")
        delete(self, alarm_names)

    backend.delete_alarms = delete_alarms


def _alarms_that_are_asked_for() -> None:
    """moto's DescribeAlarms reads one filter and forgets the others: the state beside a prefix, the types always.

    Source: CloudWatch API reference, DescribeAlarms: filters are joined by and, and without AlarmTypes only
    metric alarms are told.
    """
    from moto.cloudwatch.responses import CloudWatchResponse

    response: Any = CloudWatchResponse
    describe = response.describe_alarms

    def describe_alarms(self: Any) -> Any:
        answer = describe(self)
        state = self._get_param("StateValue")
        prefix, names = self._get_param("AlarmNamePrefix"), self._get_param("AlarmNames")
        types = self._get_param("AlarmTypes") or ["MetricAlarm"]

        def is_asked_for(alarm: Any) -> bool:
            return (
                (not state or alarm.state_value == state)
                and (not prefix or alarm.name.startswith(prefix))
                and (not names or alarm.name in names)
            )

        for kind in ("MetricAlarm", "CompositeAlarm"):
            found = answer.result[f"{kind}s"] if kind in types else []
            answer.result[f"{kind}s"] = [alarm for alarm in found if is_asked_for(alarm)]
        return answer

    response.describe_alarms = describe_alarms


def _log_group_classes() -> None:
    """moto forgets the class of a log group."""
    from moto.logs.exceptions import InvalidParameterException
    from moto.logs.models import LogGroup
    from moto.logs.responses import LogsResponse

    response: Any = LogsResponse
    group: Any = LogGroup
    describe = group.to_describe_dict

    def create(self: Any) -> str:
        wanted = self._get_param("logGroupClass") or LOG_GROUP_CLASSES[0]
        name = self._get_param("logGroupName")
        if wanted not in LOG_GROUP_CLASSES:
            raise InvalidParameterException(
                constraint=f"Member must satisfy enum value set: [{', '.join(LOG_GROUP_CLASSES)}]",
                parameter="logGroupClass",
                value=wanted,
            )
        made = self.logs_backend.create_log_group(name, self._get_param("tags"), kmsKeyId=self._get_param("kmsKeyId"))
        made.log_group_class = wanted
        if wanted == "DELIVERY":
            made.retention_in_days = DELIVERY_RETENTION_DAYS
        return ""

    def describe_with_class(self: Any) -> dict[str, Any]:
        return {
            **describe(self),
            "logGroupClass": getattr(self, "log_group_class", LOG_GROUP_CLASSES[0]),
            "metricFilterCount": getattr(self, "metric_filter_count", 0),
        }

    response.create_log_group = create
    group.to_describe_dict = describe_with_class


def _metric_filters() -> None:
    """moto takes filters of log groups there are not, keeps those of deleted ones, and counts none."""
    from moto.logs.exceptions import ResourceNotFoundException
    from moto.logs.models import LogsBackend

    backend: Any = LogsBackend
    put, describe, delete = backend.put_metric_filter, backend.describe_log_groups, backend.delete_log_group

    def of_group(self: Any, log_group_name: str) -> Any:
        return self.filters.get_matching_filters(log_group_name=log_group_name)

    def put_metric_filter(
        self: Any, filter_name: str, filter_pattern: str, log_group_name: str, metric_transformations: Any
    ) -> None:
        if log_group_name not in self.groups:
            raise ResourceNotFoundException()
        put(self, filter_name, filter_pattern, log_group_name, metric_transformations)

    def describe_log_groups(self: Any, *arguments: Any, **named: Any) -> Any:
        groups, token = describe(self, *arguments, **named)
        for found in groups:
            found.metric_filter_count = len(of_group(self, found.name))
        return groups, token

    def delete_log_group(self: Any, log_group_name: str) -> None:
        delete(self, log_group_name)
        for found in list(of_group(self, log_group_name)):
            self.filters.delete_filter(found["filterName"], log_group_name)

    backend.put_metric_filter = put_metric_filter
    backend.describe_log_groups = describe_log_groups
    backend.delete_log_group = delete_log_group


def _topic_attributes() -> None:
    """moto takes every attribute of a topic, and shows only some."""
    from moto.sns.exceptions import SNSInvalidParameter
    from moto.sns.models import SNSBackend
    from moto.sns.responses import SNSResponse

    response: Any = SNSResponse
    backend: Any = SNSBackend
    show, create, change = response.get_topic_attributes, backend.create_topic, response.set_topic_attributes

    def check(name: str, value: str) -> None:
        if name not in _TOPIC_ATTRIBUTES:
            raise SNSInvalidParameter(f"Invalid parameter: AttributeName: {name}")
        if value not in _TOPIC_VALUES.get(name, (value,)):
            raise SNSInvalidParameter(f"Invalid parameter: Attributes Reason: {name}: Invalid value [{value}]")

    def get_topic_attributes(self: Any) -> Any:
        answer = show(self)
        topic = self.backend.get_topic(self._get_param("TopicArn"))
        for name, field in _SHOWN_TOPIC_ATTRIBUTES.items():
            if getattr(topic, field, None):
                answer.result["Attributes"][name] = getattr(topic, field)
        return answer

    def set_topic_attributes(self: Any) -> Any:
        check(self._get_param("AttributeName"), self._get_param("AttributeValue"))
        return change(self)

    def create_topic(
        self: Any, name: str, attributes: dict[str, str] | None = None, tags: dict[str, str] | None = None
    ) -> Any:
        for attribute, value in (attributes or {}).items():
            check(attribute, value)
        return create(self, name, attributes, tags)

    response.get_topic_attributes = get_topic_attributes
    response.set_topic_attributes = set_topic_attributes
    backend.create_topic = create_topic
