"""`multiaz up` into a network that was there before: real servers, readers spread by RDS itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from person import Person


@pytest.mark.long
def test_the_stack_comes_up_in_an_existing_network_and_leaves_it_as_it_was(
    home_folder: Path, free_port: Callable[[], int]
) -> None:
    person = Person(home_folder / "home", free_port())
    started = person.run("local", "start", "--port", str(person.port))
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        ec2 = person.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.40.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")
            for n, zone in enumerate("ab")
        ]
        subnet_ids = [subnet["Subnet"]["SubnetId"] for subnet in subnets]
        group = ec2.create_security_group(GroupName="shop", Description="the shop", VpcId=vpc)["GroupId"]
        settings = {
            "vpc_id": vpc,
            "subnet_ids": ",".join(subnet_ids),
            "vpc_cidr": "10.40.0.0/16",
            "application_subnet_cidr": "10.40.9.0/24",
            "management_cidr": "10.40.0.0/16",
            "application_security_group_id": group,
            "flow_logs": "true",
        }
        chosen = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        done = person.run("up", "--preset", "test", *chosen)
        assert done.returncode == 0, done.stdout + done.stderr + person.logs()

        found = person.client("rds").describe_db_instances()["DBInstances"]
        assert len(found) == 3
        for instance in found:
            assert instance["DBInstanceStatus"] == "available"
            assert instance["DBSubnetGroup"]["VpcId"] == vpc
            assert instance["AvailabilityZone"] in {"us-east-1a", "us-east-1b"}
        assert person.value("replica-2", "SELECT pg_is_in_recovery()") == "t"

        cloudformation = person.client("cloudformation")
        cloudformation.delete_stack(StackName="ecommerce-dev")
        cloudformation.get_waiter("stack_delete_complete").wait(StackName="ecommerce-dev", WaiterConfig={"Delay": 1})
        assert {s["VpcId"] for s in ec2.describe_subnets(SubnetIds=subnet_ids)["Subnets"]} == {vpc}
        groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
        assert {found["GroupName"] for found in groups} == {"default", "shop"}
        assert ec2.describe_flow_logs()["FlowLogs"] == []
    finally:
        person.run("down", "--all", "--yes")
