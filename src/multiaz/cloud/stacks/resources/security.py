"""AWS::EC2 security groups and their rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import Call, Handler, Made, error_code, unless_gone
from multiaz.cloud.stacks.resources.network import retag

_INGRESS = {
    "CidrIp": "CidrIp",
    "CidrIpv6": "CidrIpv6",
    "SourcePrefixListId": "PrefixListId",
    "SourceSecurityGroupId": "GroupId",
}
_EGRESS = {
    "CidrIp": "CidrIp",
    "CidrIpv6": "CidrIpv6",
    "DestinationPrefixListId": "PrefixListId",
    "DestinationSecurityGroupId": "GroupId",
}
_RULE_PROPERTIES = frozenset({"IpProtocol", "FromPort", "ToPort", "Description"})
_LISTS = {
    "CidrIp": "IpRanges",
    "CidrIpv6": "Ipv6Ranges",
    "PrefixListId": "PrefixListIds",
    "GroupId": "UserIdGroupPairs",
}
_RULE_GONE = frozenset({"InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound"})
_ALLOW_ALL = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}


def permission(rule: Mapping[str, Any], peers: Mapping[str, str]) -> dict[str, Any]:
    """One rule of a template as EC2's IpPermission. Raises ResourceFailure for unknown members."""
    unknown = sorted(set(rule) - _RULE_PROPERTIES - set(peers))
    if unknown:
        raise ResourceFailure(f"Encountered unsupported property {unknown[0]}")
    result: dict[str, Any] = {"IpProtocol": rule["IpProtocol"]}
    for name in ("FromPort", "ToPort"):
        if name in rule:
            result[name] = rule[name]
    for name, member in peers.items():
        if name in rule:
            entry = {member: rule[name]}
            if "Description" in rule:
                entry["Description"] = rule["Description"]
            result.setdefault(_LISTS[member], []).append(entry)
    return result


