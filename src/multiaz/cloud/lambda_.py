"""Lambda, recorded: functions are kept and described as AWS would, and never executed.

Code that arrives in a template must not run on a person's machine; what the stack's functions are for
is done natively elsewhere, and recognised by the digest of their code.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import lzma
import sqlite3
import struct
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.service import ACCOUNT_ID, PARTITION, AwsFault, Clients, Context, Operation
from multiaz.cloud.store import Store

CODE_TAG = "multiaz:code-sha256"
"""Tag GetFunction adds: SHA-256 (hex) of the one file in the zip; absent if there are several."""

_DDL = """
CREATE TABLE IF NOT EXISTS lambda_function (
    region TEXT NOT NULL, name TEXT NOT NULL,
    configuration TEXT NOT NULL, tags TEXT NOT NULL, statements TEXT NOT NULL, only_file TEXT,
    PRIMARY KEY (region, name)
) STRICT
"""

_KEPT = (
    "Runtime",
    "Role",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "PackageType",
    "DeadLetterConfig",
    "Environment",
    "KMSKeyArn",
    "TracingConfig",
    "EphemeralStorage",
    "Architectures",
    "LoggingConfig",
    "VpcConfig",
)
"""Settings recorded and described. They have no effect, as the code never runs; any other is refused."""
_NEVER_RUN = "Functions are recorded on the local cloud, never executed"
_NO_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, OSError, ValueError, OverflowError),
)
"""What reading bytes that are no zip file, or a damaged one, may raise."""
_LARGEST_UNZIPPED = 256 * 1024 * 1024


@dataclass(frozen=True)
class _Code:
    sha256: str
    size: int
    only_file: str | None


@dataclass
class _Function:
    region: str
    name: str
    configuration: dict[str, Any]
    tags: dict[str, str]
    statements: list[dict[str, Any]]
    only_file: str | None

    @property
    def arn(self) -> str:
        return _arn(self.region, self.name)


class LambdaService:
    """The recorded functions of all regions, in the store."""

    name = "lambda"

    def __init__(self, store: Store, clients: Clients) -> None:
        self._store = store
        self._clients = clients
        store.create(_DDL)

    @property
    def operations(self) -> Mapping[str, Operation]:
        """API actions by name."""
        refused = dict.fromkeys(("Invoke", "InvokeAsync", "InvokeWithResponseStream"), _refuse_to_run)
        return refused | {
            "CreateFunction": self.create_function,
            "GetFunction": self.get_function,
            "GetFunctionConfiguration": self.get_function_configuration,
            "ListFunctions": self.list_functions,
            "UpdateFunctionCode": self.update_function_code,
            "UpdateFunctionConfiguration": self.update_function_configuration,
            "DeleteFunction": self.delete_function,
            "ListTags": self.list_tags,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
            "GetPolicy": self.get_policy,
        }

    def start(self) -> None:
        """Nothing to resume."""

    def stop(self) -> None:
        """Nothing runs."""

    def create_function(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Record a function."""
        _only(parameters, {"FunctionName", "Code", "Tags", "Publish", *_KEPT})
        if parameters.get("Publish"):
            raise _invalid("Publish is not available on the local cloud: there are no versions.")
        if parameters.get("PackageType", "Zip") != "Zip":
            raise _invalid("PackageType Image is not available on the local cloud.")
        for required in ("Handler", "Runtime"):
            if required not in parameters:
                raise _invalid(f"{required} is mandatory for functions created with deployment packages")
        _check_tags(context, parameters.get("Tags", {}))
        self._check_role(context, parameters["Role"])
        code = self._code(context, parameters["Code"])
        name = _short_name(parameters["FunctionName"])
        configuration = {key: parameters[key] for key in _KEPT if key in parameters}
        function = _Function(context.region, name, configuration, dict(parameters.get("Tags", {})), [], code.only_file)
        _set_code(function, code)
        with self._store.transaction() as connection:
            if self._find(context.region, name) is not None:
                raise AwsFault("ResourceConflictException", f"Function already exist: {name}", 409)
            _save(connection, function)
        return _described(function)

    def get_function(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Configuration and tags; there is no location to fetch the code from."""
        function = self._named(context, parameters)
        tags = dict(function.tags)
        if function.only_file is not None:
            tags[CODE_TAG] = function.only_file
        return {"Configuration": _described(function), "Code": {"RepositoryType": "S3"}, "Tags": tags}

    def get_function_configuration(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """The configuration of one function."""
        return _described(self._named(context, parameters))

    def list_functions(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Functions of the region by name, a page at a time."""
        _only(parameters, {"Marker", "MaxItems", "FunctionVersion"})
        size = min(int(parameters.get("MaxItems", 50)), 50)
        rows = self._store.rows(
            "SELECT * FROM lambda_function WHERE region = ? AND name > ? ORDER BY name LIMIT ?",
            (context.region, parameters.get("Marker", ""), size + 1),
        )
        functions = [_load(row) for row in rows]
        page: dict[str, Any] = {"Functions": [_described(function) for function in functions[:size]]}
        if len(functions) > size:
            page["NextMarker"] = functions[size - 1].name
        return page

    def update_function_code(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Replace the code's digest and size."""
        sources = {"ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion"}
        _only(parameters, {"FunctionName", "Publish", "DryRun", "RevisionId", "Architectures", *sources})
        if parameters.get("Publish"):
            raise _invalid("Publish is not available on the local cloud: there are no versions.")
        code = self._code(context, {key: parameters[key] for key in sources if key in parameters})
        with self._store.transaction() as connection:
            function = self._named(context, parameters)
            _check_revision(function, parameters)
            function.only_file = code.only_file
            if "Architectures" in parameters:
                function.configuration["Architectures"] = parameters["Architectures"]
            _set_code(function, code)
            if not parameters.get("DryRun"):
                _save(connection, function)
        return _described(function)

    def update_function_configuration(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Replace the settings that are given."""
        changeable = set(_KEPT) - {"PackageType", "Architectures"}
        _only(parameters, {"FunctionName", "RevisionId", *changeable})
        if "Role" in parameters:
            self._check_role(context, parameters["Role"])
        with self._store.transaction() as connection:
            function = self._named(context, parameters)
            _check_revision(function, parameters)
            function.configuration |= {key: parameters[key] for key in changeable if key in parameters}
            _touch(function)
            _save(connection, function)
        return _described(function)

    def delete_function(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Forget a function."""
        with self._store.transaction() as connection:
            function = self._named(context, parameters)
            connection.execute(
                "DELETE FROM lambda_function WHERE region = ? AND name = ?", (function.region, function.name)
            )
        return {}

    def list_tags(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Tags by key."""
        return {"Tags": self._named(context, {"FunctionName": parameters["Resource"]}).tags}

    def tag_resource(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Add or replace tags."""
        _check_tags(context, parameters["Tags"])
        return self._retag(context, parameters["Resource"], lambda tags: tags | parameters["Tags"])

    def untag_resource(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Remove tags."""
        gone = set(parameters["TagKeys"])
        _check_tags(context, dict.fromkeys(gone, ""))
        return self._retag(
            context, parameters["Resource"], lambda tags: {k: v for k, v in tags.items() if k not in gone}
        )

    def _retag(self, context: Context, arn: str, change: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, Any]:
        with self._store.transaction() as connection:
            function = self._named(context, {"FunctionName": arn})
            function.tags = change(function.tags)
            _save(connection, function)
        return {}

    def add_permission(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Add a statement to the function's policy."""
        _only(
            parameters,
            {"FunctionName", "StatementId", "Action", "Principal", "SourceArn", "SourceAccount", "RevisionId"},
        )
        with self._store.transaction() as connection:
            function = self._named(context, parameters)
            _check_revision(function, parameters)
            sid = parameters["StatementId"]
            if any(statement["Sid"] == sid for statement in function.statements):
                raise AwsFault(
                    "ResourceConflictException",
                    f"The statement id ({sid}) provided already exists. Please provide a new statement id, "
                    "or remove the existing statement.",
                    409,
                )
            statement = _statement(function, parameters)
            function.statements.append(statement)
            _save(connection, function)
        return {"Statement": json.dumps(statement)}

    def remove_permission(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """Remove a statement from the function's policy."""
        _only(parameters, {"FunctionName", "StatementId", "RevisionId"})
        with self._store.transaction() as connection:
            function = self._named(context, parameters)
            _check_revision(function, parameters)
            kept = [s for s in function.statements if s["Sid"] != parameters["StatementId"]]
            if len(kept) == len(function.statements):
                raise AwsFault(
                    "ResourceNotFoundException",
                    f"Statement {parameters['StatementId']} is not found in resource policy.",
                    404,
                )
            function.statements = kept
            _save(connection, function)
        return {}

    def get_policy(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """The function's policy, if it has one."""
        function = self._named(context, parameters)
        if not function.statements:
            raise AwsFault("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        document = {"Version": "2012-10-17", "Id": "default", "Statement": function.statements}
        return {"Policy": json.dumps(document), "RevisionId": function.configuration["RevisionId"]}

    def _named(self, context: Context, parameters: Mapping[str, Any]) -> _Function:
        if parameters.get("Qualifier", "$LATEST") != "$LATEST":
            raise _invalid("Qualifier is not available on the local cloud: there are no versions.")
        name = _short_name(parameters["FunctionName"])
        function = self._find(context.region, name)
        if function is None:
            raise AwsFault("ResourceNotFoundException", f"Function not found: {_arn(context.region, name)}", 404)
        return function

    def _find(self, region: str, name: str) -> _Function | None:
        rows = self._store.rows("SELECT * FROM lambda_function WHERE region = ? AND name = ?", (region, name))
        return _load(rows[0]) if rows else None

    def _check_role(self, context: Context, arn: str) -> None:
        """The role must exist and trust Lambda, as on AWS."""
        client = self._clients.client("iam", context.region)
        refusal = _invalid("The role defined for the function cannot be assumed by Lambda.")
        if not arn.startswith(f"arn:{PARTITION}:iam::{ACCOUNT_ID}:role/"):
            raise refusal
        try:
            role = client.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except ClientError as error:
            raise refusal from error
        trust = json.dumps(role["AssumeRolePolicyDocument"])
        if role["Arn"] != arn or "lambda.amazonaws.com" not in trust:
            raise refusal

    def _code(self, context: Context, code: Mapping[str, Any]) -> _Code:
        """Digest and size of a deployment package. Raises AwsFault if it is not a zip file."""
        _only(code, {"ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion"})
        package = code.get("ZipFile")
        if package is None and "S3Bucket" in code and "S3Key" in code:
            package = self._from_s3(context, code)
        if package is None:
            raise _invalid("Please provide a source for function code.")
        try:
            with zipfile.ZipFile(io.BytesIO(package)) as archive:
                files = [entry for entry in archive.infolist() if not entry.is_dir()]
                if sum(entry.file_size for entry in files) > _LARGEST_UNZIPPED:
                    raise _invalid("Unzipped size must be smaller than 262144000 bytes")
                only = hashlib.sha256(archive.read(files[0])).hexdigest() if len(files) == 1 else None
        except _NO_ZIP as error:
            raise _invalid("Could not unzip uploaded file. Please check your file, then try again.") from error
        digest = base64.b64encode(hashlib.sha256(package).digest()).decode()
        return _Code(digest, len(package), only)

    def _from_s3(self, context: Context, code: Mapping[str, Any]) -> bytes:
        client = self._clients.client("s3", context.region)
        arguments = {"Bucket": code["S3Bucket"], "Key": code["S3Key"]}
        if "S3ObjectVersion" in code:
            arguments["VersionId"] = code["S3ObjectVersion"]
        try:
            body: bytes = client.get_object(**arguments)["Body"].read()
        except ClientError as error:
            raise _invalid(
                f"Error occurred while GetObject. S3 Error Code: {error.response['Error']['Code']}."
            ) from error
        return body


def _arn(region: str, name: str) -> str:
    return f"arn:{PARTITION}:lambda:{region}:{ACCOUNT_ID}:function:{name}"


def _short_name(name: str) -> str:
    return name.rpartition("function:")[2]


def _only(parameters: Mapping[str, Any], known: set[str]) -> None:
    for name in parameters:
        if name not in known:
            raise _invalid(f"{name} is not available on the local cloud.")


def _invalid(message: str) -> AwsFault:
    return AwsFault("InvalidParameterValueException", message, 400)


def _refuse_to_run(_: Context, parameters: dict[str, Any]) -> dict[str, Any]:
    raise _invalid(f"{_NEVER_RUN}: {parameters.get('FunctionName', '')} cannot be invoked.")


def _check_tags(context: Context, tags: Mapping[str, str]) -> None:
    if context.caller.internal:
        return
    for key in tags:
        if key.lower().startswith("aws:") or key == CODE_TAG:
            raise _invalid(f"Tag keys starting with 'aws:' are reserved for system use: {key}")


def _check_revision(function: _Function, parameters: Mapping[str, Any]) -> None:
    wanted = parameters.get("RevisionId")
    if wanted is not None and wanted != function.configuration["RevisionId"]:
        raise AwsFault(
            "PreconditionFailedException",
            "The RevisionId provided does not match the latest RevisionId. Call the "
            "GetFunction/GetAlias API to retrieve the latest RevisionId",
            412,
        )


def _set_code(function: _Function, code: _Code) -> None:
    function.configuration |= {"CodeSha256": code.sha256, "CodeSize": code.size}
    _touch(function)


def _touch(function: _Function) -> None:
    now = datetime.now(UTC)
    function.configuration["LastModified"] = now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    function.configuration["RevisionId"] = str(uuid.uuid4())


def _described(function: _Function) -> dict[str, Any]:
    group = f"/aws/lambda/{function.name}"
    return {
        "FunctionName": function.name,
        "FunctionArn": function.arn,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": group},
        "Version": "$LATEST",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        **function.configuration,
    }


def _statement(function: _Function, parameters: Mapping[str, Any]) -> dict[str, Any]:
    principal = parameters["Principal"]
    who: Any = {"Service": principal} if principal.endswith(".amazonaws.com") else {"AWS": principal}
    statement: dict[str, Any] = {
        "Sid": parameters["StatementId"],
        "Effect": "Allow",
        "Principal": "*" if principal == "*" else who,
        "Action": parameters["Action"],
        "Resource": function.arn,
    }
    condition: dict[str, Any] = {}
    if "SourceAccount" in parameters:
        condition["StringEquals"] = {"AWS:SourceAccount": parameters["SourceAccount"]}
    if "SourceArn" in parameters:
        condition["ArnLike"] = {"AWS:SourceArn": parameters["SourceArn"]}
    if condition:
        statement["Condition"] = condition
    return statement


def _load(row: sqlite3.Row) -> _Function:
    return _Function(
        row["region"],
        row["name"],
        json.loads(row["configuration"]),
        json.loads(row["tags"]),
        json.loads(row["statements"]),
        row["only_file"],
    )


def _save(connection: sqlite3.Connection, function: _Function) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO lambda_function VALUES (?, ?, ?, ?, ?, ?)",
        (
            function.region,
            function.name,
            json.dumps(function.configuration),
            json.dumps(function.tags),
            json.dumps(function.statements),
            function.only_file,
        ),
    )
