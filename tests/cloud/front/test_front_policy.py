"""IAM's evaluation rules: a Deny wins, an Allow is needed, and what we cannot tell is never allowed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.policy import Question, evaluate, like, trusts

ROLE = "arn:aws:sts::123456789012:assumed-role/r/s"


def ask(action: str = "rds:DescribeDBInstances", *resources: str, known: bool = True, **context: str) -> Question:
    keys = {key.replace("__", ":").lower(): (value,) for key, value in context.items()}
    return Question(action, (resources or ("*",)) if known else None, keys)


def allow(action: str | list[str] = "*", resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]}


def deny(action: str | list[str] = "*", resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Statement": {"Effect": "Deny", "Action": action, "Resource": resource, **more}}


ACTIONS = st.sampled_from(["rds:DescribeDBInstances", "rds:DeleteDBInstance", "s3:GetObject", "kms:Decrypt"])
PATTERNS = st.sampled_from(["*", "rds:*", "rds:Describe*", "s3:Get?bject", "kms:Decrypt", "RDS:deleteDBInstance"])
STATEMENTS = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": PATTERNS, "Resource": st.just("*")}
)
DOCUMENTS = st.lists(st.lists(STATEMENTS, max_size=3).map(lambda found: {"Statement": found}), max_size=3)


@given(DOCUMENTS, ACTIONS)
def test_a_deny_added_anywhere_never_allows_more(documents: list[dict[str, Any]], action: str) -> None:
    before = evaluate(documents, ask(action)).allowed
    assert not evaluate([*documents, deny(action)], ask(action)).allowed
    assert before or not evaluate([*documents, deny("sns:*")], ask(action)).allowed


@given(DOCUMENTS, ACTIONS)
def test_the_order_of_policies_does_not_matter(documents: list[dict[str, Any]], action: str) -> None:
    assert evaluate(documents, ask(action)).allowed == evaluate(documents[::-1], ask(action)).allowed


@given(DOCUMENTS, ACTIONS)
def test_unknown_resources_are_never_allowed_more_than_known_ones(documents: list[dict[str, Any]], action: str) -> None:
    if evaluate(documents, ask(action, known=False)).allowed:
        assert evaluate(documents, ask(action, "arn:aws:rds:eu-west-1:123456789012:db:x")).allowed


@given(DOCUMENTS, ACTIONS)
def test_a_boundary_only_takes_away(documents: list[dict[str, Any]], action: str) -> None:
    with_boundary = evaluate(documents, ask(action), boundary=allow("rds:*"))
    assert not with_boundary.allowed or (evaluate(documents, ask(action)).allowed and action.startswith("rds:"))


def test_nothing_is_allowed_without_an_allow() -> None:
    decision = evaluate([], ask())
    assert not decision.allowed
    assert decision.reason == "because no identity-based policy allows the rds:DescribeDBInstances action"


def test_every_resource_of_a_call_must_be_allowed() -> None:
    documents = [allow("s3:*", "arn:aws:s3:::mine/*")]
    assert evaluate(documents, ask("s3:PutObject", "arn:aws:s3:::mine/a")).allowed
    assert not evaluate(documents, ask("s3:PutObject", "arn:aws:s3:::mine/a", "arn:aws:s3:::yours/a")).allowed


def test_a_resource_we_cannot_tell_is_refused_saying_so() -> None:
    decision = evaluate([allow("ec2:*", "arn:aws:ec2:*:*:vpc/x")], ask("ec2:DeleteVpc", known=False))
    assert not decision.allowed
    assert "cannot tell which resource" in decision.reason
    narrow_deny = [allow(), deny("ec2:DeleteVpc", "arn:aws:ec2:*:*:vpc/x")]
    assert not evaluate(narrow_deny, ask("ec2:DeleteVpc", known=False)).allowed


def test_not_action_and_not_resource_are_everything_else() -> None:
    document = {"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::private/*"}]}
    assert evaluate([document], ask("s3:GetObject", "arn:aws:s3:::public/a")).allowed
    assert not evaluate([document], ask("s3:GetObject", "arn:aws:s3:::private/a")).allowed
    assert not evaluate([document], ask("iam:GetUser")).allowed


@pytest.mark.parametrize(
    ("operator", "wanted", "actual", "holds"),
    [
        ("StringEquals", "eu-west-1", "eu-west-1", True),
        ("StringEquals", ["us-east-1", "eu-west-1"], "eu-west-1", True),
        ("StringNotEquals", ["us-east-1", "eu-west-1"], "eu-west-1", False),
        ("StringEqualsIgnoreCase", "EU-west-1", "eu-west-1", True),
        ("StringLike", "eu-*", "eu-west-1", True),
        ("StringNotLike", "eu-*", "eu-west-1", False),
        ("NumericLessThan", "10", "9", True),
        ("NumericGreaterThanEquals", "10", "9", False),
        ("DateLessThan", "2030-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
        ("DateGreaterThan", "2030-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("Bool", "true", "true", True),
        ("Bool", True, "false", False),
        ("IpAddress", "127.0.0.0/8", "127.0.0.1", True),
        ("NotIpAddress", "127.0.0.0/8", "127.0.0.1", False),
        ("ArnLike", "arn:aws:iam::*:user/*", "arn:aws:iam::1:user/x", True),
        ("Null", "false", "anything", True),
        ("Null", "true", "anything", False),
        ("StringEqualsIfExists", "eu-west-1", "us-east-1", False),
        ("ForAnyValue:StringEquals", ["a", "b"], "b", True),
        ("ForAllValues:StringEquals", ["a", "b"], "c", False),
    ],
)
def test_a_condition_decides_an_allow(operator: str, wanted: Any, actual: str, holds: bool) -> None:
    document = allow(Condition={operator: {"aws:SomeKey": wanted}})
    assert evaluate([document], ask(aws__somekey=actual)).allowed is holds


def test_an_absent_key_fails_a_plain_operator_and_passes_if_exists_and_negations() -> None:
    for operator, holds in (("StringEquals", False), ("StringEqualsIfExists", True), ("StringNotEquals", True)):
        assert evaluate([allow(Condition={operator: {"aws:None": "x"}})], ask()).allowed is holds


@pytest.mark.parametrize("operator", ["BinaryEquals", "StringSortOf", "ForSomeValues:StringEquals"])
def test_an_operator_we_do_not_know_allows_nothing_and_denies_all_the_same(operator: str) -> None:
    condition = {operator: {"aws:RequestedRegion": "x"}}
    question = ask(aws__requestedregion="x")
    assert not evaluate([allow(Condition=condition)], question).allowed
    assert not evaluate([allow(), deny(Condition=condition)], question).allowed


def test_policy_variables_are_filled_and_match_nothing_if_unknown() -> None:
    documents = [allow("s3:GetObject", "arn:aws:s3:::home/${aws:username}/*")]
    assert evaluate(documents, ask("s3:GetObject", "arn:aws:s3:::home/ann/a", aws__username="ann")).allowed
    assert not evaluate(documents, ask("s3:GetObject", "arn:aws:s3:::home/bob/a", aws__username="ann")).allowed
    assert not evaluate(documents, ask("s3:GetObject", "arn:aws:s3:::home//a")).allowed


@given(st.text("ab*?[].^$", max_size=8))
def test_a_pattern_without_wildcards_matches_itself_only(text: str) -> None:
    plain = text.replace("*", "").replace("?", "")
    assert like(plain, plain)
    assert not like(plain + "x", plain)


def trust(principal: Any, **more: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}]}


@pytest.mark.parametrize(
    ("principal", "trusted"),
    [
        ({"AWS": "arn:aws:iam::123456789012:root"}, True),
        ({"AWS": "123456789012"}, True),
        ({"AWS": [ROLE, "x"]}, True),
        ("*", True),
        ({"AWS": "arn:aws:iam::999999999999:root"}, False),
        ({"Service": "lambda.amazonaws.com"}, False),
    ],
)
def test_a_role_trusts_whom_its_policy_names(principal: Any, trusted: bool) -> None:
    assert trusts(trust(principal), ROLE, "123456789012", {}) is trusted


def test_an_external_id_is_needed_where_the_trust_policy_asks_for_it() -> None:
    document = trust("*", Condition={"StringEquals": {"sts:ExternalId": "42"}})
    assert trusts(document, ROLE, "123456789012", {"sts:externalid": ("42",)})
    assert not trusts(document, ROLE, "123456789012", {})


@given(st.text("ab\n", max_size=8), st.text("ab*?\n", max_size=8))
def test_wildcards_mean_what_the_plain_expression_means(text: str, pattern: str) -> None:
    wild = {"*": ".*", "?": "."}
    plain = "".join(wild.get(character, re.escape(character)) for character in pattern)
    assert like(text, pattern) is (re.fullmatch(plain, text, re.DOTALL) is not None)


def test_no_pattern_keeps_the_endpoint_busy() -> None:
    """In a process of its own: an expression that backtracks could not be interrupted."""
    program = "from multiaz.cloud.policy import like; assert not like('a' * 2000, '*a' * 500 + '*b')"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
