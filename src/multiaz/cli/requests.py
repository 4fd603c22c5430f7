"""What was asked on the command line, checked before anything is touched. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from multiaz.errors import BadInput

DEFAULT_SUFFIX = "dev"
STACK_PATTERN = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,127}")
"""Source: CloudFormation API reference, CreateStack, StackName."""


@dataclass(frozen=True)
class StackRequest:
    """A stack as asked for: its name, its template and the parameters given for it."""

    name: str
    template: str
    parameters: Mapping[str, str]


def stack_name(stack: str | None, suffix: str | None) -> str:
    """The name given, else "ecommerce-" and the environment suffix. Raises BadInput."""
    name = stack or f"ecommerce-{suffix or DEFAULT_SUFFIX}"
    if not STACK_PATTERN.fullmatch(name):
        raise BadInput(
            f"Cannot use the stack name {name}",
            "it must begin with a letter and hold at most 128 letters, digits and hyphens",
            "give another one with --stack",
        )
    return name


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """Key to value of repeated `KEY=VALUE` options. Raises BadInput."""
    result: dict[str, str] = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise BadInput(
                f"Cannot read {option} {text}", "it is not of the form Key=Value", f"write {option} Key=Value"
            )
        if key in result:
            raise BadInput(f"Cannot use {option} {text}", f"{key} was given twice", "give it once")
        result[key] = value
    return result


def setting_name(parameter: str) -> str:
    """The blueprint's setting that is the default of this template parameter: DBName → db_name."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", parameter)
    return spaced.lower()


def check_parameters(parameters: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise BadInput for a parameter the template does not have."""
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise BadInput(
            f"Cannot use the parameter {', '.join(unknown)}",
            "the template has no parameter of this name",
            f"use one of {', '.join(known)}",
        )


def parameters_with_suffix(
    given: Mapping[str, str], suffix: str | None, configured: str = DEFAULT_SUFFIX
) -> dict[str, str]:
    """The parameters to deploy with: those given, and EnvironmentSuffix from --suffix, else as configured.

    Raises BadInput if two options say it differently.
    """
    named = given.get("EnvironmentSuffix")
    if named is not None and suffix is not None and named != suffix:
        raise BadInput(
            f"Cannot use --suffix {suffix}",
            f"--parameter EnvironmentSuffix={named} says otherwise",
            "give one of the two",
        )
    return {**given, "EnvironmentSuffix": named or suffix or configured}


def split_passthrough(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Our own arguments, and those after the first "--" (None if there is none)."""
    own = list(arguments)
    if "--" not in own:
        return own, None
    cut = own.index("--")
    return own[:cut], own[cut + 1 :]


def wants_json(arguments: Sequence[str]) -> bool:
    """--json is among our own arguments; needed before they are parsed, for errors in parsing them."""
    own, _ = split_passthrough(arguments)
    return "--json" in own