class SecurityGroup(Handler):
    """AWS::EC2::SecurityGroup with inline rules."""

    type = "AWS::EC2::SecurityGroup"
    properties = frozenset(
        {"GroupDescription", "GroupName", "VpcId", "SecurityGroupIngress", "SecurityGroupEgress", "Tags"}
    )
    attributes = frozenset({"GroupId", "VpcId", "Id"})
    gone = frozenset({"InvalidGroup.NotFound", "InvalidGroupId.NotFound"})
    updatable = frozenset({"SecurityGroupIngress", "SecurityGroupEgress", "Tags"})
    named_by = "GroupName"

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """Rules by group name belong to EC2-Classic."""
        found = []
        for rule in properties.get("SecurityGroupIngress", []):
            if isinstance(rule, Mapping):
                found += [name for name in ("SourceSecurityGroupName", "SourceSecurityGroupOwnerId") if name in rule]
        return [f"{name} in SecurityGroupIngress is not available in this local cloud" for name in found]

    def find(self, call: Call) -> str | None:
        """By tags."""
        found = call.client("ec2").describe_security_groups(Filters=call.tag_filters())["SecurityGroups"]
        return next((str(one["GroupId"]) for one in found if one["GroupId"] != call.replaces), None)

    def create(self, call: Call) -> Made:
        """Create the group, then its rules; a template that lists egress loses the default one."""
        ec2 = call.client("ec2")
        group_id = self.existing(call)
        if group_id is None:
            vpc = {"VpcId": call.properties["VpcId"]} if "VpcId" in call.properties else {}
            group_id = ec2.create_security_group(
                GroupName=call.get("GroupName", call.name(255)),
                Description=call.properties["GroupDescription"],
                TagSpecifications=[{"ResourceType": "security-group", "Tags": call.tags()}],
                **vpc,
            )["GroupId"]
            call.made(str(group_id))
        for rule in call.get("SecurityGroupIngress", []):
            _authorize(ec2.authorize_security_group_ingress, group_id, permission(rule, _INGRESS), call)
        egress = call.get("SecurityGroupEgress", [])
        if egress:
            wanted = [permission(rule, _EGRESS) for rule in egress]
            default = permission(_ALLOW_ALL, _EGRESS)
            described = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
            if any(
                entry["IpProtocol"] == "-1" and entry.get("IpRanges", [{}])[0:1] == [{"CidrIp": "0.0.0.0/0"}]
                for entry in described["IpPermissionsEgress"]
            ):
                ec2.revoke_security_group_egress(GroupId=group_id, IpPermissions=[default])
            for entry in wanted:
                _authorize(ec2.authorize_security_group_egress, group_id, entry, call)
        described = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
        return Made(str(group_id), {"GroupId": group_id, "Id": group_id, "VpcId": described.get("VpcId", "")})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Revoke the rules the template lists no more, add those it lists now; rules of others are left alone."""
        ec2, group_id = call.client("ec2"), str(call.physical_id)
        for name, direction, peers in (
            ("SecurityGroupIngress", "ingress", _INGRESS),
            ("SecurityGroupEgress", "egress", _EGRESS),
        ):
            if name not in changed:
                continue
            before, after = ([permission(rule, peers) for rule in side.get(name, [])] for side in (old, call))
            if direction == "egress":
                # A group whose template lists no egress has the rule every new group has.
                default = permission(_ALLOW_ALL, _EGRESS)
                before, after = before or [default], after or [default]
            revoke = getattr(ec2, f"revoke_security_group_{direction}")
            for entry in before:
                if entry not in after:
                    unless_gone(_RULE_GONE, revoke, GroupId=group_id, IpPermissions=[entry])
            for entry in after:
                if entry not in before:
                    _authorize(getattr(ec2, f"authorize_security_group_{direction}"), group_id, entry, call)
        if "Tags" in changed:
            retag(call, old, group_id)
        return None

    def delete(self, call: Call) -> None:
        """Delete."""
        ec2 = call.client("ec2")
        unless_gone(self.gone, ec2.delete_security_group, GroupId=call.physical_id)


def _authorize(operation: Any, group_id: str, entry: dict[str, Any], call: Call) -> str | None:
    """Add one rule; its id. A repetition finds it there already."""
    try:
        answer = operation(GroupId=group_id, IpPermissions=[entry])
    except ClientError as error:
        if call.resumed and error_code(error) == "InvalidPermission.Duplicate":
            return None
        raise
    rules = answer.get("SecurityGroupRules") or []
    return str(rules[0]["SecurityGroupRuleId"]) if rules else None


class _Rule(Handler):
    """A rule that is a resource of its own."""

    attributes = frozenset({"Id"})
    gone = frozenset(
        {
            "InvalidSecurityGroupRuleId.NotFound",
            "InvalidPermission.NotFound",
            "InvalidGroup.NotFound",
            "InvalidGroupId.NotFound",
        }
    )
    updatable = frozenset({"Description"})
    peers: ClassVar[Mapping[str, str]]
    egress: ClassVar[bool]
    direction: ClassVar[str]

    def create(self, call: Call) -> Made:
        """Authorize."""
        operation = getattr(call.client("ec2"), f"authorize_security_group_{self.direction}")
        group_id = call.properties["GroupId"]
        rule = {name: value for name, value in call.properties.items() if name != "GroupId"}
        rule_id = call.physical_id or _authorize(operation, group_id, permission(rule, self.peers), call)
        if rule_id is None:
            rule_id = self.find(call)
        if rule_id is None:
            raise ResourceFailure(f"The rule added to {group_id} cannot be found")
        return Made(rule_id, {"Id": rule_id})

    def find(self, call: Call) -> str | None:
        """By comparing with the group's rules: a rule has no name of its own."""
        wanted = {
            "IpProtocol": call.properties["IpProtocol"],
            "FromPort": call.get("FromPort", -1),
            "ToPort": call.get("ToPort", -1),
            "IsEgress": self.egress,
        }
        names = {"CidrIp": "CidrIpv4", "CidrIpv6": "CidrIpv6", "PrefixListId": "PrefixListId"}
        rules = call.client("ec2").describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [call.properties["GroupId"]]}]
        )["SecurityGroupRules"]
        for rule in rules:
            if any(rule.get(key, -1) != value for key, value in wanted.items()):
                continue
            for name, member in self.peers.items():
                if name in call.properties:
                    seen = (
                        rule.get("ReferencedGroupInfo", {}).get("GroupId")
                        if member == "GroupId"
                        else rule.get(names[member])
                    )
                    if seen == call.properties[name]:
                        return str(rule["SecurityGroupRuleId"])
        return None

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Another description of the same rule."""
        rule = {name: value for name, value in call.properties.items() if name != "GroupId"}
        operation = getattr(call.client("ec2"), f"update_security_group_rule_descriptions_{self.direction}")
        operation(GroupId=call.properties["GroupId"], IpPermissions=[permission(rule, self.peers)])
        return None

    def delete(self, call: Call) -> None:
        """Revoke by rule id."""
        operation = getattr(call.client("ec2"), f"revoke_security_group_{self.direction}")
        group_id = call.properties["GroupId"]
        unless_gone(self.gone, operation, GroupId=group_id, SecurityGroupRuleIds=[call.physical_id])


class SecurityGroupIngress(_Rule):
    """AWS::EC2::SecurityGroupIngress."""

    type = "AWS::EC2::SecurityGroupIngress"
    properties = frozenset({"GroupId", *_RULE_PROPERTIES, *_INGRESS})
    peers = _INGRESS
    egress = False
    direction = "ingress"


class SecurityGroupEgress(_Rule):
    """AWS::EC2::SecurityGroupEgress."""

    type = "AWS::EC2::SecurityGroupEgress"
    properties = frozenset({"GroupId", *_RULE_PROPERTIES, *_EGRESS})
    peers = _EGRESS
    egress = True
    direction = "egress"


HANDLERS: tuple[Handler, ...] = (SecurityGroup(), SecurityGroupIngress(), SecurityGroupEgress())
