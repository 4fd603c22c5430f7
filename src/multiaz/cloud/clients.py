"""botocore clients that reach the dispatcher in process: no socket, no signature, no thread pool."""

from __future__ import annotations

import io
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from multiaz.cloud.models import LOADER
from multiaz.cloud.service import ACCOUNT_ID, AwsRequest, AwsResponse, Caller

if TYPE_CHECKING:  # botocore's client machinery costs 0.2 s: imported by the first client
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.compat import HTTPHeaders
    from botocore.session import Session

INTERNAL = Caller(arn=f"arn:aws:iam::{ACCOUNT_ID}:root", access_key_id="AKIAMULTIAZINTERNAL0", internal=True)
"""The principal of the engine's own calls: skips policy, alone may set `aws:*` tags."""

_ENDPOINT = "http://127.0.0.1"


_OPTIONS: dict[str, Any] = {
    "s3": {"addressing_style": "path"},
    "ignore_configured_endpoint_urls": True,
    "user_agent": "multiaz-in-process",
}
"""Options of every client; `user_agent` marks the calls in a trace."""


class _Raw(io.BytesIO):
    """The body of an answer as botocore reads one off a connection."""

    def stream(self, amt: int = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        """All of the body in pieces."""
        while piece := self.read(amt):
            yield piece


class InProcessClients:
    """Makes and keeps botocore clients; safe to use from several threads."""

    def __init__(self, dispatch: Callable[[AwsRequest], AwsResponse], caller: Caller = INTERNAL) -> None:
        self._dispatch = dispatch
        self._caller = caller
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._session: Session | None = None

    def client(self, service: str, region: str) -> Any:
        """The botocore client of `service` in `region`; the same one for the same arguments.

        Calls are never retried: in process, an error is an answer.
        """
        key = (service, region)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(service, region)
            return self._clients[key]

    def _make(self, service: str, region: str) -> Any:
        from botocore import UNSIGNED  # no signature: the dispatcher is handed the caller
        from botocore.awsrequest import AWSResponse
        from botocore.config import Config

        if self._session is None:
            self._session = _session()
        client = self._session.create_client(
            service,
            region_name=region,
            endpoint_url=_ENDPOINT,
            config=Config(signature_version=UNSIGNED, **_OPTIONS),
        )
        signing_name = client.meta.service_model.signing_name

        def before_send(request: AWSPreparedRequest, **_: Any) -> Any:
            answer = self._dispatch(self._to_ours(request, signing_name, region))
            return AWSResponse(request.url, answer.status, _headers(answer), _Raw(answer.body))

        event = client.meta.service_model.service_id.hyphenize()
        client.meta.events.unregister(f"needs-retry.{event}", unique_id=f"retry-config-{event}")
        client.meta.events.register_first(f"before-send.{event}", before_send)
        return client

    def _to_ours(self, request: AWSPreparedRequest, service: str, region: str) -> AwsRequest:
        url = urlsplit(request.url)
        return AwsRequest(
            service=service,
            region=region,
            caller=self._caller,
            method=request.method,
            path=url.path or "/",
            query=url.query,
            headers={name.lower(): _text(value) for name, value in request.headers.items()},
            body=_bytes(request.body),
            request_id=str(uuid.uuid4()),
        )


def _session() -> Session:
    """A session that knows nothing of the person's own AWS configuration."""
    from botocore.session import Session

    nothing = (None, None, None, None)
    session = Session(
        session_vars={
            "profile": nothing,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    session.register_component("data_loader", LOADER)
    return session


def _headers(answer: AwsResponse) -> HTTPHeaders:
    from botocore.compat import HTTPHeaders

    headers: HTTPHeaders = HTTPHeaders.from_dict(dict(answer.headers))
    return headers


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _bytes(body: Any) -> bytes:
    match body:
        case None:
            return b""
        case bytes() | bytearray():
            return bytes(body)
        case str():
            return body.encode()
        case _:
            content = body.read()
            return content.encode() if isinstance(content, str) else bytes(content)
