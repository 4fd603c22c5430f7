"""The rule of a composite alarm: what it names, and every way of writing it wrongly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.alarm_rules import BadRule, alarms_of

ARN = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:shop-cpu"


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ("ALARM(a)", ("a",)),
        ('ALARM("a b (c)")', ("a b (c)",)),
        (f"OK({ARN})", (ARN,)),
        ("INSUFFICIENT_DATA( a )", ("a",)),
        ("ALARM(a) AND NOT ALARM(b)", ("a", "b")),
        ("NOT NOT(ALARM(a) OR (OK(b) AND ALARM(a)))", ("a", "b")),
        ("  (ALARM(a)\n OR\tOK(b)) ", ("a", "b")),
        ("FALSE", ()),
        ("false", ()),
        ("TRUE OR ALARM(a-1)", ("a-1",)),
        ("ALARM(AND) OR ALARM(OK)", ("AND", "OK")),
    ],
)
def test_a_rule_names_its_alarms(rule: str, named: tuple[str, ...]) -> None:
    assert alarms_of(rule) == named


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("()", "Unsupported token ')' at char 1"),
        ("ALARM", "Unsupported token 'ALARM' at char 0"),
        ("ALARM(", "Unsupported token 'ALARM' at char 0"),
        ("ALARM()", "Unsupported token 'ALARM' at char 0"),
        ("ALARM(a) XOR OK(b)", "Unsupported token 'XOR' at char 9"),
        ("ALARM(a) OK(b)", "Unsupported token 'OK(b)' at char 9"),
        ("ALARM(a))", "Unsupported token ')' at char 8"),
        ("ALARM(a) AND OR OK(b)", "Unsupported token 'OR' at char 13"),
        ("ALARM(a) NOT OK(b)", "Unsupported token 'NOT' at char 9"),
        ("TRUEish", "Unsupported token 'TRUEish' at char 0"),
        ("RUNNING(a)", "Unsupported token 'RUNNING' at char 0"),
        ("(ALARM(a)", "Unexpected end of the expression at char 9"),
        ("ALARM(a) AND", "Unexpected end of the expression at char 12"),
        ("NOT", "Unexpected end of the expression at char 3"),
        ("", "Unexpected end of the expression at char 0"),
        ("   ", "Unexpected end of the expression at char 3"),
        (" OR ".join(f"ALARM(a{n})" for n in range(101)), "It names 101 alarms"),
        (" OR ".join(["TRUE"] * 501), "It has 501 elements"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_place(rule: str, problem: str) -> None:
    with pytest.raises(BadRule) as refused:
        alarms_of(rule)
    assert problem in str(refused.value)


def test_deep_nesting_of_the_allowed_length_ends() -> None:
    assert alarms_of("NOT " * 2500 + "ALARM(a)") == ("a",)
    assert alarms_of("(" * 249 + "ALARM(a)" + ")" * 249) == ("a",)
    with pytest.raises(BadRule):
        alarms_of("(" * 10240)


@given(st.text(alphabet=st.sampled_from('ALRMOKNTDF()" \n_a-'), max_size=60) | st.text(max_size=60))
def test_any_text_is_a_rule_or_is_refused(rule: str) -> None:
    try:
        alarms_of(rule)
    except BadRule as bad:
        assert str(bad).startswith("Error in AlarmRule [")
