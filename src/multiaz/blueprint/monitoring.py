"""Topic, alarms, event subscription: whatever happens reaches somebody."""

from __future__ import annotations

from typing import Any

from troposphere import FindInMap, Ref, Sub, cloudwatch, rds, sns

from multiaz.blueprint.alarms import ALARMS, PERIOD_S, Alarm
from multiaz.blueprint.dashboard import dashboard_body
from multiaz.blueprint.expressions import SAME_ACCOUNT, key_arn, policy, statement, tags
from multiaz.blueprint.instance_classes import GIB
from multiaz.blueprint.members import Member, members
from multiaz.blueprint.parameters import CLASS_MAP
from multiaz.blueprint.settings import Settings

TOPIC = "AlarmTopic"

COMPARISON = {"above": "GreaterThanThreshold", "below": "LessThanThreshold"}


def monitoring(s: Settings) -> list[Any]:
    """Everything that watches and tells."""
    alarms = [resource for alarm in ALARMS for resource in _alarms(alarm, s)]
    return [*_topic(), *alarms, _events(s), _dashboard(s)]


def _topic() -> list[Any]:
    return [
        sns.Topic(
            TOPIC,
            KmsMasterKeyId=key_arn(),
            Tags=tags("db-alarms"),
        ),
        sns.TopicPolicy(
            f"{TOPIC}Policy",
            Topics=[Ref(TOPIC)],
            PolicyDocument=policy(
                statement(
                    "AlarmsAndEventsPublish",
                    ["sns:Publish"],
                    Ref(TOPIC),
                    Principal={"Service": ["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"]},
                    Condition=SAME_ACCOUNT,
                ),
                {
                    "Sid": "RefusePlainHTTP",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": Ref(TOPIC),
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ),
        ),
        sns.SubscriptionResource(
            f"{TOPIC}Email",
            Condition="NotifyByEmail",
            TopicArn=Ref(TOPIC),
            Protocol="email",
            Endpoint=Ref("AlarmEmail"),
        ),
    ]


def _alarms(alarm: Alarm, s: Settings) -> list[Any]:
    if alarm.percent_of_storage:
        watched = [(alarm.logical_ids(s)[0], "the instance with least", members(s)[0], _storage_share(alarm, s))]
    else:
        watched = [(alarm.logical_id(m), m.label, m, _plain_metric(alarm, m)) for m in alarm.members(s)]
    # CloudWatch's default for missing data is "missing": only the other choice is written.
    missing = {} if alarm.missing == "missing" else {"TreatMissingData": alarm.missing}
    return [
        cloudwatch.Alarm(
            logical_id,
            AlarmDescription=f"{who}: {alarm.meaning}",
            **metric,
            EvaluationPeriods=alarm.minutes,
            Threshold=_threshold(alarm, member),
            ComparisonOperator=COMPARISON[alarm.direction],
            **missing,
            AlarmActions=[Ref(TOPIC)],
            OKActions=[Ref(TOPIC)],
        )
        for logical_id, who, member, metric in watched
    ]


def _threshold(alarm: Alarm, member: Member) -> Any:
    if isinstance(alarm.threshold, str):
        return FindInMap(CLASS_MAP, Ref(member.class_parameter), alarm.threshold)
    return alarm.threshold


def _plain_metric(alarm: Alarm, member: Member) -> dict[str, Any]:
    percentile = alarm.statistic.startswith("p")
    return {
        "Namespace": "AWS/RDS",
        "MetricName": alarm.metric,
        "Dimensions": [_dimension(member)],
        "ExtendedStatistic" if percentile else "Statistic": alarm.statistic,
        "Period": PERIOD_S,
    }


def _storage_share(alarm: Alarm, s: Settings) -> dict[str, Any]:
    """Percent of the allocated storage: only metric math can divide by a parameter."""
    ids = [f"m{number}" for number in range(1, len(alarm.members(s)) + 1)]
    return {
        "Metrics": [
            cloudwatch.MetricDataQuery(
                Id="percent", Expression=Sub(f"100 * MIN([{', '.join(ids)}]) / (${{AllocatedStorage}} * {GIB})")
            ),
            *(
                cloudwatch.MetricDataQuery(
                    Id=name,
                    MetricStat=cloudwatch.MetricStat(
                        Metric=cloudwatch.Metric(
                            Namespace="AWS/RDS", MetricName=alarm.metric, Dimensions=[_dimension(member)]
                        ),
                        Period=PERIOD_S,
                        Stat=alarm.statistic,
                    ),
                    ReturnData=False,
                )
                for name, member in zip(ids, alarm.members(s), strict=True)
            ),
        ]
    }


def _dimension(member: Member) -> Any:
    return cloudwatch.MetricDimension(Name="DBInstanceIdentifier", Value=Ref(member.logical_id))


def _events(s: Settings) -> Any:
    """Every category. RDS checks that it may publish when this is made: the topic's policy must be there."""
    return rds.EventSubscription(
        "InstanceEvents",
        DependsOn=f"{TOPIC}Policy",
        SnsTopicArn=Ref(TOPIC),
        SourceType="db-instance",
        SourceIds=[Ref(member.logical_id) for member in members(s)],
    )


def _dashboard(s: Settings) -> Any:
    return cloudwatch.Dashboard("Dashboard", DashboardBody=Sub(dashboard_body(s)))
