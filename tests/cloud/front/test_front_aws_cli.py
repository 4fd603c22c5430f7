"""The real aws command against the real endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest
from front_harness import Endpoint


def run(endpoint: Endpoint, *arguments: str) -> Any:
    done = endpoint.cli(*arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_who_am_i(endpoint: Endpoint) -> None:
    assert run(endpoint, "sts", "get-caller-identity") == {
        "UserId": "AIDAMULTIAZADMINISTR",
        "Account": "123456789012",
        "Arn": "arn:aws:iam::123456789012:user/multiaz-administrator",
    }


def test_s3_objects_versions_and_policies(endpoint: Endpoint, tmp_path: Any) -> None:
    small, large = tmp_path / "small.txt", tmp_path / "large.bin"
    small.write_bytes(b"hello\n")
    large.write_bytes(bytes(range(256)) * 40_000)
    run(endpoint, "s3api", "create-bucket", "--bucket", "cli-bucket", "--create-bucket-configuration",
        "LocationConstraint=eu-west-1")  # fmt: skip
    run(endpoint, "s3api", "put-bucket-versioning", "--bucket", "cli-bucket", "--versioning-configuration",
        "Status=Enabled")  # fmt: skip
    put = run(endpoint, "s3api", "put-object", "--bucket", "cli-bucket", "--key", "a b/ü", "--body", str(small))
    assert put["ETag"] == '"b1946ac92492d2347c6235b4d2611184"'
    copied = endpoint.cli("s3", "cp", str(large), "s3://cli-bucket/large")
    assert copied.returncode == 0, copied.stderr
    back = tmp_path / "back.bin"
    assert endpoint.cli("s3", "cp", "s3://cli-bucket/large", str(back)).returncode == 0
    assert back.read_bytes() == large.read_bytes()
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["arn:aws:s3:::cli-bucket", "arn:aws:s3:::cli-bucket/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    run(endpoint, "s3api", "put-bucket-policy", "--bucket", "cli-bucket", "--policy", json.dumps(document))
    told = run(endpoint, "s3api", "get-bucket-policy", "--bucket", "cli-bucket")
    assert json.loads(told["Policy"]) == document
    versions = run(endpoint, "s3api", "list-object-versions", "--bucket", "cli-bucket")["Versions"]
    assert {"a b/ü", "large"} <= {version["Key"] for version in versions}
    missing = endpoint.cli("s3api", "head-object", "--bucket", "cli-bucket", "--key", "nosuch")
    assert "(404)" in missing.stderr


def test_alarms_and_dashboards(endpoint: Endpoint) -> None:
    run(endpoint, "cloudwatch", "put-metric-alarm", "--alarm-name", "lag", "--namespace", "AWS/RDS", "--metric-name",
        "ReplicaLag", "--statistic", "Maximum", "--period", "60", "--evaluation-periods", "10", "--threshold", "60",
        "--comparison-operator", "GreaterThanThreshold", "--treat-missing-data", "breaching",
        "--dimensions", "Name=DBInstanceIdentifier,Value=replica-1")  # fmt: skip
    body = json.dumps({"widgets": [{"type": "text", "properties": {"markdown": "x"}}]})
    run(endpoint, "cloudwatch", "put-dashboard", "--dashboard-name", "d", "--dashboard-body", body)
    told = run(endpoint, "cloudwatch", "describe-alarms")
    (alarm,) = told["MetricAlarms"]
    assert (alarm["AlarmName"], alarm["Threshold"], alarm["TreatMissingData"]) == ("lag", 60.0, "breaching")
    assert alarm["Dimensions"] == [{"Name": "DBInstanceIdentifier", "Value": "replica-1"}]
    assert json.loads(
        run(endpoint, "cloudwatch", "get-dashboard", "--dashboard-name", "d")["DashboardBody"]
    ) == json.loads(body)


def test_secrets_and_keys(endpoint: Endpoint) -> None:
    run(endpoint, "secretsmanager", "create-secret", "--name", "s", "--secret-string", '{"username":"u"}')
    told = run(endpoint, "secretsmanager", "get-secret-value", "--secret-id", "s")
    assert json.loads(told["SecretString"]) == {"username": "u"}
    password = run(endpoint, "secretsmanager", "get-random-password", "--password-length", "32",
                   "--exclude-characters", "/@\" ")["RandomPassword"]  # fmt: skip
    assert len(password) == 32
    assert not set(password) & set('/@" ')
    key = run(endpoint, "kms", "create-key")["KeyMetadata"]["KeyId"]
    run(endpoint, "kms", "create-alias", "--alias-name", "alias/cli", "--target-key-id", key)
    assert run(endpoint, "kms", "describe-key", "--key-id", "alias/cli")["KeyMetadata"]["KeyId"] == key


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("sqs", "list-queues"), "The service sqs is not available on the local cloud"),
        (("ec2", "describe-verified-access-groups"), "is not available on the local cloud"),
        (("lambda", "get-function", "--function-name", "nosuch"), "Function not found: arn:aws:lambda:eu-west-1:"),
    ],
)
def test_what_is_not_here_is_refused_by_name(endpoint: Endpoint, arguments: tuple[str, ...], named: str) -> None:
    done = endpoint.cli(*arguments)
    assert done.returncode != 0
    assert named in done.stderr
