"""Records to the shapes of the API's answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from multiaz.cloud.stacks.capabilities import required_capabilities
from multiaz.cloud.stacks.parameters import HIDDEN, ParameterValue
from multiaz.cloud.stacks.plan import Detail, Plan, Step
from multiaz.cloud.stacks.records import ChangeSetRecord, EventRecord, OutputRecord, ResourceRecord, StackRecord
from multiaz.cloud.stacks.template import Template


def moment(seconds: float) -> datetime:
    """A time as botocore's models have it, in milliseconds."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def given(**members: Any) -> dict[str, Any]:
    """Members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as a list."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def parameter_list(parameters: Iterable[ParameterValue]) -> list[dict[str, Any]]:
    """Parameters with NoEcho values hidden."""
    return [
        given(
            ParameterKey=value.name,
            ParameterValue=value.shown,
            ResolvedValue=None if value.no_echo else value.resolved,
        )
        for value in parameters
    ]


def stack_shape(record: StackRecord, template: Template, outputs: list[OutputRecord]) -> dict[str, Any]:
    """One entry of DescribeStacks."""
    settings = record.settings
    return given(
        StackId=record.stack_id,
        StackName=record.name,
        ChangeSetId=settings.change_set_id,
        Description=template.description,
        Parameters=parameter_list(settings.parameters.values()),
        CreationTime=moment(record.created),
        LastUpdatedTime=moment(record.updated) if record.updated else None,
        DeletionTime=moment(record.deleted) if record.deleted else None,
        RollbackConfiguration={},
        StackStatus=record.status,
        StackStatusReason=record.reason,
        DisableRollback=settings.disable_rollback,
        NotificationARNs=[],
        TimeoutInMinutes=settings.timeout_minutes,
        Capabilities=list(settings.capabilities),
        Outputs=[
            given(
                OutputKey=output.name,
                OutputValue=output.value,
                Description=output.description,
                ExportName=output.export,
            )
            for output in outputs
        ],
        Tags=tag_list(settings.tags),
        EnableTerminationProtection=settings.termination_protection,
        DriftInformation={"StackDriftStatus": "NOT_CHECKED"},
        RetainExceptOnCreate=settings.retain_except_on_create or None,
    )


def summary_shape(record: StackRecord, description: str | None) -> dict[str, Any]:
    """One entry of ListStacks."""
    return given(
        StackId=record.stack_id,
        StackName=record.name,
        TemplateDescription=description,
        CreationTime=moment(record.created),
        LastUpdatedTime=moment(record.updated) if record.updated else None,
        DeletionTime=moment(record.deleted) if record.deleted else None,
        StackStatus=record.status,
        StackStatusReason=record.reason,
        DriftInformation={"StackDriftStatus": "NOT_CHECKED"},
    )


def event_shape(stack_name: str, event: EventRecord) -> dict[str, Any]:
    """One entry of DescribeStackEvents."""
    return given(
        StackId=event.stack_id,
        EventId=event.event_id,
        StackName=stack_name,
        LogicalResourceId=event.logical_id,
        PhysicalResourceId=event.physical_id or "",
        ResourceType=event.type,
        Timestamp=moment(event.at),
        ResourceStatus=event.status,
        ResourceStatusReason=event.reason,
        ClientRequestToken=event.token,
    )


def resource_shape(stack: StackRecord, record: ResourceRecord, description: str | None = None) -> dict[str, Any]:
    """One entry of DescribeStackResources."""
    return given(
        StackName=stack.name,
        StackId=stack.stack_id,
        LogicalResourceId=record.logical_id,
        PhysicalResourceId=record.physical_id,
        ResourceType=record.type,
        Timestamp=moment(record.changed),
        ResourceStatus=record.status,
        ResourceStatusReason=record.reason,
        Description=description,
        DriftInformation={"StackResourceDriftStatus": "NOT_CHECKED"},
    )


def resource_summary(record: ResourceRecord) -> dict[str, Any]:
    """One entry of ListStackResources."""
    return given(
        LogicalResourceId=record.logical_id,
        PhysicalResourceId=record.physical_id,
        ResourceType=record.type,
        LastUpdatedTimestamp=moment(record.changed),
        ResourceStatus=record.status,
        ResourceStatusReason=record.reason,
        DriftInformation={"StackResourceDriftStatus": "NOT_CHECKED"},
    )


def _capabilities(template: Template) -> dict[str, Any]:
    needed, types = required_capabilities(template)
    if not needed:
        return {}
    reason = (
        f"The following resource(s) require capabilities: [{', '.join(types)}]"
        if types
        else f"The following transform(s) require capabilities: [{', '.join(template.transforms)}]"
    )
    return {"Capabilities": needed, "CapabilitiesReason": reason}


def validation_shape(template: Template) -> dict[str, Any]:
    """The answer of ValidateTemplate."""
    return given(
        Description=template.description,
        Parameters=[
            given(
                ParameterKey=item.name,
                DefaultValue=_default(item.default, item.no_echo),
                NoEcho=item.no_echo,
                Description=item.description,
            )
            for item in template.parameters.values()
        ],
        DeclaredTransforms=list(template.transforms) or None,
        **_capabilities(template),
    )


def _default(value: str | None, no_echo: bool) -> str | None:
    return HIDDEN if no_echo and value is not None else value


def summary_of_template(template: Template, metadata: str | None) -> dict[str, Any]:
    """The answer of GetTemplateSummary."""
    return given(
        Description=template.description,
        Metadata=metadata,
        Version=template.version,
        ResourceTypes=list(dict.fromkeys(item.type for item in template.resources.values())),
        DeclaredTransforms=list(template.transforms) or None,
        Parameters=[
            given(
                ParameterKey=item.name,
                DefaultValue=_default(item.default, item.no_echo),
                ParameterType=item.type,
                NoEcho=item.no_echo,
                Description=item.description,
                ParameterConstraints={"AllowedValues": list(item.allowed_values)},
            )
            for item in template.parameters.values()
        ],
        **_capabilities(template),
    )


def change_list(plan: Plan) -> list[dict[str, Any]]:
    """Changes of a plan as DescribeChangeSet gives them."""
    return [{"Type": "Resource", "ResourceChange": _change(step)} for step in plan.steps]


def _change(step: Step) -> dict[str, Any]:
    return given(
        Action=str(step.action),
        LogicalResourceId=step.logical_id,
        PhysicalResourceId=step.physical_id,
        ResourceType=step.type,
        Replacement=str(step.replacement) if step.replacement else None,
        Scope=list(step.scope),
        Details=[_detail(detail) for detail in step.details],
    )


def _detail(detail: Detail) -> dict[str, Any]:
    target = given(
        Attribute=detail.attribute,
        Name=detail.name,
        RequiresRecreation=detail.recreation if detail.attribute == "Properties" else "Never",
    )
    return given(
        Target=target,
        Evaluation=detail.evaluation,
        ChangeSource=detail.source,
        CausingEntity=detail.causing,
    )


def change_set_shape(stack: StackRecord, record: ChangeSetRecord) -> dict[str, Any]:
    """The answer of DescribeChangeSet, all changes on one page."""
    return given(
        ChangeSetName=record.name,
        ChangeSetId=record.change_set_id,
        StackId=stack.stack_id,
        StackName=stack.name,
        Description=record.body.get("description"),
        Parameters=parameter_list(record.settings.parameters.values()),
        CreationTime=moment(record.created),
        ExecutionStatus=record.execution,
        Status=record.status,
        StatusReason=record.reason,
        NotificationARNs=[],
        RollbackConfiguration={},
        Capabilities=list(record.settings.capabilities),
        Tags=tag_list(record.settings.tags),
        Changes=record.body.get("changes", []),
        IncludeNestedStacks=False,
        OnStackFailure=record.body.get("on_stack_failure"),
    )


def change_set_summary(stack: StackRecord, record: ChangeSetRecord) -> dict[str, Any]:
    """One entry of ListChangeSets."""
    return given(
        StackId=stack.stack_id,
        StackName=stack.name,
        ChangeSetId=record.change_set_id,
        ChangeSetName=record.name,
        ExecutionStatus=record.execution,
        Status=record.status,
        StatusReason=record.reason,
        CreationTime=moment(record.created),
        Description=record.body.get("description"),
        IncludeNestedStacks=False,
    )
