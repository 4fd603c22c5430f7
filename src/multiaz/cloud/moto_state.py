"""moto's state on disk: one file per service, replaced as a whole before a mutating call is answered.

A file is a line of JSON (format, moto's version, service, digest) and a pickle. References that leave
the service (its backends, other services' backends, AWS's own policies) are written by name, so that
restoring one service never makes a second copy of another.
"""

from __future__ import annotations

import contextlib
import copyreg
import hashlib
import importlib
import io
import json
import pickle
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from multiaz.cloud.bodies import Bodies, Body
from multiaz.cloud.moto_patches import moto_version
from multiaz.errors import Conflict
from multiaz.files import write_atomically

FORMAT = 1
_LOCK_TYPE = type(threading.Lock())


class MotoState:
    """Saves and restores services. Used under the lock of moto's tail."""

    def __init__(self, folder: Path, bodies: Bodies) -> None:
        self._folder = folder
        self._bodies = bodies
        self._saved: dict[str, str] = {}

    def check(self) -> None:
        """Raise Conflict if a file was written by another version; reads only their first lines."""
        for path in self._files():
            with path.open("rb") as stream:
                _check_header(path, stream.readline())

    def saved_services(self) -> list[str]:
        """Services that have a file."""
        return sorted(path.stem for path in self._files())

    def _files(self) -> Iterator[Path]:
        return self._folder.glob("*.state")

    def save(self, service: str) -> bool:
        """Make the state of `service` durable if it differs from what is saved; True if it did."""
        if service not in self._saved and not any(True for _ in _backends(service).iter_backends()):
            return False
        payload, bodies = self._pickle(service)
        digest = hashlib.sha256(payload).hexdigest()
        if self._saved.get(service) == digest:
            return False
        if service == "s3":
            self._bodies.sync(bodies)
        header = {"format": FORMAT, "moto": moto_version(), "service": service, "sha256": digest}
        write_atomically(self._folder / f"{service}.state", json.dumps(header).encode() + b"\n" + payload)
        self._saved[service] = digest
        if service == "s3":
            self._bodies.sweep(bodies)
        return True

    def restore(self) -> None:
        """Put every saved service back into moto's backends. Raises Conflict for a damaged file."""
        for service in self.saved_services():
            self._restore(service)

    def _restore(self, service: str) -> None:
        path = self._folder / f"{service}.state"
        with path.open("rb") as stream:
            header = _check_header(path, stream.readline())
            payload = stream.read()
        digest = hashlib.sha256(payload).hexdigest()
        if digest != header["sha256"]:
            raise Conflict(
                f"Cannot read {path}",
                "its content does not match its digest: the file is damaged",
                "restore the file from a backup, or remove the home and start anew",
            )
        bodies: set[str] = set()
        state = _Unpickler(io.BytesIO(payload), self._bodies, bodies).load()
        for (account, region), attributes in state.items():
            backend = _backends(service)[account][region]
            if service == "iam":
                attributes = _with_aws_policies(backend, attributes)
            backend.__dict__.clear()
            backend.__dict__.update(attributes)
        self._saved[service] = digest
        if service == "s3":
            _name_buckets(_backends(service))
            self._bodies.sweep(bodies)

    def _pickle(self, service: str) -> tuple[bytes, set[str]]:
        names = {id(backend): key for key, backend in _all_backends()}
        trim = _without_aws_policies if service == "iam" else vars
        state = {(account, region): trim(b) for account, region, b in _backends(service).iter_backends()}
        stream = io.BytesIO()
        pickler = _Pickler(stream, names)
        pickler.dump(state)
        return stream.getvalue(), pickler.bodies


def _check_header(path: Path, line: bytes) -> dict[str, Any]:
    header: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        header = json.loads(line)
    if header.get("format") != FORMAT or header.get("moto") != moto_version():
        raise Conflict(
            f"Cannot read {path}",
            f"it was written by moto {header.get('moto', 'unknown')} (format {header.get('format', 'unknown')}), "
            f"and this is moto {moto_version()} (format {FORMAT})",
            "start the local cloud with the version of multiaz that wrote it, or use another MULTIAZ_HOME",
        )
    return header


def _backends(service: str) -> Any:
    find: Any = importlib.import_module("moto.backends").get_backend
    return find(service)


def _all_backends() -> Iterator[tuple[tuple[str, str, str], Any]]:
    """Every backend that exists, by service, account and region."""
    instances: Any = importlib.import_module("moto.core.base_backend").BackendDict._instances
    for backends in instances:
        for account, region, backend in backends.iter_backends():
            yield (_module_of(backends), account, region), backend


