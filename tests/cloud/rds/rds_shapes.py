"""Holds what an operation returns, and the faults it raises, against botocore's model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import botocore.session

MODEL = botocore.session.get_session().get_service_model("rds")
GENERAL = {"InvalidParameterValue", "InvalidParameterCombination"}
"""Codes every action may answer; botocore's model does not list them."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "long": int, "boolean": bool, "double": float, "timestamp": datetime,
}  # fmt: skip


def check_output(action: str, output: dict[str, Any]) -> None:
    """Every member is one the model has, of the model's type."""
    shape = MODEL.operation_model(action).output_shape
    if shape is None:
        assert output == {}, action
        return
    _check(shape, output, action)


def check_fault(action: str, code: str) -> None:
    """The code is one the model lists for the action."""
    listed = {error.metadata.get("error", {}).get("code") for error in MODEL.operation_model(action).error_shapes}
    assert code in listed | GENERAL, f"{action} has no error {code}: {sorted(listed)}"


def _check(shape: Any, value: Any, path: str) -> None:
    if shape.type_name == "structure":
        assert isinstance(value, dict), path
        for name, member in value.items():
            assert name in shape.members, f"{path}.{name} is not in the model"
            _check(shape.members[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        assert isinstance(value, list), path
        for number, member in enumerate(value):
            _check(shape.member, member, f"{path}[{number}]")
    else:
        wanted = _TYPES[shape.type_name]
        assert isinstance(value, wanted), f"{path} is a {type(value).__name__}, not a {shape.type_name}"
        assert shape.type_name == "boolean" or not isinstance(value, bool), path
