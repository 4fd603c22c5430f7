"""Where the AWS APIs are, who calls them, and what their refusals mean to a person."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore import exceptions as boto_errors
from botocore.config import Config

from multiaz.errors import ExitCode, Missing, MultiazError

_EXIT_CODES = {
    "ValidationError": ExitCode.BAD_INPUT,
    "InvalidParameterValue": ExitCode.BAD_INPUT,
    "InvalidParameterCombination": ExitCode.BAD_INPUT,
    "InsufficientCapabilitiesException": ExitCode.BAD_INPUT,
    "DBInstanceNotFound": ExitCode.NOT_FOUND,
    "DBInstanceNotFoundFault": ExitCode.NOT_FOUND,
    "ResourceNotFoundException": ExitCode.NOT_FOUND,
    "AlreadyExistsException": ExitCode.CONFLICT,
    "InvalidDBInstanceState": ExitCode.CONFLICT,
    "InvalidDBInstanceStateFault": ExitCode.CONFLICT,
    "OperationInProgressException": ExitCode.CONFLICT,
}
_RETRYABLE = frozenset({"Throttling", "ThrottlingException", "InternalFailure", "ServiceUnavailable"})


class AwsRefused(MultiazError):
    """An AWS API said no; `code` is AWS's own word for why."""

    def __init__(self, what: str, code: str, message: str, next_step: str | None = None) -> None:
        super().__init__(what, f"{message} ({code})", next_step or _next_step(code))
        self.code = code
        self.message = message
        self.exit_code = _EXIT_CODES.get(code, ExitCode.FAILED)
        self.retryable = code in _RETRYABLE


class Unreachable(MultiazError):
    """Nothing answers at the endpoint."""

    exit_code = ExitCode.NOT_FOUND
    retryable = True


def _next_step(code: str) -> str:
    if code in ("InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"):
        return "use the keys of this very cloud: `multiaz env` prints those of the local one"
    if code.startswith(("AccessDenied", "UnauthorizedOperation")):
        return "use a principal whose policy allows it"
    if code in _RETRYABLE:
        return "repeat the command"
    return "change what the message names, then repeat the command"


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn what botocore raises inside the block into a MultiazError that says `what` failed."""
    try:
        yield
    except boto_errors.ClientError as error:
        told = error.response.get("Error", {})
        raise AwsRefused(what, str(told.get("Code", "Unknown")), str(told.get("Message", error))) from error
    except (boto_errors.NoCredentialsError, boto_errors.PartialCredentialsError) as error:
        raise Missing(what, str(error), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile") from error
    except (boto_errors.HTTPClientError, boto_errors.ConnectionError) as error:
        raise Unreachable(
            what, str(error), "start the local cloud (`multiaz local start`), or check the endpoint's address"
        ) from error
    except boto_errors.BotoCoreError as error:
        raise AwsRefused(what, type(error).__name__, str(error)) from error


@dataclass(frozen=True)
class Access:
    """An AWS account seen from here. Everything in which Amazon and this machine differ."""

    region: str
    endpoint_url: str | None = None
    """None: Amazon itself."""
    access_key_id: str | None = None
    """None: whatever the environment or the shared credentials file says."""
    secret_access_key: str | None = field(default=None, repr=False)
    root_certificate: Path | None = None
    """PEM file that the databases' certificates are verified against; None: libpq's default."""

    @property
    def aws_command(self) -> str:
        """`aws` for a shell, with the region and, if there is one, the endpoint of this very account.

        A person's own variables may lead to another account that has instances of the same names: a command we
        advise must not depend on them.
        """
        where = [] if self.endpoint_url is None else ["--endpoint-url", self.endpoint_url]
        return shlex.join(["aws", *where, "--region", self.region])


class AwsClients:
    """Botocore clients of one `Access`, made once each. Safe to share between threads."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        # Any: the service is a value here, and the stubs know only literals.
        self._session: Any = boto3.session.Session(
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            region_name=access.region,
        )

    def client(self, service: str) -> Any:
        """The client of one service."""
        with self._lock:
            made = self._clients.get(service)
            if made is None:
                made = self._clients[service] = self._session.client(
                    service, endpoint_url=self.access.endpoint_url, config=self._config()
                )
            return made

    def _config(self) -> Config:
        # A proxy for the internet must not be asked for an address of this machine.
        proxies: dict[str, str] | None = {} if self.access.endpoint_url else None
        return Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 4},
            user_agent_extra="multiaz",
            proxies=proxies,
        )
