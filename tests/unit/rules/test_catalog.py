"""Each rule finds what breaks it and nothing else, has an id for ever, and survives whatever a template holds."""

from __future__ import annotations

import copy
import importlib
import json
import pkgutil
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cases import Case, cases, template
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multiaz.rules import catalog, rules
from multiaz.rules.checking import check, judge
from multiaz.rules.findings import path_text
from multiaz.rules.reading import URL_LIMIT_BYTES
from multiaz.rules.rule import BUILT_IN, Rule

CASES = list(cases())
MODULES = sorted(info.name for info in pkgutil.iter_modules(catalog.__path__))


def rule_of(module: str) -> Rule:
    found: Rule = importlib.import_module(f"{catalog.__name__}.{module}").RULE
    return found


@pytest.mark.parametrize("case", [c for c in CASES if not c.breaks], ids=str)
def test_what_keeps_a_rule_is_no_finding(case: Case) -> None:
    check_ = rule_of(case.module).check
    assert check_ is not None
    assert [problem.message for problem in check_(template(case.body))] == []


@pytest.mark.parametrize("case", [c for c in CASES if c.breaks], ids=str)
def test_what_breaks_a_rule_is_a_finding_where_it_is(case: Case) -> None:
    check_ = rule_of(case.module).check
    assert check_ is not None
    found = list(check_(template(case.body)))
    assert found
    assert all(problem.message and problem.path[0] in ("Resources", "Outputs") for problem in found)
    if case.at is not None:
        assert [path_text(problem.path) for problem in found] == [case.at]


def test_every_rule_has_cases_that_keep_it_and_cases_that_break_it() -> None:
    assert {c.module for c in CASES if c.breaks} == set(MODULES)
    assert {c.module for c in CASES if not c.breaks} == set(MODULES)


def test_ids_are_unique_and_of_one_form() -> None:
    ids = [rule.id for rule in BUILT_IN] + [rule_of(module).id for module in MODULES]
    assert len(ids) == len(set(ids)) == len(rules())
    assert all(re.fullmatch(r"MAZ[0-9]{3}", id_) for id_ in ids)


def test_an_id_stays_with_its_rule() -> None:
    """Suppressions in templates of others name ids: a new rule gets a new line here, and no line ever changes."""
    stable = dict(line.split() for line in IDS.strip().splitlines())
    assert {module: rule_of(module).id for module in MODULES} == stable


@pytest.mark.parametrize("module", MODULES)
def test_a_rule_says_what_it_asks_for_and_where_that_comes_from(module: str) -> None:
    rule = rule_of(module)
    assert rule.title[0].isupper()
    assert not rule.title.endswith(".")
    assert rule.source
    assert len(set(rule.covers)) == len(rule.covers)


TABLE = """
CKV_AWS_16 RDS_STORAGE_ENCRYPTED AwsSolutions-RDS2 RDS.3 RDS.4 CKV_AWS_17 RDS.2 RDS.46 CKV_AWS_157
RDS_MULTI_AZ_SUPPORT AwsSolutions-RDS3 RDS.5 CKV_AWS_118 RDS_ENHANCED_MONITORING_ENABLED RDS.6 CKV_AWS_161 RDS.10
CKV2_AWS_69 RDS.38 RDS_INSTANCE_LOGGING_ENABLED RDS.9 RDS.36 DB_INSTANCE_BACKUP_ENABLED AwsSolutions-RDS13 RDS.11 RDS.26
RDS_INSTANCE_DELETION_PROTECTION_ENABLED AwsSolutions-RDS10 RDS.8 RDS_AUTOMATIC_MINOR_VERSION_UPGRADE_ENABLED RDS.13
RDS.17 RDS.20 RDS.21 RDS.22 AwsSolutions-RDS11 RDS.23 RDS.25 RDS_MASTER_USER_NAME_NO_PLAINTEXT_PASSWORD CKV_AWS_149
SECRETSMANAGER_USING_CMK SECRETSMANAGER_ROTATION_ENABLED_CHECK AwsSolutions-SMG4 CKV_AWS_7 CKV_AWS_33
KMS_NO_WILDCARD_PRINCIPAL AwsSolutions-KMS5 KMS.4 CKV_AWS_18 CKV_AWS_19 CKV_AWS_20 CKV_AWS_21 CKV_AWS_53 CKV_AWS_54
CKV_AWS_55 CKV_AWS_56 CKV_AWS_57 AwsSolutions-S1 AwsSolutions-S2 AwsSolutions-S10 S3.5 S3.8 S3.9 S3.13 S3.14 S3.15 S3.17
CKV_AWS_26 CKV_AWS_66 CKV_AWS_158 AwsSolutions-SNS3 CLOUDWATCH_ALARM_ACTION_CHECK CKV_AWS_23 AwsSolutions-EC23
AwsSolutions-EC27 AwsSolutions-VPC7 EC2.6 CKV_AWS_40 CKV_AWS_60 CKV_AWS_61 CKV_AWS_62 CKV_AWS_63 CKV_AWS_107 CKV_AWS_108
CKV_AWS_109 CKV_AWS_110 CKV_AWS_111 IAM_NO_INLINE_POLICY_CHECK AwsSolutions-IAM4 AwsSolutions-IAM5
"""
"""What checkov, cfn-guard, cdk-nag and Security Hub ask of a stack of this kind."""


def test_every_rule_others_have_for_such_a_stack_is_covered() -> None:
    covered = {id_ for rule in rules().values() for id_ in (*rule.covers, *rule.related)}
    assert set(TABLE.split()) - covered == set()


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _places(value, (*path, index))


