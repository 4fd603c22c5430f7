"""AWS::CloudWatch alarms and dashboards, AWS::Logs groups, AWS::Events rules."""

from __future__ import annotations

from typing import Any, ClassVar

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    as_policy,
    error_code,
    same,
    selected,
    unless_gone,
)
from multiaz.cloud.stacks.resources.kms import check_key

_ALARM_GONE = frozenset({"ResourceNotFound", "ResourceNotFoundException"})
_ACTIONS = same("ActionsEnabled", "AlarmActions", "OKActions", "InsufficientDataActions", "AlarmDescription")


class _AnyAlarm(Handler):
    """What metric and composite alarms share; putting an alarm twice is harmless."""

    attributes = frozenset({"Arn"})
    gone = _ALARM_GONE
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


class CompositeAlarm(_AnyAlarm):
    """AWS::CloudWatch::CompositeAlarm."""

    type = "AWS::CloudWatch::CompositeAlarm"
    operation = "put_composite_alarm"
    parameters: ClassVar[dict[str, str]] = {**_ACTIONS, **same("AlarmRule")}
    properties = frozenset({"AlarmName", "Tags", *parameters})


class Dashboard(Handler):
    """AWS::CloudWatch::Dashboard."""

    type = "AWS::CloudWatch::Dashboard"
    properties = frozenset({"DashboardName", "DashboardBody"})
    gone = frozenset({"ResourceNotFound", "DashboardNotFoundError", "ResourceNotFoundException"})

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
    gone = frozenset({"ResourceNotFoundException"})

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
        logs, name = call.client("logs"), self._name(call)
        if self.existing(call) is None and "FilterName" in call.properties:
            self.refuse_existing(call, name, self._exists(call))
        transformations = []
        for given in call.properties["MetricTransformations"]:
            taken = selected(given, self._TRANSFORMATION)
            if "Dimensions" in given:
                taken["dimensions"] = {entry["Key"]: entry["Value"] for entry in given["Dimensions"]}
            transformations.append(taken)
        logs.put_metric_filter(
            logGroupName=call.properties["LogGroupName"],
            filterName=name,
            filterPattern=call.properties["FilterPattern"],
            metricTransformations=transformations,
        )
        return Made(name)

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
        arguments = selected(call.properties, self._PARAMETERS)
        if "EventPattern" in call.properties:
            arguments["EventPattern"] = as_policy(call.properties["EventPattern"])
        arn = events.put_rule(Name=name, Tags=call.tags(), **arguments)["RuleArn"]
        call.made(name)
        if call.get("Targets"):
            events.put_targets(Rule=name, Targets=call.properties["Targets"], **self._bus(call))
        return Made(name, {"Arn": arn, "RuleName": name})

    def delete(self, call: Call) -> None:
        """Remove targets and rule."""
        events, name = call.client("events"), call.physical_id
        ids = [target["Id"] for target in call.get("Targets", [])]
        if ids and not unless_gone(self.gone, events.remove_targets, Rule=name, Ids=ids, **self._bus(call)):
            return
        unless_gone(self.gone, events.delete_rule, Name=name, **self._bus(call))


HANDLERS: tuple[Handler, ...] = (Alarm(), CompositeAlarm(), Dashboard(), LogGroup(), MetricFilter(), Rule())
