"""What our own rules say of our own template: nothing that is not accepted with a reason."""

from __future__ import annotations

import pytest

from multiaz.blueprint import settings_from, to_yaml
from multiaz.rules import Severity, check


@pytest.mark.parametrize("preset", ["prod", "test"])
def test_no_finding_is_left_without_a_reason(preset: str) -> None:
    report = check(to_yaml(settings_from({"preset": preset})))
    found = {(finding.rule, finding.resource) for finding in report.at_least(Severity.WARNING)}
    assert found == set()
