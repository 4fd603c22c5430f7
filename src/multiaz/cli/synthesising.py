"""`synth`, and the template and parameters that `up` deploys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from multiaz.blueprint import Settings, to_json, to_yaml
from multiaz.blueprint.sources import Layer
from multiaz.cli import configuration
from multiaz.cli.output import Output
from multiaz.cli.requests import (
    StackRequest,
    check_parameters,
    deployed_name,
    pairs,
    parameters_with_suffix,
    setting_name,
)


@dataclass(frozen=True)
class CheckedRequest:
    """What `up` was asked for, found to be right; the template is not made yet."""

    name: str
    settings: Settings
    parameters: Mapping[str, str]
    places: tuple[str, ...]
    """The file and variables settings were found in."""


def synth(
    output: Output,
    *,
    preset: str | None,
    settings: Sequence[str],
    config: str | None,
    explained: bool,
    as_json: bool,
) -> None:
    """Print the template of the settings, or what it holds and why."""
    asked = configuration.asked(config, preset=preset, settings=settings)
    wanted = asked.layer.settings()
    if not as_json:
        configuration.tell_places(output, asked.places)
    if explained:
        # The tables also know the alarms and the tuning: not needed for a template alone.
        from multiaz.blueprint.explanation import explain, tables

        document = {"tables": [asdict(table) for table in tables(wanted)]} if as_json else None
        output.line(explain(wanted).rstrip("\n") if document is None else json.dumps(document, indent=2))
        return
    output.line((to_json(wanted) if as_json else to_yaml(wanted)).rstrip("\n"))


def check_request(
    *,
    preset: str | None,
    stack: str | None,
    suffix: str | None,
    parameters: Sequence[str],
    settings: Sequence[str],
    config: str | None = None,
) -> CheckedRequest:
    """The stack the options ask for. Raises BadInput before anything is touched.

    Parameters are checked by the rules of the settings that are their defaults, so that a wrong one
    is refused here and not half-way through the creation.
    """
    asked = configuration.asked(
        config, preset=preset, suffix=suffix, settings=settings, command=configuration.LOCAL_DEFAULTS
    )
    # The suffix is passed as a parameter and left out of the template: environments share one.
    wanted = asked.layer.without("environment_suffix").settings()
    given = pairs(parameters, "--parameter", "KEY=VALUE")
    if given:
        # Loads the template's builder; without parameters that can wait until the cloud starts.
        from multiaz.blueprint.parameters import parameter_groups

        check_parameters(given, [name for _, names in parameter_groups(wanted) for name in names])
    flag = asked.flags.values.get("environment_suffix")
    configured = str(asked.layer.values["environment_suffix"])
    chosen = parameters_with_suffix(given, None if flag is None else str(flag), configured)
    by_parameter = Layer(
        {setting_name(key): value for key, value in given.items()},
        {setting_name(key): f"--parameter {key}" for key in given},
    )
    by_parameter.over(asked.layer).settings()
    return CheckedRequest(deployed_name(stack, chosen["EnvironmentSuffix"]), wanted, chosen, asked.places)


def stack_request(asked: CheckedRequest) -> StackRequest:
    """The request with its template."""
    return StackRequest(asked.name, to_yaml(asked.settings), asked.parameters)
