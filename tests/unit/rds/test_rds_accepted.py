"""Every parameter botocore can send is acted upon, recorded, or refused by name."""

from __future__ import annotations

import botocore.session
import pytest

from multiaz.cloud.rds.accepted import PARAMETERS, Only, Refused, check
from multiaz.cloud.service import AwsFault

MODEL = botocore.session.get_session().get_service_model("rds")


@pytest.mark.parametrize("action", sorted(PARAMETERS))
def test_the_table_of_an_action_names_exactly_the_parameters_of_botocores_model(action: str) -> None:
    shape = MODEL.operation_model(action).input_shape
    assert set(PARAMETERS[action]) == set(shape.members if shape else ())


@pytest.mark.parametrize(
    ("action", "name"),
    [(action, name) for action, table in PARAMETERS.items() for name, one in table.items() if isinstance(one, Refused)],
)
def test_what_is_not_done_is_refused_by_name(action: str, name: str) -> None:
    with pytest.raises(AwsFault, match=name) as refusal:
        check(action, {name: "x"})
    assert refusal.value.code == "InvalidParameterCombination"


def test_a_parameter_with_one_allowed_value_takes_only_that() -> None:
    check("CreateDBInstance", {"ManageMasterUserPassword": False, "DBSecurityGroups": []})
    with pytest.raises(AwsFault, match="ManageMasterUserPassword"):
        check("CreateDBInstance", {"ManageMasterUserPassword": True})


def test_every_restriction_says_why() -> None:
    for table in PARAMETERS.values():
        for one in table.values():
            assert not isinstance(one, (Only, Refused)) or one.why
