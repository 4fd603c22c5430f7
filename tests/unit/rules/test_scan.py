"""`make scan` fails for what checkov finds and nobody accepted with a reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parents[3] / "scripts" / "scan.py"


def judged(failed: list[Any], skipped: list[Any]) -> Any:
    spec = importlib.util.spec_from_file_location("scan", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.judged({"results": {"passed_checks": [{}], "failed_checks": failed, "skipped_checks": skipped}})


def entry(reason: str | None = None) -> dict[str, Any]:
    return {
        "check_id": "CKV_AWS_18",
        "check_name": "Ensure the bucket has access logging",
        "resource": "AWS::S3::Bucket.Logs",
        "check_result": {"result": "SKIPPED", "suppress_comment": reason},
    }


def test_a_suppression_with_a_reason_is_told_with_it() -> None:
    assert judged([], [entry("is itself the target")]) == (1, {}, {("CKV_AWS_18", "is itself the target"): ["Logs"]})


def test_a_suppression_without_a_reason_is_a_failure() -> None:
    for reason in (None, " ", "No comment provided"):
        assert judged([], [entry(reason)]) == (1, {("CKV_AWS_18", "suppressed without a reason"): ["Logs"]}, {})


def test_a_failed_check_is_a_failure() -> None:
    assert judged([entry()], []) == (1, {("CKV_AWS_18", "Ensure the bucket has access logging"): ["Logs"]}, {})