def _module_of(backends: Any) -> str:
    """Name moto.backends.get_backend knows a service by (its package, not always `service_name`)."""
    package: str = backends.backend.__module__.split(".")[1]
    return {"awslambda": "lambda"}.get(package, package)


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, names: dict[int, tuple[str, str, str]]) -> None:
        super().__init__(stream, protocol=5)
        self._names = names
        self.bodies: set[str] = set()

    def persistent_id(self, value: Any) -> Any:
        key = self._names.get(id(value))
        if key is not None:
            return ("backend", *key)
        kind = type(value)
        if kind is Body:
            if value.name is not None:
                self.bodies.add(value.name)
            return ("body", value.name)
        if kind.__name__ == "AWSManagedPolicy":
            return ("policy", value.account_id, value.partition, value.arn)
        if kind.__name__ in ("BackendDict", "AccountSpecificBackend"):
            raise pickle.PicklingError(f"{kind.__name__} within a service's state")
        return None

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is _LOCK_TYPE:
            return (threading.Lock, ())
        if kind is FunctionType and value.__name__ == "<lambda>":
            name = f"{value.__module__}.{value.__qualname__}"
            if name not in _LAMBDAS:
                raise pickle.PicklingError(f"cannot save the function {name}")
            return (_known_lambda, (name,))
        if isinstance(value, dict) and kind.__module__.startswith("moto."):
            raw = (dict(dict.items(value)), value.__dict__, getattr(value, "default_factory", None))
            return (copyreg.__newobj__, (kind,), raw, None, None, _fill_dict)  # type: ignore[attr-defined]
        if hasattr(value, "private_bytes") and hasattr(value, "private_numbers"):
            return (_load_private_key, (_private_key_bytes(value),))
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, bodies: Bodies, seen: set[str]) -> None:
        super().__init__(stream)
        self._bodies = bodies
        self._seen = seen

    def persistent_load(self, key: Any) -> Any:
        match key:
            case ("backend", service, account, region):
                return _backends(service)[account][region]
            case ("body", None):
                return self._bodies.new()
            case ("body", name):
                self._seen.add(name)
                return self._bodies.open(name)
            case ("policy", account, partition, arn):
                return _backends("iam")[account][partition].managed_policies[arn]
            case _:
                raise pickle.UnpicklingError(f"unknown reference {key!r}")


def _name_buckets(backends: Any) -> None:
    """Say again which bucket names are taken: moto keeps that beside its backends."""
    for account, _, backend in backends.iter_backends():
        for name in backend.buckets:
            backends.bucket_accounts[name] = (backend.partition, account)


def _without_aws_policies(backend: Any) -> dict[str, Any]:
    """IAM's state without the 1,400 policies that are AWS's own: only how often each is attached."""
    ours = {policy.arn for policy in backend.aws_managed_policies}
    state: dict[str, Any] = backend.__dict__
    return state | {
        "aws_managed_policies": {p.arn: p.attachment_count for p in backend.aws_managed_policies if p.attachment_count},
        "managed_policies": {arn: p for arn, p in backend.managed_policies.items() if arn not in ours},
    }


def _with_aws_policies(backend: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The reverse, with the policies of `backend`, which is new."""
    for arn, count in attributes["aws_managed_policies"].items():
        backend.managed_policies[arn].attachment_count = count
    return attributes | {
        "aws_managed_policies": backend.aws_managed_policies,
        "managed_policies": backend.managed_policies | attributes["managed_policies"],
    }


def _nested_dict() -> defaultdict[Any, dict[Any, Any]]:
    return defaultdict(dict)


_LAMBDAS = {"moto.ssm.models.SimpleSystemManagerBackend.__init__.<locals>.<lambda>": _nested_dict}
"""Functions without a name that moto's models hold, and what they do."""


def _known_lambda(name: str) -> Any:
    return _LAMBDAS[name]


def _fill_dict(made: Any, raw: tuple[dict[Any, Any], dict[str, Any], Any]) -> None:
    """Fill one of moto's own kinds of dict past its own methods, which load defaults, drop all but
    the newest version of an S3 key, or need arguments to be made."""
    items, attributes, factory = raw
    dict.update(made, items)
    made.__dict__.update(attributes)
    if factory is not None:
        made.default_factory = factory


def _private_key_bytes(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    der: bytes = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return der


def _load_private_key(der: bytes) -> Any:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_der_private_key(der, password=None)
