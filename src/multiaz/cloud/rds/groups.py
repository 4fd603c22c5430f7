"""DB parameter groups and their parameters."""

from __future__ import annotations

from typing import Any

from multiaz.cloud.rds import faults, parameters, rules, tags
from multiaz.cloud.rds.core import DEFAULT_GROUP, Core
from multiaz.cloud.rds.describe import parameter_group_shape, without_nothing
from multiaz.cloud.rds.engines import Engine
from multiaz.cloud.rds.formulas import is_formula
from multiaz.cloud.rds.model import ParameterGroup
from multiaz.cloud.rds.paging import filters, page
from multiaz.cloud.rds.parameters import FAMILIES, Definition, major_of
from multiaz.cloud.service import AwsFault, Context, Operation
from multiaz.errors import Missing

MOST_GROUPS = 50
MOST_CHANGES = 20


class ParameterGroupActions:
    """The actions on DB parameter groups."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.operations: dict[str, Operation] = {
            "CreateDBParameterGroup": self.create,
            "DescribeDBParameterGroups": self.describe,
            "ModifyDBParameterGroup": self.modify,
            "ResetDBParameterGroup": self.reset,
            "DeleteDBParameterGroup": self.delete,
            "DescribeDBParameters": self.describe_parameters,
            "DescribeEngineDefaultParameters": self.describe_defaults,
        }

    def create(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """CreateDBParameterGroup."""
        name = rules.group_name(params["DBParameterGroupName"], "DBParameterGroupName")
        family = params["DBParameterGroupFamily"]
        self._engine(family)
        group = ParameterGroup(
            region=context.region,
            name=name,
            family=family,
            description=params["Description"],
            tags=tags.checked(params.get("Tags"), context.caller),
        )
        shelf = self._core.repository.parameter_groups
        with self._core.repository.transaction():
            if shelf.get(context.region, name) is not None:
                raise AwsFault("DBParameterGroupAlreadyExists", f"Parameter group {name} already exists")
            if len(shelf.all(context.region)) >= MOST_GROUPS:
                raise AwsFault("DBParameterGroupQuotaExceeded", "DB parameter group quota exceeded.")
            shelf.put(context.region, name, group)
        return {"DBParameterGroup": parameter_group_shape(group)}

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBParameterGroups."""
        core = self._core
        if params.get("DBParameterGroupName"):
            found = [core.parameter_group(context.region, params["DBParameterGroupName"])]
        else:
            found = core.repository.parameter_groups.all(context.region)
            found += [
                core.parameter_group(context.region, core.default_group_name(major)) for major in core.engines.majors()
            ]
            found.sort(key=lambda one: one.name)
        chosen, more = page(found, lambda one: one.name, params)
        return {"DBParameterGroups": [parameter_group_shape(one) for one in chosen], **more}

    def modify(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """ModifyDBParameterGroup: every value is judged by the real server before any is kept."""
        changes = params["Parameters"]
        if not 1 <= len(changes) <= MOST_CHANGES:
            raise faults.bad_value(f"A call modifies 1 to {MOST_CHANGES} parameters, not {len(changes)}.")
        group = self._own(context, params["DBParameterGroupName"], "modified")
        engine = self._engine(group.family)
        checked: dict[str, tuple[str, str]] = {}
        for change in changes:
            name, value = change.get("ParameterName"), change.get("ParameterValue")
            if not name or value is None:
                raise faults.bad_value("A parameter needs ParameterName, ParameterValue and ApplyMethod.")
            definition = engine.definitions.get(name.lower())
            method = change.get("ApplyMethod") or (
                "pending-reboot" if definition is None or definition.static else "immediate"
            )
            definition = parameters.check_change(engine.definitions, name, value, method, engine.libraries)
            if definition.name in checked:
                raise faults.bad_combination(f"The parameter {definition.name} is given twice.")
            checked[definition.name] = (_stored(definition, value), method)
        self._judge(engine, {name: value for name, (value, _) in checked.items()})
        with self._core.repository.transaction():
            fresh = self._own(context, group.name, "modified")
            values = {**fresh.values, **{name: value for name, (value, _) in checked.items()}}
            methods = {**fresh.methods, **{name: method for name, (_, method) in checked.items()}}
            self._keep(
                fresh.but(values=values, methods=methods),
                {name for name, (_, method) in checked.items() if method == "immediate"},
            )
            for name, (value, method) in checked.items():
                self._tell(fresh, f"Updated parameter {name} to {value} with apply method {method}")
        self._core.wake()
        return {"DBParameterGroupName": group.name}

    def reset(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """ResetDBParameterGroup."""
        group = self._own(context, params["DBParameterGroupName"], "reset")
        named = params.get("Parameters") or []
        everything = params.get("ResetAllParameters", not named)
        if everything and named:
            raise faults.bad_combination("ResetAllParameters cannot be combined with a list of parameters.")
        engine = self._engine(group.family)
        for one in named:
            definition = engine.definitions.get((one.get("ParameterName") or "").lower())
            if definition is None:
                raise faults.bad_value(f"Invalid parameter name: {one.get('ParameterName')}")
            if definition.static and one.get("ApplyMethod") == "immediate":
                raise faults.bad_combination(
                    f"cannot use immediate apply method for static parameter {definition.name}"
                )
        with self._core.repository.transaction():
            fresh = self._own(context, group.name, "reset")
            gone = set(fresh.values) if everything else {one["ParameterName"].lower() for one in named}
            later = {one["ParameterName"].lower() for one in named if one.get("ApplyMethod") == "pending-reboot"}
            at_once = {name for name in gone - later if not engine.definitions[name].static}
            self._keep(
                fresh.but(
                    values={name: value for name, value in fresh.values.items() if name not in gone},
                    methods={name: method for name, method in fresh.methods.items() if name not in gone},
                ),
                at_once,
            )
            self._tell(fresh, f"Reset parameters: {', '.join(sorted(gone)) or 'none'}")
        self._core.wake()
        return {"DBParameterGroupName": group.name}

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DeleteDBParameterGroup."""
        group = self._own(context, params["DBParameterGroupName"], "deleted")
        with self._core.repository.transaction():
            users = [
                one.identifier
                for one in self._core.repository.instances.all(context.region)
                if one.parameter_group == group.name
            ]
            if users:
                raise AwsFault(
                    "InvalidDBParameterGroupState",
                    "One or more database instances are still members of this parameter group "
                    f"{group.name}, so the group cannot be deleted: {', '.join(users)}",
                )
            self._core.repository.parameter_groups.remove(context.region, group.name)
        return {}

    def describe_parameters(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBParameters."""
        group = self._core.parameter_group(context.region, params["DBParameterGroupName"])
        source = params.get("Source")
        if source is not None:
            rules.one_of(source, ("user", "system", "engine-default"), "Source")
        rows = self._rows(group, params)
        found = [row for row in rows if source in (None, row["Source"])]
        chosen, more = page(found, lambda row: str(row["ParameterName"]), params)
        return {"Parameters": chosen, **more}

    def describe_defaults(self, _context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeEngineDefaultParameters."""
        family = params["DBParameterGroupFamily"]
        group = ParameterGroup(region="", name="", family=family, description="")
        chosen, more = page(self._rows(group, params), lambda row: str(row["ParameterName"]), params)
        return {"EngineDefaults": {"DBParameterGroupFamily": family, "Parameters": chosen, **more}}

    def _rows(self, group: ParameterGroup, params: dict[str, Any]) -> list[dict[str, Any]]:
        engine = self._engine(group.family)
        names = {name.lower() for name in filters(params, ("parameter-name",)).get("parameter-name", ())}
        return [
            _row(definition, group, engine)
            for definition in engine.definitions.values()
            if not names or definition.name in names
        ]

    def _engine(self, family: str) -> Engine:
        major = major_of(family)
        if major is None:
            raise faults.bad_value(
                f"ParameterGroupFamily {family} is not a valid parameter group family. The local cloud has: "
                f"{', '.join(FAMILIES.values())}."
            )
        try:
            return self._core.engines.of(major)
        except Missing as error:
            raise faults.bad_value(
                f"ParameterGroupFamily {family} cannot be used on this machine: {error}. {error.next_step}."
            ) from error

    def _own(self, context: Context, name: str, doing: str) -> ParameterGroup:
        """A group a user made. The default ones are never changed."""
        group = self._core.parameter_group(context.region, name)
        if group.name.startswith(DEFAULT_GROUP):
            raise AwsFault(
                "InvalidDBParameterGroupState", f"The default parameter group {group.name} cannot be {doing}."
            )
        return group

    def _judge(self, engine: Engine, values: dict[str, str]) -> None:
        literal = {
            name: value for name, value in values.items() if engine.definitions[name].core and not is_formula(value)
        }
        rejection = engine.settings.judge(literal)
        if rejection is None:
            return
        definition = engine.definitions.get(rejection.name.lower())
        if definition is None:
            raise faults.bad_value(f"Invalid parameter value: {rejection.reason}")
        fault = parameters.invalid_value(definition, literal[rejection.name], rejection.allowed)
        if rejection.allowed:
            raise fault
        raise faults.bad_value(f"{fault.message} ({rejection.reason})")

    def _keep(self, group: ParameterGroup, at_once: set[str]) -> None:
        """Keep a changed group, and bring what applies at once to its instances."""
        core = self._core
        core.repository.parameter_groups.put(group.region, group.name, group)
        for instance in core.repository.instances.all(group.region):
            if instance.parameter_group != group.name:
                continue
            target = core.target(instance)
            new = {name: target[name] for name in at_once if name in target}

            def after(values: dict[str, str], new: dict[str, str] = new) -> dict[str, str]:
                return {name: value for name, value in values.items() if name not in at_once} | new

            operation = instance.operation
            if operation is not None and "parameters" in operation.undo:
                # What applies at once stays, also if what is under way is taken back.
                undo = {**operation.undo, "parameters": after(operation.undo["parameters"])}
                operation = operation.but(undo=undo)
            changed = instance.but(parameters=after(instance.parameters), operation=operation)
            if changed != instance:
                core.repository.save(changed)

    def _tell(self, group: ParameterGroup, message: str) -> None:
        self._core.events.add(group.region, "db-parameter-group", group.name, "RDS-EVENT-0037", message)


def _stored(definition: Definition, value: str) -> str:
    """The value as it is kept: words of an enumeration in lower case."""
    return value.lower() if definition.kind in ("boolean", "enum") else value


def _row(definition: Definition, group: ParameterGroup, engine: Engine) -> dict[str, Any]:
    name = definition.name
    value = group.values.get(name)
    source = "user" if value is not None else "system" if definition.system is not None else "engine-default"
    allowed, description = definition.allowed, definition.description
    if definition.core:
        if definition.kind == "enum":
            allowed = engine.settings.words(name).replace(" ", "")
        unit = engine.settings.unit(name)
        description = f"({unit}) {description}" if unit else description
    return without_nothing(
        {
            "ParameterName": name,
            "ParameterValue": value if value is not None else definition.system,
            "Description": description,
            "Source": source,
            "ApplyType": "static" if definition.static else "dynamic",
            "DataType": "string" if definition.kind == "enum" else definition.kind,
            "AllowedValues": allowed or None,
            "IsModifiable": definition.modifiable,
            "ApplyMethod": group.methods.get(name, "pending-reboot"),
        }
    )