NAMES = st.sampled_from(["DB", "R", "A", "B", "S", "G", "AWS::NoValue", "AWS::Region", "Nobody", ""])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES
ARGUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=6
)
FUNCTIONS = st.sampled_from(
    ["Ref", "Fn::If", "Fn::Sub", "Fn::GetAtt", "Fn::Join", "Fn::Select", "Fn::FindInMap", "Fn::Transform", "Condition"]
)
VALUES = ARGUMENTS | st.builds(lambda name, argument: {name: argument}, FUNCTIONS, ARGUMENTS)


@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_template_makes_a_rule_raise(data: st.DataObject) -> None:
    """Any node of any case is replaced by any value, function of CloudFormation, or wrong type."""
    body = copy.deepcopy(data.draw(st.sampled_from(CASES)).body)
    for _ in range(data.draw(st.integers(1, 3))):
        places = [place for place in _places(body["Resources"]) if place]
        if not places:
            break
        *above, last = data.draw(st.sampled_from(places))
        owner = body["Resources"]
        for part in above:
            owner = owner[part]
        owner[last] = data.draw(VALUES)
    body.update(data.draw(st.dictionaries(st.sampled_from(["Parameters", "Metadata", "Outputs"]), VALUES)))
    assert all(finding.message for finding in judge(template(body)))


@pytest.mark.parametrize("path", [("Metadata",), ("Resources", "A", "Metadata")], ids=str)
@given(value=VALUES, tool=st.sampled_from(["multiaz", "checkov", "cdk_nag", "cfn_nag", "guard", "cfn-lint"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_metadata_makes_the_check_raise(path: tuple[str, ...], value: Any, tool: str) -> None:
    body: dict[str, Any] = {"Resources": {"A": {"Type": "AWS::S3::Bucket"}}}
    owner = body
    for part in path[:-1]:
        owner = owner[part]
    owner[path[-1]] = {tool: {"suppress": value, "skip": value, "rules_to_suppress": value, "SuppressedRules": value}}
    report = check(json.dumps(body))
    assert report.findings


def test_our_rules_end_soon_whatever_the_size() -> None:
    """A template of the largest size there is, with as many resources as rules look at."""
    properties = "{{SourceDBInstanceIdentifier: !Ref R{1}, Tags: [{2}]}}"
    one = "  R{0}:\n    Type: AWS::RDS::DBInstance\n    Properties: " + properties + "\n"
    room = URL_LIMIT_BYTES // 500 - 120
    text = "Resources:\n" + "".join(one.format(n, n - 1, "[],{}," * (room // 6)) for n in range(499))
    assert URL_LIMIT_BYTES * 0.9 < len(text) <= URL_LIMIT_BYTES
    began = time.monotonic()
    assert check(text).findings
    assert time.monotonic() - began < 60


IDS = """
alarm_actions MAZ605
connect_policy_instances MAZ305
connect_policy_user MAZ306
db_ingress_from_public_subnet MAZ705
export_role MAZ304
functions_in_text MAZ651
iam_aws_policies MAZ313
iam_no_inline_policy MAZ308
iam_no_star_action MAZ311
iam_no_user_policy MAZ309
iam_scoped_resources MAZ312
iam_trust MAZ310
kms_no_wildcard_principal MAZ402
kms_rotation MAZ401
latency_in_seconds MAZ607
log_group_key MAZ604
log_group_retention MAZ603
memory_in_bytes MAZ608
nat_for_databases MAZ704
rds_apply_immediately_is_said MAZ123
rds_backups MAZ110
rds_copy_tags_to_snapshot MAZ115
rds_customer_key MAZ102
rds_database_insights MAZ127
rds_deletion_protection MAZ112
rds_enhanced_monitoring MAZ106
rds_events_of_instances MAZ116
rds_events_of_parameter_groups MAZ117
rds_events_of_security_groups MAZ118
rds_extended_support MAZ130
rds_force_ssl MAZ108
rds_gp3_limits MAZ124
rds_has_alarms MAZ609
rds_iam_authentication MAZ107
rds_in_backup_plan MAZ111
rds_in_private_subnets MAZ104
rds_log_exports MAZ109
rds_managed_password_without_replicas MAZ122
rds_master_user_name MAZ120
rds_minor_upgrades MAZ113
rds_monitoring_role MAZ129
rds_multi_az MAZ105
rds_no_plaintext_password MAZ121
rds_not_public MAZ103
rds_performance_insights MAZ126
rds_performance_insights_retention MAZ125
rds_pinned_minor_version MAZ114
rds_port MAZ119
rds_storage_autoscaling MAZ128
rds_storage_encrypted MAZ101
replica_has_no_final_snapshot MAZ202
replica_iam_authentication MAZ205
replica_lag_in_seconds MAZ606
replica_limits MAZ209
replica_log_exports MAZ203
replica_multi_az MAZ206
replica_must_not_set MAZ201
replica_parameter_group MAZ204
replica_source_has_backups MAZ207
replica_storage MAZ210
replica_zones MAZ208
s3_access_logs MAZ501
s3_block_public_access MAZ504
s3_can_be_deleted MAZ510
s3_encrypted MAZ502
s3_lifecycle MAZ507
s3_no_public_acl MAZ503
s3_no_public_policy MAZ511
s3_object_lock MAZ508
s3_tls_only MAZ506
s3_versioning MAZ505
secret_attached MAZ303
secret_customer_key MAZ301
secret_rotation MAZ302
sg_not_open MAZ702
sg_rule_descriptions MAZ701
sns_encrypted MAZ601
sns_no_public_policy MAZ610
sns_tls_only MAZ602
vpc_flow_logs MAZ703
"""
