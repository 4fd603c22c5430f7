"""`synth`, and the template and parameters that `up` deploys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

LOCAL_DEFAULTS = {"multi_az": True}
"""What `up` sets unless told otherwise: a standby costs nothing here, and failing over is what one comes for."""


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
    """The preset and what was set by NAME=VALUE. Raises BadInput."""
    return setting_values(preset, pairs(given, "--set"))


def check_request(
    *, preset: str, stack: str | None, suffix: str | None, parameters: Sequence[str], settings: Sequence[str]
) -> CheckedRequest:
    """The stack the options ask for. Raises BadInput before anything is touched.

    Parameters are checked by the rules of the settings that are their defaults, so that a wrong one
    is refused here and not half-way through the creation.
    """
    values = {**LOCAL_DEFAULTS, **chosen_settings(preset, settings)}
    wanted = settings_from(values)
    given = pairs(parameters, "--parameter")
    if given:
        # Loads the template's builder; without parameters that can wait until the cloud starts.
        from multiaz.blueprint.parameters import parameter_groups

        check_parameters(given, [name for _, names in parameter_groups(wanted) for name in names])
    chosen = parameters_with_suffix(given, suffix)
    settings_from({**values, **{setting_name(key): value for key, value in chosen.items()}})
    return CheckedRequest(stack_name(stack, chosen["EnvironmentSuffix"]), wanted, chosen)


def stack_request(asked: CheckedRequest) -> StackRequest:
    """The request with its template."""
    return StackRequest(asked.name, to_yaml(asked.settings), asked.parameters)
