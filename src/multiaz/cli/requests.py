"""What was asked on the command line, checked before anything is touched. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from multiaz.errors import BadInput, ExitCode, MultiazError

DEFAULT_SUFFIX = "dev"
STACK_PATTERN = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,127}")
"""Source: CloudFormation API reference, CreateStack, StackName."""
BUCKET_PATTERN = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""Source: Amazon S3 user guide, General purpose bucket naming rules."""


class UsageRefused(MultiazError):
    """The command line itself is wrong."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class StackRequest:
    """A stack as asked for: its name, its template and the parameters given for it."""

    name: str
    template: str
    parameters: Mapping[str, str]


def stack_name(stack: str | None, suffix: str | None) -> str:
    """The name given, else "ecommerce-" and the environment suffix. Raises BadInput, UsageRefused for both."""
    if stack is not None and suffix is not None:
        raise UsageRefused(
            "Cannot use --stack and --suffix together", "each names the stack by itself", "give one of the two"
        )
    return _checked_name(f"ecommerce-{suffix or DEFAULT_SUFFIX}" if stack is None else stack)


def check_bucket_name(name: str | None) -> None:
    """Raise BadInput for a name no general purpose bucket can have."""
    if name is not None and (not BUCKET_PATTERN.fullmatch(name) or ".." in name):
        raise BadInput(
            f"Cannot use --template-bucket {name[:64]!r}",
            "a bucket's name has 3 to 63 lower-case letters, digits, hyphens and dots, begins and ends with a letter "
            "or digit, and has no two dots in a row",
            "name a bucket of yours, or leave the option away",
        )


def deployed_name(stack: str | None, suffix: str) -> str:
    """The name `up` gives the stack: as told, whatever its suffix, else by its suffix. Raises BadInput."""
    return _checked_name(f"ecommerce-{suffix}" if stack is None else stack)


def _checked_name(name: str) -> str:
    if not STACK_PATTERN.fullmatch(name):
        raise BadInput(
            f"Cannot use the stack name {name}",
            "it must begin with a letter and hold at most 128 letters, digits and hyphens",
            "give another one with --stack",
        )
    return name


def pairs(given: Iterable[str], option: str, form: str) -> dict[str, str]:
    """Key to value of repeated options of the `form` KEY=VALUE. Raises BadInput, which repeats no value."""
    result: dict[str, str] = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key:
            named = re.match(r"[\w-]*", text)
            shown = f"{option} {named[0][:60]}".rstrip() if named else option
            raise BadInput(f"Cannot read {shown}", f"it is not of the form {form}", f"write {option} {form}")
        if key in result:
            raise BadInput(f"Cannot use {option} {key}", "it was given twice", "give it once")
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


def refuse_passthrough(own: Sequence[str], passed: Sequence[str] | None) -> None:
    """Raise UsageRefused if there is a "--" and the command is not psql, which alone passes arguments on."""
    if passed is None or own[:1] == ["psql"]:
        return
    named = next((text for text in passed if text.startswith("-") and text != "-"), None)
    if named is not None and own[:1] in (["check"], ["init"]):
        raise UsageRefused("Cannot use --", "only `multiaz psql` passes arguments on", f"write ./{named}")
    raise UsageRefused("Cannot use --", "only `multiaz psql` passes arguments on", "leave -- away")


def notation(format_: str | None, as_json: bool, usual: str) -> str:
    """The notation that --format and --json ask for together. Raises UsageRefused if they contradict each other."""
    if as_json and format_ not in (None, "json"):
        raise UsageRefused("Cannot use --json here", f"--format {format_!s} says otherwise", "give one of the two")
    return "json" if as_json else str(format_ or usual)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether our own arguments ask for JSON, by --json or --format json.

    Needed before they are parsed, for errors in parsing them.
    """
    own, _ = split_passthrough(arguments)
    return "--json" in own or "--format=json" in own or ("--format", "json") in pairwise(own)
