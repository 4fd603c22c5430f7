"""The parts of the AWS endpoint, assembled. What makes a process of them is in serving.py."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from multiaz.cloud.clients import InProcessClients
from multiaz.cloud.dbauth import PATH as DBAUTH_PATH
from multiaz.cloud.dbauth import DatabaseLogins, judge_url
from multiaz.cloud.dispatch import Dispatcher
from multiaz.cloud.door import Door, HttpRequest
from multiaz.cloud.frontdoor import LOOPBACK, FrontDoor, Own
from multiaz.cloud.identity import Identity
from multiaz.cloud.moto_tail import SERVED, MotoTail
from multiaz.cloud.principals import Principals, load_or_create_administrator
from multiaz.cloud.service import AwsResponse, ModelledService
from multiaz.cloud.store import Store
from multiaz.home import Home

_log = logging.getLogger("multiaz.cloud")

Maker = Callable[[Store, Home, InProcessClients, str], list[ModelledService]]
"""Makes the services that are ours from what they need; the string is the URL at which IAM tokens are judged."""


def our_services(store: Store, home: Home, clients: InProcessClients, judge: str) -> list[ModelledService]:
    """The services of ours, in the order they start."""
    from multiaz.cloud.backup import BackupService
    from multiaz.cloud.lambda_ import LambdaService
    from multiaz.cloud.rds.rotation import SecretRotation
    from multiaz.cloud.rds.service import RdsService
    from multiaz.cloud.stacks.service import CloudFormationService

    rds = RdsService(store, home, clients, judge)
    return [
        LambdaService(store, clients),
        BackupService(store, clients),
        rds,
        SecretRotation(store, clients, rds),
        CloudFormationService(store, clients),
    ]


class Cloud:
    """The parts of one running endpoint."""

    def __init__(self, home: Home, port: int, make_services: Maker = our_services) -> None:
        self.home = home
        self._started_at = time.monotonic()
        self.port = port
        self.url = f"http://{LOOPBACK}:{port}"
        self.administrator = load_or_create_administrator(home.credentials)
        self.store = Store(home.database)
        self.tail = MotoTail(home.moto, home.s3)
        principals = Principals(self.administrator, self.tail)
        self.dispatcher = Dispatcher(self.tail, SERVED)
        self.clients = InProcessClients(self.dispatcher.dispatch)
        identity = Identity(principals)
        self.dispatcher.register(identity.name, identity.operations)
        self.dispatcher.guard("sts", "AssumeRole", identity.check_assume_role)
        self.services = make_services(self.store, home, self.clients, judge_url(home.judge_socket))
        for service in self.services:
            self.dispatcher.register(service.name, service.operations)
        self.door = Door(principals, self.dispatcher.dispatch, self._secret_arn, self._bucket_policy)
        logins = DatabaseLogins(principals, self.door)
        self.ready = threading.Event()
        own: dict[tuple[str, str], Own] = {
            ("GET", "/_multiaz/health"): self._health,
            ("GET", "/_multiaz/regions"): self._regions,
        }
        private: dict[tuple[str, str], Own] = {("POST", DBAUTH_PATH): logins.answer}
        self.app = FrontDoor(self.door, port, own, private)

    def start(self, failed: Callable[[Exception], None]) -> None:
        """Let the services resume what they had begun; called once requests are accepted.

        moto's saved state is restored meanwhile, and calls that need it wait for it; `failed` is told
        if it cannot be.
        """

        def warm() -> None:
            try:
                self.tail.warm()
            except Exception as error:  # noqa: BLE001 - logged, and ends the process
                _log.exception("could not restore what moto serves")
                failed(error)

        threading.Thread(target=warm, name="warm", daemon=True).start()
        for service in self.services:
            service.start()
        self.ready.set()
        _log.info("ready on %s after %.2f s", self.url, time.monotonic() - self._started_at)

    def stop(self) -> None:
        """Stop background work and close what is open; the databases go on."""
        self.ready.clear()
        for service in reversed(self.services):
            service.stop()
        self.app.close()
        self.store.close()
        _log.info("stopped")

    def _health(self, _: HttpRequest) -> AwsResponse:
        body = {"ready": self.ready.is_set(), "pid": os.getpid(), "services": sorted(s.name for s in self.services)}
        return AwsResponse(200, {"content-type": "application/json"}, json.dumps(body).encode())

    def _regions(self, _: HttpRequest) -> AwsResponse:
        """Regions in which anything was ever made or asked for, and the services of moto's that were."""
        found: dict[str, set[str]] = {}
        for service, region in self.tail.regions():
            found.setdefault(region, set()).add(service)
        tables = self.store.rows(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c "
            "WHERE m.type = 'table' AND c.name = 'region'"
        )
        for table in tables:
            for row in self.store.rows(f'SELECT DISTINCT region FROM "{table["name"]}"'):  # noqa: S608 - our own names
                found.setdefault(row["region"], set())
        body = {region: sorted(services) for region, services in sorted(found.items())}
        return AwsResponse(200, {"content-type": "application/json"}, json.dumps(body).encode())

    def _secret_arn(self, region: str, name: str) -> str | None:
        client: Any = self.clients.client("secretsmanager", region)
        try:
            return str(client.describe_secret(SecretId=name)["ARN"])
        except client.exceptions.ResourceNotFoundException:
            return None

    def _bucket_policy(self, name: str) -> dict[str, Any] | None:
        with self.tail.lock:
            bucket = self.tail.backend("s3").buckets.get(name)
            text = None if bucket is None else bucket.policy
        return json.loads(text) if text else None
