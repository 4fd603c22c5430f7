"""Topic, alarms, event subscriptions, dashboard: whatever happens reaches somebody."""

from __future__ import annotations

from typing import Any

from troposphere import Ref, Sub, cloudwatch, rds, sns

from multiaz.blueprint.alarms import ALARMS, PERIOD_S, Alarm
from multiaz.blueprint.composites import Composite, composites
from multiaz.blueprint.dashboard import dashboard_body
from multiaz.blueprint.event_subscriptions import SUBSCRIPTIONS, Subscription
from multiaz.blueprint.expressions import SAME_ACCOUNT, key_arn, policy, statement, tags
from multiaz.blueprint.instance_classes import GIB
from multiaz.blueprint.members import Member
from multiaz.blueprint.parameters import class_fact
from multiaz.blueprint.rds_metrics import NAMESPACE
from multiaz.blueprint.settings import Settings

TOPIC = "AlarmTopic"

COMPARISON = {"above": "GreaterThanThreshold", "below": "LessThanThreshold"}


def monitoring(s: Settings) -> list[Any]:
    """Topic, alarms with actions on every instance, composite alarms, event subscriptions, dashboard."""
    return [
        *_topic(),
        *(_composite(composite, s) for composite in composites(s)),
        *(_alarm(alarm, member) for alarm in ALARMS for member in alarm.members(s)),
        *(_events(subscription, s) for subscription in SUBSCRIPTIONS if subscription.wanted(s)),
        _dashboard(s),
    ]


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


def _alarm(alarm: Alarm, member: Member) -> Any:
    # CloudWatch's default for missing data is "missing": only the other choice is written.
    missing = {} if alarm.missing == "missing" else {"TreatMissingData": alarm.missing}
    return cloudwatch.Alarm(
        alarm.logical_id(member),
        AlarmDescription=f"{alarm.severity_of(member)}: {member.label}: {alarm.meaning}",
        **(_share_of_storage if alarm.percent_of_storage else _plain_metric)(alarm, member),
        EvaluationPeriods=alarm.minutes,
        Threshold=class_fact(member, alarm.threshold) if isinstance(alarm.threshold, str) else alarm.threshold,
        ComparisonOperator=COMPARISON[alarm.direction],
        **missing,
        **_actions(),
    )


def _composite(composite: Composite, s: Settings) -> Any:
    return cloudwatch.CompositeAlarm(
        composite.logical_id,
        AlarmDescription=f"{composite.severity}: {composite.meaning}",
        AlarmRule=Sub(composite.rule(s)),
        **_actions(),
    )


def _actions() -> dict[str, Any]:
    """Told when it rings and when it ends."""
    return {"AlarmActions": [Ref(TOPIC)], "OKActions": [Ref(TOPIC)]}


def _plain_metric(alarm: Alarm, member: Member) -> dict[str, Any]:
    percentile = alarm.statistic.startswith("p")
    return {
        "Namespace": NAMESPACE,
        "MetricName": alarm.metric,
        "Dimensions": [_dimension(member)],
        "ExtendedStatistic" if percentile else "Statistic": alarm.statistic,
        "Period": PERIOD_S,
    }


def _share_of_storage(alarm: Alarm, member: Member) -> dict[str, Any]:
    """Percent of the allocated storage: only metric math can divide by a parameter."""
    metric = cloudwatch.Metric(Namespace=NAMESPACE, MetricName=alarm.metric, Dimensions=[_dimension(member)])
    return {
        "Metrics": [
            cloudwatch.MetricDataQuery(Id="percent", Expression=Sub(f"100 * bytes / (${{AllocatedStorage}} * {GIB})")),
            cloudwatch.MetricDataQuery(
                Id="bytes",
                MetricStat=cloudwatch.MetricStat(Metric=metric, Period=PERIOD_S, Stat=alarm.statistic),
                ReturnData=False,
            ),
        ]
    }


def _dimension(member: Member) -> Any:
    return cloudwatch.MetricDimension(Name="DBInstanceIdentifier", Value=Ref(member.logical_id))


def _events(subscription: Subscription, s: Settings) -> Any:
    """RDS checks that it may publish when this is made: the topic's policy must be there."""
    sources = [Ref(name) for name in subscription.sources(s)]
    return rds.EventSubscription(
        subscription.logical_id,
        DependsOn=f"{TOPIC}Policy",
        SnsTopicArn=Ref(TOPIC),
        SourceType=subscription.source_type,
        **({"SourceIds": sources} if sources else {}),
        EventCategories=[category.name for category in subscription.categories],
    )


def _dashboard(s: Settings) -> Any:
    body, figures = dashboard_body(s)
    return cloudwatch.Dashboard("Dashboard", DashboardBody=Sub(body, **figures) if figures else Sub(body))
