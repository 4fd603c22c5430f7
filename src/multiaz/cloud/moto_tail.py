"""The long tail of AWS: moto, in process, behind one lock. The only module that calls into moto's routing.

A request is handed to moto's handler for its URL as moto's own interception of botocore does it; no
socket, no WSGI server, no subprocess.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from multiaz.cloud import moto_patches
from multiaz.cloud.bodies import Bodies
from multiaz.cloud.models import form_of, model_name
from multiaz.cloud.moto_state import MotoState
from multiaz.cloud.protocol import internal_failure, not_available, render_fault, report_bug
from multiaz.cloud.service import ACCOUNT_ID, AwsFault, AwsRequest, AwsResponse

SERVED = frozenset(["ec2", "iam", "kms", "secretsmanager", "s3", "sns", "cloudwatch", "logs", "events", "ssm", "sts"])
"""botocore names of the services moto serves here: those whose state is saved and tested.
Any other service is refused by name."""

_GLOBAL = frozenset({"iam", "sts", "s3"})

_READS = ("Describe", "List", "Get", "Head", "Lookup", "Search", "Filter", "Test", "Validate", "Simulate")
"""Prefixes of actions that change nothing, except in the services below."""
_CHANGED_BY_READS = frozenset({"kms", "secretsmanager", "sts", "sns"})
"""Here a read makes or notes something (a default key, the day a secret was read); saving is cheap."""
_ALSO_CHANGED = {"sts": ("iam",), "s3": ("sns", "events"), "events": ("logs", "secretsmanager"), "ec2": ("logs",)}
"""Services into which another one's models write."""
_WARM = ("iam", "ec2", "kms", "secretsmanager", "s3", "sns", "cloudwatch", "logs")

_log = logging.getLogger("multiaz.cloud")


class MotoTail:
    """moto's services. One lock: moto's backends are not made for threads, and their state is
    saved as a whole. It is never held while PostgreSQL works."""

    def __init__(self, folder: Path, s3_folder: Path) -> None:
        self.lock = threading.RLock()
        self._routes: dict[str, list[tuple[re.Pattern[str], Callable[..., Any]]]] = {}
        self._bodies = Bodies(s3_folder)
        self._state = MotoState(folder, self._bodies)
        self._state.check()
        self._loaded = False
        self._regions: dict[str, int] = {}

    def load(self) -> None:
        """Import moto and restore what is saved; called by the first use, or earlier to be ready."""
        with self.lock:
            if not self._loaded:
                moto_patches.apply(self._bodies)
                self._state.restore()
                self._loaded = True

    def warm(self) -> None:
        """Import what a first call would wait for; the lock is free between services."""
        for service in _WARM:
            self.backend(service)

    def call(self, request: AwsRequest, operation: str) -> AwsResponse:
        """moto's answer to `request`, which calls `operation`; what it changed is on disk.

        Never raises: an action moto lacks is a fault naming it, a traceback in moto is our bug.
        """
        service = model_name(request.service)
        try:
            with self.lock:
                self.load()
                answer = self._call(service, request, operation)
                if service == "ec2" and answer.status == 200:
                    backend = self._find(service)[ACCOUNT_ID][request.region]
                    moto_patches.forget_deleted(backend, operation, form_of(request).fields)
                self._save(service, operation, answer)
                return answer
        except AwsFault as fault:
            return render_fault(service, fault, request)
        except NotImplementedError:
            _log.warning("moto has no %s:%s", service, operation)
            return render_fault(service, not_available(service, operation), request)
        except RecursionError as error:  # of a policy or another document within the body
            report_bug(error, request)
            message = "A document in the request has too many levels of nesting."
            return render_fault(service, AwsFault("SerializationException", message), request)
        except Exception as error:  # noqa: BLE001 - logged by report_bug, without the values
            report_bug(error, request)
            return render_fault(service, internal_failure(request.request_id), request)

    def _save(self, service: str, operation: str, answer: AwsResponse) -> None:
        """Save what the call may have changed. A call that failed may have changed things too."""
        regions = self._count_regions(service)
        is_new = regions != self._regions.get(service)  # the first look at a region makes its default VPC
        self._regions[service] = regions
        if not is_new and operation.startswith(_READS) and service not in _CHANGED_BY_READS:
            return
        for name in (*_ALSO_CHANGED.get(service, ()), service):
            self._state.save(name)

    def _count_regions(self, service: str) -> int:
        return sum(1 for _ in self._find(service).iter_backends())

    def _call(self, service: str, request: AwsRequest, operation: str) -> AwsResponse:
        from moto.core.request import Request
        from werkzeug.exceptions import HTTPException

        url = f"http://{request.service}.{request.region}.amazonaws.com{request.path}"
        if service not in _GLOBAL and request.region not in self._find(service)[ACCOUNT_ID]:
            raise AwsFault("InvalidAction", f"{service} is not available in {request.region} on the local cloud.")
        handler = next((found for pattern, found in self._handlers(service) if pattern.match(url)), None)
        if handler is None:
            raise not_available(service, operation)
        full_url = f"{url}?{request.query}" if request.query else url
        kind = _formless() if service == "s3" and request.method != "POST" else Request
        moto_request = kind.from_primitives(request.method, full_url, _headers(request), request.body)
        try:
            status, headers, body = handler(moto_request, moto_request.raw_url, moto_request.headers)
        except HTTPException as error:
            status, headers, body = error.code, dict(error.get_headers()), error.get_body()
        return AwsResponse(
            int(status or 500),
            {name.lower(): str(value) for name, value in dict(headers).items() if name.lower() != "status"}
            | {"x-amzn-requestid": request.request_id},
            _bytes(body),
        )

    def _handlers(self, service: str) -> list[tuple[re.Pattern[str], Callable[..., Any]]]:
        if service not in self._routes:
            backend = self.backend(service)
            self._routes[service] = [(re.compile(url), handler) for url, handler in backend.urls.items()]
        return self._routes[service]

    def backend(self, service: str) -> Any:
        """moto's backend of a service: of the partition if it is global, else of us-east-1."""
        with self.lock:
            self.load()
            return self._find(service)[ACCOUNT_ID]["aws" if service in _GLOBAL else "us-east-1"]

    def regions(self) -> list[tuple[str, str]]:
        """Service and region of every backend there is, global services left out."""
        with self.lock:
            self.load()
            regional = sorted(SERVED - _GLOBAL)
            return [(name, region) for name in regional for _, region, _ in self._find(name).iter_backends()]

    @staticmethod
    def _find(service: str) -> Any:
        from moto import backends

        find: Any = backends.get_backend
        return find(service)


@lru_cache(maxsize=1)
def _formless() -> Any:
    """A request whose body is not a form, whatever its Content-Type says: S3 takes objects of that
    type, and werkzeug would swallow their content."""
    from moto.core.request import Request

    class Formless(Request):
        want_form_data_parsed = False

    return Formless


def _headers(request: AwsRequest) -> dict[str, str]:
    """Headers as moto wants them: it takes region and caller from a signature, which in-process
    calls do not have, and must not see how the body travelled."""
    drop = {"authorization", "host", "transfer-encoding", "content-length", "expect", "connection"}
    kept = {name: value for name, value in request.headers.items() if name not in drop}
    scope = f"{request.caller.access_key_id}/20260101/{request.region}/{request.service}/aws4_request"
    kept["authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    return kept


def _bytes(body: Any) -> bytes:
    match body:
        case None:
            return b""
        case bytes() | bytearray():
            return bytes(body)
        case str():
            return body.encode()
        case _:
            return b"".join(piece if isinstance(piece, bytes) else str(piece).encode() for piece in body)
