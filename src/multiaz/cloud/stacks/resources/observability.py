"""AWS::CloudWatch alarms and dashboards, AWS::Logs groups, AWS::Events rules."""

from __future__ import annotations

from typing import Any, ClassVar

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    as_policy,
    changed_tags,
    error_code,
    same,
    selected,
    tag_list,
    unless_gone,
)
from multiaz.cloud.stacks.resources.kms import check_key

_ALARM_GONE = frozenset({"ResourceNotFound", "ResourceNotFoundException"})
_ACTIONS = same("ActionsEnabled", "AlarmActions", "OKActions", "InsufficientDataActions", "AlarmDescription")


class _AnyAlarm(Handler):
    """What metric and composite alarms share; putting an alarm twice is harmless."""

    attributes = frozenset({"Arn"})
    gone = _ALARM_GONE
    named_by = "AlarmName"
    operation: ClassVar[str]
    parameters: ClassVar[dict[str, str]]

    def _name(self, call: Call) -> str:
        return str(call.get("AlarmName") or call.name(255))

    def _arn(self, call: Call) -> str:
        return f"arn:aws:cloudwatch:{call.region}:{call.account_id}:alarm:{self._name(call)}"

    def _exists(self, call: Call) -> bool:
        found = call.client("cloudwatch").describe_alarms(
            AlarmNames=[self._name(call)], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        return bool(found["MetricAlarms"] or found["CompositeAlarms"])

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        if not self._exists(call):
            return None
        tags = call.client("cloudwatch").list_tags_for_resource(ResourceARN=self._arn(call))["Tags"]
        return self._name(call) if call.owns(tags) else None

    def create(self, call: Call) -> Made:
        """Put, unless there is an alarm of that name that is not ours."""
        name = self._name(call)
        if self.existing(call) is None and "AlarmName" in call.properties:
            self.refuse_existing(call, name, self._exists(call))
        getattr(call.client("cloudwatch"), self.operation)(
            AlarmName=name, Tags=call.tags(), **selected(call.properties, self.parameters)
        )
        return Made(name, {"Arn": self._arn(call)})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put again: what is not given is as in a new alarm. Tags apart, as a put does not change those of an alarm."""
        cloudwatch = call.client("cloudwatch")
        if changed - {"Tags"}:
            put = getattr(cloudwatch, self.operation)
            put(AlarmName=call.physical_id, **selected(call.properties, self.parameters))
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            arn = f"arn:aws:cloudwatch:{call.region}:{call.account_id}:alarm:{call.physical_id}"
            if tags:
                cloudwatch.tag_resource(ResourceARN=arn, Tags=tag_list(tags))
            if removed:
                cloudwatch.untag_resource(ResourceARN=arn, TagKeys=removed)
        return None

    def delete(self, call: Call) -> None:
        """Delete."""
        cloudwatch = call.client("cloudwatch")
        unless_gone(_ALARM_GONE, cloudwatch.delete_alarms, AlarmNames=[call.physical_id])


class Alarm(_AnyAlarm):
    """AWS::CloudWatch::Alarm."""

    type = "AWS::CloudWatch::Alarm"
    operation = "put_metric_alarm"
    parameters: ClassVar[dict[str, str]] = {
        **_ACTIONS,
        **same(
            "ComparisonOperator",
            "DatapointsToAlarm",
            "Dimensions",
            "EvaluateLowSampleCountPercentile",
            "EvaluationPeriods",
            "ExtendedStatistic",
            "MetricName",
            "Metrics",
            "Namespace",
            "Period",
            "Statistic",
            "Threshold",
            "ThresholdMetricId",
            "TreatMissingData",
            "Unit",
        ),
    }
    properties = frozenset({"AlarmName", "Tags", *parameters})
    updatable = frozenset({"Tags", *parameters})


class CompositeAlarm(_AnyAlarm):
    """AWS::CloudWatch::CompositeAlarm."""

    type = "AWS::CloudWatch::CompositeAlarm"
    operation = "put_composite_alarm"
    parameters: ClassVar[dict[str, str]] = {**_ACTIONS, **same("AlarmRule")}
    properties = frozenset({"AlarmName", "Tags", *parameters})
    updatable = frozenset({"Tags", *parameters})


class Dashboard(Handler):
    """AWS::CloudWatch::Dashboard."""

    type = "AWS::CloudWatch::Dashboard"
    properties = frozenset({"DashboardName", "DashboardBody"})
    gone = frozenset({"ResourceNotFound", "DashboardNotFoundError", "ResourceNotFoundException"})
    updatable = frozenset({"DashboardBody"})
    named_by = "DashboardName"

    def _name(self, call: Call) -> str:
        return str(call.get("DashboardName") or call.name(255))

    def find(self, call: Call) -> str | None:
        """By name, if it was put after the intent was journalled: dashboards have no tags."""
        name = self._name(call)
        entries = call.client("cloudwatch").list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
        for entry in entries:
            if entry["DashboardName"] == name and entry["LastModified"].timestamp() >= call.since - 1:
                return name
        return None

    def create(self, call: Call) -> Made:
        """Put, unless there is a dashboard of that name that is not ours."""
        name = self._name(call)
        if self.existing(call) is None and "DashboardName" in call.properties:
            entries = call.client("cloudwatch").list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
            self.refuse_existing(call, name, any(entry["DashboardName"] == name for entry in entries))
        call.client("cloudwatch").put_dashboard(
            DashboardName=name, DashboardBody=as_policy(call.properties["DashboardBody"])
        )
        return Made(name)

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put again."""
        body = as_policy(call.properties["DashboardBody"])
        call.client("cloudwatch").put_dashboard(DashboardName=call.physical_id, DashboardBody=body)
        return None

    def delete(self, call: Call) -> None:
        """Delete."""
        cloudwatch = call.client("cloudwatch")
        unless_gone(self.gone, cloudwatch.delete_dashboards, DashboardNames=[call.physical_id])


class LogGroup(Handler):
    """AWS::Logs::LogGroup."""

    type = "AWS::Logs::LogGroup"
    properties = frozenset({"LogGroupName", "LogGroupClass", "KmsKeyId", "RetentionInDays", "Tags"})
    attributes = frozenset({"Arn"})
    gone = frozenset({"ResourceNotFoundException"})
    updatable = frozenset({"RetentionInDays", "Tags"})
    named_by = "LogGroupName"

    def _name(self, call: Call) -> str:
        return str(call.get("LogGroupName") or call.name(512))

    def _arn(self, call: Call, name: str) -> str:
        return f"arn:aws:logs:{call.region}:{call.account_id}:log-group:{name}"

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        name = self._name(call)
        try:
            tags = call.client("logs").list_tags_for_resource(resourceArn=self._arn(call, name))["tags"]
        except ClientError as error:
            if error_code(error) in self.gone:
                return None
            raise
        return name if call.owns([{"Key": key, "Value": text} for key, text in tags.items()]) else None

    def create(self, call: Call) -> Made:
        """Create, then retention."""
        logs, name = call.client("logs"), self._name(call)
        if self.existing(call) is None:
            if "KmsKeyId" in call.properties:
                check_key(call, call.properties["KmsKeyId"])
            logs.create_log_group(
                logGroupName=name,
                tags=call.tag_map(),
                **selected(call.properties, {"KmsKeyId": "kmsKeyId", "LogGroupClass": "logGroupClass"}),
            )
            call.made(name)
        if "RetentionInDays" in call.properties:
            logs.put_retention_policy(logGroupName=name, retentionInDays=call.properties["RetentionInDays"])
        return Made(name, {"Arn": f"{self._arn(call, name)}:*"})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Retention, for ever where the template says nothing any more; tags."""
        logs, name = call.client("logs"), str(call.physical_id)
        if "RetentionInDays" in changed:
            if "RetentionInDays" in call.properties:
                logs.put_retention_policy(logGroupName=name, retentionInDays=call.properties["RetentionInDays"])
            else:
                logs.delete_retention_policy(logGroupName=name)
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            if tags:
                logs.tag_resource(resourceArn=self._arn(call, name), tags=tags)
            if removed:
                logs.untag_resource(resourceArn=self._arn(call, name), tagKeys=removed)
        return None

    def delete(self, call: Call) -> None:
        """Delete with all it holds."""
        logs = call.client("logs")
        unless_gone(self.gone, logs.delete_log_group, logGroupName=call.physical_id)


class MetricFilter(Handler):
    """AWS::Logs::MetricFilter: recorded, as nothing writes into log groups yet. Putting twice is harmless."""

    type = "AWS::Logs::MetricFilter"
    _TRANSFORMATION: ClassVar[dict[str, str]] = {
        "DefaultValue": "defaultValue",
        "MetricName": "metricName",
        "MetricNamespace": "metricNamespace",
        "MetricValue": "metricValue",
        "Unit": "unit",
    }
    properties = frozenset({"FilterName", "FilterPattern", "LogGroupName", "MetricTransformations"})
    updatable = frozenset({"FilterPattern", "MetricTransformations"})
    gone = frozenset({"ResourceNotFoundException"})
    named_by = "FilterName"

    def _name(self, call: Call) -> str:
        return str(call.get("FilterName") or call.name(512))

    def _exists(self, call: Call) -> bool:
        found = call.client("logs").describe_metric_filters(
            logGroupName=call.properties["LogGroupName"], filterNamePrefix=self._name(call)
        )["metricFilters"]
        return any(one["filterName"] == self._name(call) for one in found)

    def find(self, call: Call) -> str | None:
        """By name: filters have no tags."""
        return self._name(call) if self._exists(call) else None

    def create(self, call: Call) -> Made:
        """Put, unless there is a filter of that name that is not ours."""
        name = self._name(call)
        if self.existing(call) is None and "FilterName" in call.properties:
            self.refuse_existing(call, name, self._exists(call))
        self._put(call, name)
        return Made(name)

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put in place of what is there: moto keeps both, where CloudWatch Logs overwrites."""
        logs, name = call.client("logs"), str(call.physical_id)
        group = call.properties["LogGroupName"]
        unless_gone(self.gone, logs.delete_metric_filter, logGroupName=group, filterName=name)
        self._put(call, name)
        return None

    def _put(self, call: Call, name: str) -> None:
        transformations = []
        for given in call.properties["MetricTransformations"]:
            taken = selected(given, self._TRANSFORMATION)
            if "Dimensions" in given:
                taken["dimensions"] = {entry["Key"]: entry["Value"] for entry in given["Dimensions"]}
            transformations.append(taken)
        call.client("logs").put_metric_filter(
            logGroupName=call.properties["LogGroupName"],
            filterName=name,
            filterPattern=call.properties["FilterPattern"],
            metricTransformations=transformations,
        )

    def delete(self, call: Call) -> None:
        """Delete; those of a deleted log group are gone with it."""
        logs = call.client("logs")
        group, name = call.properties["LogGroupName"], call.physical_id
        unless_gone(self.gone, logs.delete_metric_filter, logGroupName=group, filterName=name)


class Rule(Handler):
    """AWS::Events::Rule with targets; putting twice is harmless."""

    type = "AWS::Events::Rule"
    _PARAMETERS = same("ScheduleExpression", "State", "Description", "RoleArn", "EventBusName")
    properties = frozenset({"Name", "EventPattern", "Targets", "Tags", *_PARAMETERS})
    attributes = frozenset({"Arn", "RuleName"})
    gone = frozenset({"ResourceNotFoundException"})
    updatable = properties - {"Name", "EventBusName"}
    named_by = "Name"

    def _bus(self, call: Call) -> dict[str, Any]:
        return selected(call.properties, same("EventBusName"))

    def _name(self, call: Call) -> str:
        return str(call.get("Name") or call.name(64))

    def _exists(self, call: Call) -> bool:
        client = call.client("events")
        return unless_gone(self.gone, client.describe_rule, Name=self._name(call), **self._bus(call))

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        if not self._exists(call):
            return None
        client = call.client("events")
        arn = client.describe_rule(Name=self._name(call), **self._bus(call))["Arn"]
        return self._name(call) if call.owns(client.list_tags_for_resource(ResourceARN=arn)["Tags"]) else None

    def create(self, call: Call) -> Made:
        """Put rule and targets."""
        events, name = call.client("events"), self._name(call)
        if self.existing(call) is None and "Name" in call.properties:
            self.refuse_existing(call, name, self._exists(call))
        arn = events.put_rule(Name=name, Tags=call.tags(), **self._arguments(call))["RuleArn"]
        call.made(name)
        if call.get("Targets"):
            events.put_targets(Rule=name, Targets=call.properties["Targets"], **self._bus(call))
        return Made(name, {"Arn": arn, "RuleName": name})

    def _arguments(self, call: Call) -> dict[str, Any]:
        arguments = selected(call.properties, self._PARAMETERS)
        if "EventPattern" in call.properties:
            arguments["EventPattern"] = as_policy(call.properties["EventPattern"])
        return arguments

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put rule and targets again, remove the targets the template lists no more."""
        events, name = call.client("events"), str(call.physical_id)
        arn = events.put_rule(Name=name, **self._arguments(call))["RuleArn"]
        wanted = {target["Id"] for target in call.get("Targets", [])}
        gone = sorted(target["Id"] for target in old.get("Targets", []) if target["Id"] not in wanted)
        if gone:
            events.remove_targets(Rule=name, Ids=gone, **self._bus(call))
        if wanted:
            events.put_targets(Rule=name, Targets=call.properties["Targets"], **self._bus(call))
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            if tags:
                events.tag_resource(ResourceARN=arn, Tags=tag_list(tags))
            if removed:
                events.untag_resource(ResourceARN=arn, TagKeys=removed)
        return None

    def delete(self, call: Call) -> None:
        """Remove targets and rule."""
        events, name = call.client("events"), call.physical_id
        ids = [target["Id"] for target in call.get("Targets", [])]
        if ids and not unless_gone(self.gone, events.remove_targets, Rule=name, Ids=ids, **self._bus(call)):
            return
        unless_gone(self.gone, events.delete_rule, Name=name, **self._bus(call))


HANDLERS: tuple[Handler, ...] = (Alarm(), CompositeAlarm(), Dashboard(), LogGroup(), MetricFilter(), Rule())
