"""`synth`, and the template and parameters that `up` deploys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from multiaz.blueprint import Settings, settings_from, to_json, to_yaml
from multiaz.cli.output import Output
from multiaz.cli.requests import (
    StackRequest,
    check_parameters,
    pairs,
    parameters_with_suffix,
    setting_name,
    setting_values,
    stack_name,
)


@dataclass(frozen=True)
class CheckedRequest:
    """What `up` was asked for, found to be right; the template is not made yet."""

    name: str
    settings: Settings
    parameters: Mapping[str, str]


def synth(output: Output, *, preset: str, settings: Sequence[str], as_json: bool) -> None:
    """Print the template of the preset with the settings given as NAME=VALUE."""
    wanted = settings_from(chosen_settings(preset, settings))
    output.line((to_json(wanted) if as_json else to_yaml(wanted)).rstrip("\n"))


def chosen_settings(preset: str, given: Sequence[str]) -> dict[str, object]:
    """The preset and what was set by NAME=VALUE, a choice among numbers as a number. Raises BadInput."""
    values: dict[str, object] = setting_values(preset, pairs(given, "--set"))
    for name, text in values.items():
        field = Settings.model_fields.get(name)
        choices = get_args(field.annotation) if field else ()
        values[name] = next((choice for choice in choices if str(choice) == text), text)
    return values


def check_request(
    *, preset: str, stack: str | None, suffix: str | None, parameters: Sequence[str], settings: Sequence[str]
) -> CheckedRequest:
    """The stack the options ask for. Raises BadInput before anything is touched.

    Parameters are checked by the rules of the settings that are their defaults, so that a wrong one
    is refused here and not half-way through the creation.
    """
    given = pairs(parameters, "--parameter")
    if given:
        # Loads the template's builder; without parameters that can wait until the cloud starts.
        from multiaz.blueprint.parameters import PARAMETER_GROUPS

        check_parameters(given, [name for _, names in PARAMETER_GROUPS for name in names])
    chosen = parameters_with_suffix(given, suffix)
    values = chosen_settings(preset, settings)
    wanted = settings_from(values)
    settings_from({**values, **{setting_name(key): value for key, value in chosen.items()}})
    return CheckedRequest(stack_name(stack, chosen["EnvironmentSuffix"]), wanted, chosen)


def stack_request(asked: CheckedRequest) -> StackRequest:
    """The request with its template."""
    return StackRequest(asked.name, to_yaml(asked.settings), asked.parameters)
