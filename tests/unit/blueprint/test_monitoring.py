"""Alarms, composite alarms, events, dashboard and logs: everything that matters rings, and in the right unit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from multiaz.blueprint import settings_from, synthesize, to_yaml
from multiaz.blueprint.alarms import ALARMS, Alarm
from multiaz.blueprint.composites import COMPOSITES, MAX_ALARMS_OF_A_RULE, MAX_RULE_LENGTH
from multiaz.blueprint.dashboard import GRAPHS, MAX_ALARMS_OF_A_WIDGET, RUNBOOK
from multiaz.blueprint.event_subscriptions import SUBSCRIPTIONS
from multiaz.blueprint.explanation import tables
from multiaz.blueprint.instance_classes import INSTANCE_CLASSES
from multiaz.blueprint.rds_metrics import UNITS
from multiaz.rules import lint

MIB = 1024**2
REPLICAS = (0, 1, 2, 15)
INSTANCES = ("PrimaryDB", "ReadReplica1", "ReadReplica2")
TOPIC = [{"Ref": "AlarmTopic"}]
BY_NAME = {alarm.name: alarm for alarm in ALARMS}
KEY = {"Fn::If": ["CreateKMSKey", {"Fn::GetAtt": ["DBEncryptionKey", "Arn"]}, {"Ref": "KMSKeyARN"}]}


def of_type(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: r["Properties"] for name, r in document["Resources"].items() if r["Type"] == kind}


def metric_alarms(document: dict[str, Any]) -> dict[str, Any]:
    return of_type(document, "AWS::CloudWatch::Alarm")


def composite_alarms(document: dict[str, Any]) -> dict[str, Any]:
    return of_type(document, "AWS::CloudWatch::CompositeAlarm")


def watched(alarm: dict[str, Any]) -> tuple[str, str]:
    """Metric and logical id of the instance, of a plain alarm or of one with metric math."""
    plain = alarm if "MetricName" in alarm else alarm["Metrics"][1]["MetricStat"]["Metric"]
    (dimension,) = plain["Dimensions"]
    assert dimension["Name"] == "DBInstanceIdentifier"
    return plain["MetricName"], dimension["Value"]["Ref"]


@pytest.fixture(scope="session")
def sized() -> dict[int, dict[str, Any]]:
    """The template by number of read replicas."""
    return {number: synthesize(settings_from({"read_replicas": number})).to_dict() for number in REPLICAS}


# What is watched


RECOMMENDED = [
    ("CPU", "CPUUtilization", "Average", "above", 90, 5, "breaching"),
    ("Connections", "DatabaseConnections", "Average", "above", "ConnectionsAlarm", 5, "breaching"),
    ("Memory", "FreeableMemory", "Average", "below", "MemoryAlarm", 15, "breaching"),
    ("Storage", "FreeStorageSpace", "Minimum", "below", 10, 5, "breaching"),
    ("TransactionIds", "MaximumUsedTransactionIDs", "Average", "above", 1_000_000_000, 1, "missing"),
    ("ReadLatency", "ReadLatency", "p90", "above", 0.02, 5, "missing"),
    ("WriteLatency", "WriteLatency", "p90", "above", 0.02, 5, "missing"),
    ("Lag", "ReplicaLag", "Maximum", "above", 60, 10, "breaching"),
    ("Load", "DBLoad", "Average", "above", "VCPU", 15, "missing"),
    ("ByteBalance", "EBSByteBalance%", "Average", "below", 10, 3, "missing"),
    ("OperationBalance", "EBSIOBalance%", "Average", "below", 10, 3, "missing"),
]


@pytest.mark.parametrize("row", RECOMMENDED, ids=lambda row: row[0])
def test_what_aws_recommends_is_watched_as_aws_recommends_it(row: tuple[Any, ...]) -> None:
    """Source: CloudWatch user guide, "Recommended alarms", Amazon RDS."""
    found = BY_NAME[row[0]]
    told = (found.metric, found.statistic, found.direction, found.threshold, found.minutes, found.missing)
    assert told == row[1:]


def test_replica_lag_and_latency_are_in_seconds_and_memory_in_bytes(document: dict[str, Any]) -> None:
    """A lag of 30000 "milliseconds" would never ring."""
    thresholds = {name: alarm["Threshold"] for name, alarm in metric_alarms(document).items()}
    assert thresholds["ReadReplica1LagAlarm"] == thresholds["ReadReplica2LagAlarm"] == 60
    assert thresholds["PrimaryDBReadLatencyAlarm"] == thresholds["ReadReplica1WriteLatencyAlarm"] == 0.02
    assert thresholds["PrimaryDBSwapAlarm"] == 256 * MIB
    assert document["Mappings"]["InstanceClass"]["db.m5.large"]["MemoryAlarm"] == 2 * 1024 * MIB


def test_a_slot_rings_half_way_to_where_postgresql_gives_it_up(document: dict[str, Any]) -> None:
    limit_mb = document["Resources"]["DBParameterGroup"]["Properties"]["Parameters"]["max_slot_wal_keep_size"]
    volume_mb = document["Parameters"]["AllocatedStorage"]["Default"] * 1024
    alarm = metric_alarms(document)["PrimaryDBSlotLagAlarm"]
    assert "${AllocatedStorage}" in str(alarm["Metrics"])
    assert alarm["Threshold"] / 100 == int(limit_mb) / volume_mb / 2


def test_every_metric_is_one_rds_publishes_for_postgresql() -> None:
    used = {alarm.metric for alarm in ALARMS} | {graph.metric for graph in GRAPHS}
    assert used == set(UNITS), "one without a use, or without a unit"


@pytest.mark.parametrize("replicas", REPLICAS)
def test_every_instance_is_watched_on_every_metric_that_is_its_own(
    replicas: int, sized: dict[int, dict[str, Any]]
) -> None:
    found = {watched(alarm) for alarm in metric_alarms(sized[replicas]).values()}
    readers = [f"ReadReplica{number}" for number in range(1, replicas + 1)]
    of_all = {
        *("CPUUtilization", "DBLoad", "DatabaseConnections", "FreeableMemory", "SwapUsage", "FreeStorageSpace"),
        *("ReadLatency", "WriteLatency", "DiskQueueDepth", "EBSByteBalance%", "EBSIOBalance%"),
    }
    of_primary = {"OldestReplicationSlotLag", "TransactionLogsDiskUsage", "MaximumUsedTransactionIDs"}
    expected = set(product(of_all, ("PrimaryDB", *readers))) | set(product(of_primary, ("PrimaryDB",)))
    assert found == expected | set(product(("ReplicaLag",), readers))


def test_all_minutes_of_an_alarm_must_be_bad(document: dict[str, Any]) -> None:
    assert all("DatapointsToAlarm" not in alarm for alarm in metric_alarms(document).values())
    plain = [alarm for alarm in metric_alarms(document).values() if "Metrics" not in alarm]
    assert {alarm["Period"] for alarm in plain} == {60}


def test_storage_is_judged_for_each_instance_and_warned_of_before_autoscaling_begins(document: dict[str, Any]) -> None:
    for name in INSTANCES:
        early, late = (metric_alarms(document)[f"{name}{kind}Alarm"] for kind in ("StorageWarning", "Storage"))
        for alarm in (early, late):
            share, of = alarm["Metrics"]
            assert share["Expression"] == {"Fn::Sub": "100 * bytes / (${AllocatedStorage} * 1073741824)"}
            assert (of["Id"], of["ReturnData"], of["MetricStat"]["Stat"]) == ("bytes", False, "Minimum")
            assert watched(alarm) == ("FreeStorageSpace", name)
        assert (early["Threshold"], late["Threshold"]) == (20, 10)


def test_metric_math_stays_within_ten_metrics(sized: dict[int, dict[str, Any]]) -> None:
    """Source: CloudWatch user guide, "CloudWatch service quotas"; one alarm over all readers would exceed it."""
    assert all(len(alarm.get("Metrics", [])) <= 10 for alarm in metric_alarms(sized[15]).values())


def test_thresholds_follow_the_class_of_the_instance(document: dict[str, Any]) -> None:
    columns = {"Connections": "ConnectionsAlarm", "Memory": "MemoryAlarm", "Load": "VCPU"}
    for (name, column), instance in product(columns.items(), INSTANCES):
        parameter = "DBInstanceClass" if instance == "PrimaryDB" else "ReadReplicaInstanceClass"
        threshold = metric_alarms(document)[f"{instance}{name}Alarm"]["Threshold"]
        assert threshold == {"Fn::FindInMap": ["InstanceClass", {"Ref": parameter}, column]}
    for parameter in ("DBInstanceClass", "ReadReplicaInstanceClass"):
        assert set(document["Parameters"][parameter]["AllowedValues"]) <= set(document["Mappings"]["InstanceClass"])
    for name, facts in INSTANCE_CLASSES.items():
        assert document["Mappings"]["InstanceClass"][name]["VCPU"] == facts.vcpu


def test_every_alarm_tells_the_topic_when_it_rings_and_when_it_ends(document: dict[str, Any]) -> None:
    found = metric_alarms(document) | composite_alarms(document)
    assert len(found) > 40
    assert [n for n, a in found.items() if a["AlarmActions"] != TOPIC or a["OKActions"] != TOPIC] == []
    assert all("InsufficientDataActions" not in a for a in found.values()), "classes that do not burst have no data"


def test_every_description_begins_with_its_severity_and_names_the_instance(document: dict[str, Any]) -> None:
    """A subscription can choose by that prefix."""
    for name, alarm in metric_alarms(document).items():
        severity, label, meaning = alarm["AlarmDescription"].split(": ", 2)
        assert severity in {"critical", "warning"}
        assert label.replace("replica ", "ReadReplica").replace("primary", "PrimaryDB") == watched(alarm)[1], name
        assert meaning
    assert all(a["AlarmDescription"].startswith("critical: ") for a in composite_alarms(document).values())


def test_one_reader_wakes_nobody() -> None:
    s = settings_from({})
    severities = {alarm.severity_of(m) for alarm in ALARMS for m in alarm.members(s) if not m.is_primary}
    assert severities == {"warning"}


def test_silence_is_told_from_a_bad_figure(document: dict[str, Any]) -> None:
    """With data there is a sample a minute, so only the absence of data breaches."""
    alarm = metric_alarms(document)["PrimaryDBSilentAlarm"]
    assert (alarm["Statistic"], alarm["Threshold"], alarm["ComparisonOperator"]) == (
        *("SampleCount", 1, "LessThanThreshold"),
    )
    assert alarm["TreatMissingData"] == "breaching"


# Composite alarms


def evaluate(rule: str, ringing: set[str]) -> bool:
    """The rule as CloudWatch would judge it, when these alarms ring."""
    words = re.sub(r'ALARM\("\$\{(\w+)\}"\)', lambda found: str(found[1] in ringing), rule)
    assert re.fullmatch(r"(True|False|AND|OR|[()\s])*", words)
    return bool(eval(" ".join(words.split()).replace("AND", "and").replace("OR", "or")))


def rule_of(document: dict[str, Any], name: str) -> str:
    return str(composite_alarms(document)[name]["AlarmRule"]["Fn::Sub"])


READERS = ("ReadReplica1", "ReadReplica2")


@pytest.mark.parametrize(
    ("ringing", "down"),
    [
        ("", False),
        ("PrimaryDBSilentAlarm", True),
        ("PrimaryDBStorageFullAlarm", True),
        ("PrimaryDBStorageAlarm PrimaryDBStorageWarningAlarm", False),
        ("PrimaryDBCPUAlarm PrimaryDBLoadAlarm PrimaryDBMemoryAlarm", False),
        ("PrimaryDBConnectionsAlarm", False),
        ("PrimaryDBConnectionsAlarm PrimaryDBLoadAlarm", True),
        ("PrimaryDBConnectionsAlarm PrimaryDBCPUAlarm", True),
        ("ReadReplica1SilentAlarm", False),
        ("ReadReplica1SilentAlarm ReadReplica2SilentAlarm", True),
        ("ReadReplica1LagAlarm ReadReplica2LagAlarm", False),
    ],
)
def test_the_shop_is_down_when_it_cannot_sell_or_show(document: dict[str, Any], ringing: str, down: bool) -> None:
    assert evaluate(rule_of(document, "ShopDownAlarm"), set(ringing.split())) is down


@pytest.mark.parametrize("lagging", [(), READERS[:1], READERS])
def test_readers_are_stale_when_none_is_current(document: dict[str, Any], lagging: tuple[str, ...]) -> None:
    ringing = {f"{name}LagAlarm" for name in lagging}
    assert evaluate(rule_of(document, "ReadersStaleAlarm"), ringing) is (lagging == READERS)


@pytest.mark.parametrize("replicas", REPLICAS)
def test_a_rule_names_only_alarms_that_exist_and_stays_within_cloudwatchs_limits(
    replicas: int, sized: dict[int, dict[str, Any]]
) -> None:
    s, document = settings_from({"read_replicas": replicas}), sized[replicas]
    found = composite_alarms(document)
    assert set(found) == ({"ShopDownAlarm", "ReadersStaleAlarm"} if replicas else {"ShopDownAlarm"})
    for composite in COMPOSITES:
        if composite.logical_id in found:
            rule = rule_of(document, composite.logical_id)
            named = set(re.findall(r"\$\{(\w+)\}", rule))
            assert named == set(composite.alarm_ids(s))
            assert named <= set(metric_alarms(document))
            assert len(named) <= MAX_ALARMS_OF_A_RULE
            longest = re.sub(r"\$\{\w+\}", "x" * 255, rule)
            assert len(longest) <= MAX_RULE_LENGTH, "even if every alarm had the longest name there is"


def test_every_cause_has_its_reason() -> None:
    assert all(cause.reason for composite in COMPOSITES for cause in composite.causes)


# Events


def test_events_security_hub_asks_for_reach_the_topic(document: dict[str, Any]) -> None:
    """Source: AWS Security Hub user guide, RDS.20, RDS.21, RDS.22."""
    found = of_type(document, "AWS::RDS::EventSubscription")
    by_type = {p["SourceType"]: set(p["EventCategories"]) for p in found.values()}
    assert by_type["db-instance"] >= {"maintenance", "configuration change", "failure"}
    assert by_type["db-parameter-group"] >= {"configuration change"}
    assert by_type["db-security-group"] >= {"configuration change", "failure"}
    for name, p in found.items():
        assert p["SnsTopicArn"] == TOPIC[0]
        assert "Enabled" not in p, "enabled is the default"
        assert document["Resources"][name]["DependsOn"] == "AlarmTopicPolicy", "RDS checks that it may publish"


def test_what_a_person_must_know_is_told_and_daily_routine_is_not() -> None:
    (instances,) = (s for s in SUBSCRIPTIONS if s.source_type == "db-instance")
    told = {category.name for category in instances.categories}
    assert {"failover", "failure", "low storage", "read replica", "deletion", "recovery", "availability"} <= told
    assert told.isdisjoint({"backup", "creation", "backtrack"})


@pytest.mark.parametrize("replicas", REPLICAS)
def test_events_are_of_this_stacks_instances_and_groups(replicas: int, sized: dict[int, dict[str, Any]]) -> None:
    found = of_type(sized[replicas], "AWS::RDS::EventSubscription")
    instances = [{"Ref": name} for name in of_type(sized[replicas], "AWS::RDS::DBInstance")]
    groups = [{"Ref": name} for name in of_type(sized[replicas], "AWS::RDS::DBParameterGroup")]
    assert found["InstanceEvents"]["SourceIds"] == instances
    assert found["ParameterGroupEvents"]["SourceIds"] == groups
    assert "SourceIds" not in found["SecurityGroupEvents"] | found["SnapshotEvents"]


def test_alarms_and_events_may_publish_over_tls_only(document: dict[str, Any]) -> None:
    allowed, denied = of_type(document, "AWS::SNS::TopicPolicy")["AlarmTopicPolicy"]["PolicyDocument"]["Statement"]
    services = {"cloudwatch.amazonaws.com", "events.rds.amazonaws.com"}
    assert (allowed["Effect"], set(allowed["Principal"]["Service"])) == ("Allow", services)
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert (denied["Effect"], denied["Principal"]) == ("Deny", "*")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    key = of_type(document, "AWS::KMS::Key")["DBEncryptionKey"]["KeyPolicy"]["Statement"]
    admitted = [s for s in key if s["Principal"].get("Service") in list(services)]
    assert len(admitted) == 2
    assert all({"kms:Decrypt", "kms:GenerateDataKey*"} <= set(s["Action"]) for s in admitted)


# Dashboard


def body_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The widgets, once CloudFormation has put values for the variables."""
    match of_type(document, "AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]:
        case {"Fn::Sub": [str(text), dict(variables)]}:
            for number, (name, value) in enumerate(variables.items()):
                assert list(value) == ["Fn::FindInMap"]
                text = text.replace(f"${{{name}}}", str(1000 + number))
        case {"Fn::Sub": str(text)}:
            pass
    assert "${!" not in text
    known = {*document["Resources"], *document["Parameters"], "AWS::Region", "AWS::StackName"}
    assert {name.removesuffix(".Arn") for name in re.findall(r"\$\{([^}]*)\}", text)} <= known
    widgets: list[dict[str, Any]] = json.loads(text)["widgets"]
    return widgets


def graphs_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {w["properties"]["title"]: w["properties"] for w in body_of(document) if w["type"] == "metric"}


@pytest.mark.parametrize("replicas", REPLICAS)
def test_the_dashboard_lists_every_alarm_and_stays_within_cloudwatchs_limits(
    replicas: int, sized: dict[int, dict[str, Any]]
) -> None:
    widgets = body_of(sized[replicas])
    lists = [w["properties"]["alarms"] for w in widgets if w["type"] == "alarm"]
    listed = [arn.removeprefix("${").removesuffix(".Arn}") for arns in lists for arn in arns]
    assert sorted(listed) == sorted({**metric_alarms(sized[replicas]), **composite_alarms(sized[replicas])})
    assert all(1 <= len(arns) <= MAX_ALARMS_OF_A_WIDGET for arns in lists)
    assert len(widgets) <= 500
    assert all(len(graph["metrics"]) <= 500 for graph in graphs_of(sized[replicas]).values())


def test_composites_come_first_and_critical_alarms_before_warnings(document: dict[str, Any]) -> None:
    titles = [w["properties"]["title"] for w in body_of(document) if w["type"] == "alarm"]
    assert titles == ["ecommerce-db ${EnvironmentSuffix}: is the shop up?", "Critical", "Warning"]
    assert body_of(document)[0]["properties"]["alarms"] == ["${ShopDownAlarm.Arn}", "${ReadersStaleAlarm.Arn}"]


@pytest.mark.parametrize("replicas", REPLICAS)
def test_every_graph_draws_its_instances_and_names_its_unit(replicas: int, sized: dict[int, dict[str, Any]]) -> None:
    found = graphs_of(sized[replicas])
    drawn = [graph for graph in GRAPHS if graph.members(settings_from({"read_replicas": replicas}))]
    assert len(found) == len(drawn) == (len(GRAPHS) if replicas else len(GRAPHS) - 1)
    for graph, properties in zip(drawn, found.values(), strict=True):
        assert graph.unit.split()[0] in properties["title"].lower()
        lines = [line for line in properties["metrics"] if "expression" not in line[0]]
        expected = [f"${{{m.logical_id}}}" for m in graph.members(settings_from({"read_replicas": replicas}))]
        assert [next(word for word in line if str(word).startswith("${")) for line in lines] == expected


def test_graphs_draw_the_thresholds_of_their_alarms(document: dict[str, Any]) -> None:
    def values(title: str) -> list[Any]:
        return [line["value"] for line in graphs_of(document)[title]["annotations"]["horizontal"]]

    assert values("CPU, percent") == [90]
    assert values("Replica lag, seconds") == [60]
    assert values("Free storage, percent of the allocated") == [20, 10, 1]
    of_class = values("Active sessions, sessions") + values("Connections") + values("Freeable memory, bytes")
    assert sorted(of_class) == list(range(1000, 1006)), "one for the primary, one for readers, from the class mapping"


def test_the_runbook_beside_the_alarms_names_outputs_that_exist(document: dict[str, Any]) -> None:
    (text,) = (w["properties"]["markdown"] for w in body_of(document) if w["type"] == "text")
    named = re.findall(r"`(\w+)`", text)
    assert named == list(RUNBOOK)
    assert set(named) <= set(document["Outputs"])


def test_alarms_now_includes_the_composite_ones(document: dict[str, Any]) -> None:
    command = document["Outputs"]["AlarmsCommand"]["Value"]["Fn::Sub"]
    assert "--alarm-types CompositeAlarm MetricAlarm" in command


# The whole


@pytest.mark.long
@pytest.mark.parametrize("replicas", [0, 15])
def test_cfn_lint_is_silent_with_the_fewest_and_the_most_readers(
    replicas: int, decode: Callable[[str], Any], sized: dict[int, dict[str, Any]]
) -> None:
    text = to_yaml(settings_from({"read_replicas": replicas}))
    assert [finding.as_text() for finding in lint(text)] == []
    assert decode(text) == sized[replicas]
    assert len(text.encode()) < 1_000_000
    assert len(sized[replicas]["Resources"]) <= 500


def test_the_explanation_tells_every_alarm_cause_and_event() -> None:
    told = {table.title: table.rows for table in tables(settings_from({}))}
    assert [row[0] for row in told["Alarms"]] == [alarm.name for alarm in ALARMS]
    assert len(told["Composite alarms"]) == sum(len(composite.causes) for composite in COMPOSITES)
    assert len(told["Event subscriptions"]) == sum(len(s.categories) for s in SUBSCRIPTIONS)
    assert not [row for row in told["Event subscriptions"] if not all(row)]


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_every_alarm_has_a_unit_and_a_meaning(alarm: Alarm) -> None:
    assert alarm.unit
    assert alarm.meaning[0].islower() or alarm.meaning.startswith(("CPU", "WAL"))


# Logs


def test_log_groups_exist_before_rds_would_make_its_own(document: dict[str, Any]) -> None:
    """Those never expire, and outlive the stack."""
    by_name = {p["LogGroupName"]["Fn::Sub"]: name for name, p in of_type(document, "AWS::Logs::LogGroup").items()}
    for name in INSTANCES:
        instance = document["Resources"][name]
        identifier = instance["Properties"]["DBInstanceIdentifier"]["Fn::Sub"]
        expected = {
            by_name[f"/aws/rds/instance/{identifier}/{log}"]
            for log in instance["Properties"]["EnableCloudwatchLogsExports"]
        }
        assert set(instance["DependsOn"]) == expected


def test_every_log_group_expires_and_is_encrypted_with_the_stacks_key(document: dict[str, Any]) -> None:
    days = 7 if document["Description"].endswith("(preset test)") else 90
    groups = of_type(document, "AWS::Logs::LogGroup")
    assert len(groups) >= 7
    assert {(p["RetentionInDays"], json.dumps(p["KmsKeyId"])) for p in groups.values()} == {(days, json.dumps(KEY))}


def test_every_function_has_a_log_group_of_the_stack(test_stack: dict[str, Any]) -> None:
    names = {p["LogGroupName"]["Fn::Sub"] for p in of_type(test_stack, "AWS::Logs::LogGroup").values()}
    rotation = test_stack["Resources"]["DBSecretRotation"]["Properties"]["HostedRotationLambda"]["RotationLambdaName"]
    assert f"/aws/lambda/{rotation['Fn::Sub']}" in names
    function = of_type(test_stack, "AWS::Lambda::Function")["EmptyBucketFunction"]
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": "EmptyBucketLogs"}}


def test_the_log_group_of_enhanced_monitoring_is_the_accounts(document: dict[str, Any]) -> None:
    assert "RDSOSMetrics" not in json.dumps(document)
