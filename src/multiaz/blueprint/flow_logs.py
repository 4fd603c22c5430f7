"""Flow logs of the VPC: who talked to whom, and who was refused."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub, ec2, iam

from multiaz.blueprint.expressions import SAME_ACCOUNT, named, policy, statement, tags, trust
from multiaz.blueprint.logs import log_group
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import vpc_id

LOG_GROUP = "FlowLogGroup"


def flow_logs(s: Settings) -> list[Any]:
    """The flow log, its log group, and the role that writes there and nowhere else; nothing if they are off.

    The role may not make log groups: deliveries after the stack's deletion would make the group again, without an end
    to its retention. Source: Amazon VPC user guide, Publish flow logs to CloudWatch Logs.
    """
    if not s.flow_logs:
        return []
    source = Sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:vpc-flow-log/*")
    return [
        log_group(s, LOG_GROUP, named("vpc-flow-logs")),
        iam.ManagedPolicy(
            "FlowLogPolicy",
            PolicyDocument=policy(
                statement(
                    "Write",
                    ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                    GetAtt(LOG_GROUP, "Arn"),
                )
            ),
        ),
        iam.Role(
            "FlowLogRole",
            AssumeRolePolicyDocument=trust(
                "vpc-flow-logs.amazonaws.com", **SAME_ACCOUNT, ArnLike={"aws:SourceArn": source}
            ),
            ManagedPolicyArns=[Ref("FlowLogPolicy")],
        ),
        ec2.FlowLog(
            "VPCFlowLog",
            ResourceType="VPC",
            ResourceId=vpc_id(s),
            TrafficType="ALL",
            LogDestinationType="cloud-watch-logs",
            LogGroupName=Ref(LOG_GROUP),
            DeliverLogsPermissionArn=GetAtt("FlowLogRole", "Arn"),
            Tags=tags("vpc-flow-logs"),
        ),
    ]
