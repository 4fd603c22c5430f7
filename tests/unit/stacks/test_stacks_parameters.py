from __future__ import annotations

from typing import Any

import pytest

from multiaz.cloud.stacks import patterns
from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.parameters import HIDDEN, ParameterValue, resolve_parameters
from multiaz.cloud.stacks.template import ParameterDefinition

SSM = {"/db/name": "orders", "/zones": "a, b"}


def resolve(
    definition: ParameterDefinition, given: str | None = None, previous: dict[str, str] | None = None, **more: Any
) -> ParameterValue:
    values = {definition.name: given} if given is not None or previous is not None else {}
    found = resolve_parameters(
        {definition.name: definition},
        values,
        previous,
        exists=lambda kind, value: value.startswith(("vpc-", "subnet-")),
        read_ssm=SSM.get,
        **more,
    )
    return found[definition.name]


def parameter(kind: str = "String", **constraints: Any) -> ParameterDefinition:
    return ParameterDefinition("P", kind, **constraints)


@pytest.mark.parametrize(
    ("definition", "given", "reference"),
    [
        (parameter(), "x", "x"),
        (parameter(default="d"), None, "d"),
        (parameter(default="d"), "", ""),
        (parameter("Number"), "7", "7"),
        (parameter("Number", min_value=7, max_value=7), "7.0", "7.0"),
        (parameter("Number", allowed_values=("7", "731")), "731", "731"),
        (parameter("List<Number>"), "1, 2", ["1", "2"]),
        (parameter("CommaDelimitedList"), "a, b,c", ["a", "b", "c"]),
        (parameter("CommaDelimitedList", default=""), None, []),
        (parameter(allowed_pattern="[a-z]+"), "abc", "abc"),
        (parameter("AWS::EC2::VPC::Id"), "vpc-1", "vpc-1"),
        (parameter("List<AWS::EC2::Subnet::Id>"), "subnet-1,subnet-2", ["subnet-1", "subnet-2"]),
        (parameter("AWS::SSM::Parameter::Value<String>"), "/db/name", "orders"),
        (parameter("AWS::SSM::Parameter::Value<List<String>>"), "/zones", ["a", "b"]),
        (parameter("AWS::SSM::Parameter::Name"), "/db/name", "/db/name"),
    ],
)
def test_values_within_their_constraints_are_taken(
    definition: ParameterDefinition, given: str | None, reference: object
) -> None:
    assert resolve(definition, given).reference == reference


@pytest.mark.parametrize(
    ("definition", "given", "message"),
    [
        (parameter(), None, "Parameters: [P] must have values"),
        (parameter(allowed_values=("a",)), "b", "Parameter 'P' must be one of AllowedValues"),
        (parameter(allowed_pattern="[a-z]+"), "abc1", "Parameter 'P' must match pattern [a-z]+"),
        (
            parameter(allowed_pattern="[a-z]+", constraint_description="small letters"),
            "A",
            "Parameter P failed to satisfy constraint: small letters",
        ),
        (parameter(min_length=2), "a", "Parameter 'P' must contain at least 2 characters"),
        (parameter(max_length=1), "ab", "Parameter 'P' must contain at most 1 characters"),
        (parameter("Number"), "x", "Parameter 'P' must be a number."),
        (parameter("Number"), "nan", "Parameter 'P' must be a number."),
        (parameter("Number", min_value=7), "6", "Parameter 'P' must be a number not less than 7"),
        (parameter("Number", max_value=35), "36", "Parameter 'P' must be a number not greater than 35"),
        (parameter("List<Number>"), "1,x", "Parameter 'P' must be a number."),
        (
            parameter("AWS::EC2::VPC::Id"),
            "no",
            "Parameter validation failed: parameter value no for parameter name P does not exist",
        ),
        (
            parameter("AWS::SSM::Parameter::Value<String>"),
            "/no",
            "Unable to fetch parameters [/no] from parameter store for this account.",
        ),
        (parameter("Strin"), "x", "Template format error: Unrecognized parameter type: Strin"),
        (parameter(), "x" * 4097, "Parameter 'P' must not be longer than 4096 bytes"),
        # A default breaks its own constraints as well.
        (parameter(default="b", allowed_values=("a",)), None, "Parameter 'P' must be one of AllowedValues"),
    ],
)
def test_values_outside_are_refused_as_aws_words_it(
    definition: ParameterDefinition, given: str | None, message: str
) -> None:
    with pytest.raises(TemplateError) as error:
        resolve(definition, given)
    assert error.value.message == message


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("(a+)+$", "a" * 60 + "!"), ("a*a*a*a*a*a*b", "a" * 900), ("(a|a)*b", "a" * 60), (r"(a*)*\1b", "a" * 60)],
)
def test_a_pattern_that_takes_too_long_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, pattern: str, text: str
) -> None:
    monkeypatch.setattr(patterns, "TIME_LIMIT_S", 0.3)
    with pytest.raises(TemplateError, match="Parameter 'P': matching its AllowedPattern takes too long"):
        resolve(parameter(allowed_pattern=pattern), text)


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("[a-z0-9]+(-[a-z0-9]+)*", "a-long-suffix-of-a-stack", True),
        ("[a-z0-9]+(-[a-z0-9]+)*", "a-long-suffix-of-a-stack-", False),
        (r"(a|b)\1", "bb", True),
        (r"(a|b)\1", "ba", False),
        (r"(?=x).*", "x\nà€", False),
        (r"(?s)(?=x).*", "x\nà€", True),
    ],
)
def test_the_child_process_gives_the_same_answers(pattern: str, text: str, wanted: bool) -> None:
    assert patterns.ways(pattern, len(text)) > 10**6
    assert patterns.all_match(pattern, [text]) is wanted


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("[a-z]+", "a" * 400), (r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$", "10.0.0.0/16"), ("(16|17)\\.\\d", "17.1")],
)
def test_plain_patterns_need_no_child_process(monkeypatch: pytest.MonkeyPatch, pattern: str, text: str) -> None:
    monkeypatch.setattr("subprocess.run", None)
    assert patterns.all_match(pattern, [text])


def test_unknown_parameters_are_refused_by_name() -> None:
    with pytest.raises(TemplateError, match=r"Parameters: \[A, B\] do not exist in the template"):
        resolve_parameters({}, {"B": "1", "A": "2"}, exists=lambda *_: True, read_ssm=lambda _: None)


def test_previous_value_needs_a_previous_one() -> None:
    assert resolve(parameter(), None, {"P": "old"}).value == "old"
    with pytest.raises(TemplateError, match="usePreviousValue"):
        resolve(parameter(), None, {})


def test_no_echo_is_never_shown() -> None:
    value = resolve(parameter(no_echo=True), "secret-word")
    assert value.shown == HIDDEN
    assert value.reference == "secret-word"
    assert "secret-word" not in repr(value)
