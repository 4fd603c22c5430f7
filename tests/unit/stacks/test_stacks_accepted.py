from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from multiaz.cloud.service import AwsFault
from multiaz.cloud.stacks.accepted import ACTED, REFUSED, check

MODEL = botocore.session.get_session().get_service_model("cloudformation")
EXAMPLES: dict[str, Any] = {"string": "x", "boolean": True, "list": ["x"], "structure": {"x": "y"}, "integer": 1}


@pytest.mark.parametrize("action", sorted(ACTED))
def test_every_parameter_botocore_knows_is_acted_upon_or_refused(action: str) -> None:
    shape = MODEL.operation_model(action).input_shape
    members = set(shape.members) if shape else set()
    assert ACTED[action] | REFUSED.get(action, frozenset()) == members
    assert not ACTED[action] & REFUSED.get(action, frozenset())


@pytest.mark.parametrize(
    ("action", "name"), [(action, name) for action, names in REFUSED.items() for name in sorted(names)]
)
def test_what_is_not_done_is_refused_by_name(action: str, name: str) -> None:
    shape = MODEL.operation_model(action).input_shape
    assert shape is not None
    with pytest.raises(AwsFault, match=f"The parameter {name} is not available"):
        check(action, {name: EXAMPLES[shape.members[name].type_name]})


def test_a_parameter_newer_than_the_table_is_refused() -> None:
    with pytest.raises(AwsFault, match="The parameter Novelty is not available"):
        check("CreateStack", {"Novelty": False})
