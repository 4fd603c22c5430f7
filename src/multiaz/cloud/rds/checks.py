"""What other services must know before RDS takes a name of theirs: keys, roles, subnets, security groups, topics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from multiaz.cloud.rds.faults import bad_combination, bad_value, key_not_accessible
from multiaz.cloud.rds.model import Subnet
from multiaz.cloud.service import AwsFault, Clients

DEFAULT_KEY = "alias/aws/rds"


@dataclass(frozen=True)
class Checks:
    """Asks the other services, as the engine's own principal."""

    clients: Clients

    def key(self, region: str, key: str) -> str:
        """The ARN of a KMS key that exists and is enabled. Raises AwsFault KMSKeyNotAccessibleFault."""
        try:
            found = self.clients.client("kms", region).describe_key(KeyId=key)["KeyMetadata"]
        except ClientError as error:
            raise key_not_accessible(key, "does not exist, or you don't have access to it") from error
        if found["KeyState"] != "Enabled":
            raise key_not_accessible(key, f"is not enabled: its state is {found['KeyState']}")
        return str(found["Arn"])

    def monitoring_role(self, region: str, role: str) -> str:
        """The ARN of a role that exists and that Enhanced Monitoring may take."""
        wrong = bad_value(
            "IAM role ARN value is invalid or does not include the required permissions for: "
            f"ENHANCED_MONITORING: {role}"
        )
        if ":role/" not in role:
            raise wrong
        try:
            found = self.clients.client("iam", region).get_role(RoleName=role.rpartition("/")[2])["Role"]
        except ClientError as error:
            raise wrong from error
        document = found.get("AssumeRolePolicyDocument")
        policy = json.loads(unquote(document)) if isinstance(document, str) else document
        if found["Arn"] != role or "monitoring.rds.amazonaws.com" not in json.dumps(policy):
            raise wrong
        return role

    def subnets(self, region: str, identifiers: list[str]) -> tuple[str, tuple[Subnet, ...]]:
        """The VPC and the subnets. Raises AwsFault InvalidSubnet."""
        try:
            found = self.clients.client("ec2", region).describe_subnets(SubnetIds=identifiers)["Subnets"]
        except ClientError as error:
            raise AwsFault(
                "InvalidSubnet", f"Some input subnets in :[{', '.join(identifiers)}] are invalid."
            ) from error
        vpcs = {one["VpcId"] for one in found}
        if len(vpcs) != 1:
            raise AwsFault("InvalidSubnet", f"The subnets are not in one VPC: {', '.join(sorted(vpcs))}")
        order = {name: number for number, name in enumerate(identifiers)}
        found.sort(key=lambda one: order[one["SubnetId"]])
        return vpcs.pop(), tuple(Subnet(identifier=one["SubnetId"], zone=one["AvailabilityZone"]) for one in found)

    def default_subnets(self, region: str) -> tuple[str, tuple[Subnet, ...]]:
        """The subnets of the default VPC. Raises AwsFault if there is none."""
        ec2 = self.clients.client("ec2", region)
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["true"]}])["Vpcs"]
        if not vpcs:
            raise AwsFault("InvalidVPCNetworkStateFault", "No default VPC exists: name a DB subnet group.", 400)
        vpc = vpcs[0]["VpcId"]
        found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
        return vpc, tuple(
            Subnet(identifier=one["SubnetId"], zone=one["AvailabilityZone"])
            for one in sorted(found, key=lambda one: str(one["SubnetId"]))
        )

    def security_groups(self, region: str, identifiers: list[str] | None, vpc: str) -> tuple[str, ...]:
        """Security groups of that VPC; the VPC's default one if none is named."""
        ec2 = self.clients.client("ec2", region)
        if not identifiers:
            found = ec2.describe_security_groups(
                Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
            )["SecurityGroups"]
            return tuple(one["GroupId"] for one in found)
        try:
            found = ec2.describe_security_groups(GroupIds=identifiers)["SecurityGroups"]
        except ClientError as error:
            raise bad_value(f"Invalid security group , groupId= {', '.join(identifiers)}, groupName=.") from error
        strangers = [one["GroupId"] for one in found if one["VpcId"] != vpc]
        if strangers:
            raise bad_combination(
                f"The DB instance and EC2 security group are in different VPCs: {', '.join(strangers)} is not in {vpc}."
            )
        return tuple(identifiers)

    def topic(self, region: str, topic: str) -> str:
        """The ARN of an SNS topic that exists."""
        try:
            self.clients.client("sns", region).get_topic_attributes(TopicArn=topic)
        except ClientError as error:
            raise AwsFault("SNSTopicArnNotFound", f"The SNS topic {topic} does not exist.", 404) from error
        return topic

    def publish(self, region: str, topic: str, body: dict[str, Any], attributes: dict[str, str]) -> None:
        """Publish one notification. Raises botocore's ClientError."""
        self.clients.client("sns", region).publish(
            TopicArn=topic,
            Subject="RDS Notification Message",
            Message=json.dumps(body),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )
