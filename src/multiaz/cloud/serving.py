"""The AWS endpoint as a process: one per home, listening on loopback, stopped cleanly by SIGTERM."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import Any

import uvicorn

from multiaz.cloud.app import Cloud, Maker, our_services
from multiaz.cloud.frontdoor import LOOPBACK, listen, listen_privately
from multiaz.errors import Conflict
from multiaz.files import ProcessLock, lock_holder, write_atomically
from multiaz.home import Home, make_private_folder

_log = logging.getLogger("multiaz.cloud")

LOG_BYTES = 5 * 1024 * 1024
CONNECTIONS = 512
"""Connections at once; requests on more are answered 503, which every SDK repeats."""


def serve(home: Home, port: int, make_services: Maker = our_services) -> None:
    """Serve `home` on `port` (0: any free one) until SIGTERM or SIGINT.

    Raises Conflict, touching nothing, if this home is served already or the port is taken.
    """
    _prepare(home)
    lock = ProcessLock(home.cloud_lock)
    if not lock.acquire():
        raise Conflict(
            f"Cannot start a second AWS endpoint for {home.root}",
            f"process {lock_holder(home.cloud_lock)} serves it already",
            "use the one that runs, or stop it with `multiaz local stop`",
        )
    try:
        home.cloud_ready.unlink(missing_ok=True)  # of a process that is no more
        listener = listen(port)
        _log_to_file(home)
        cloud = Cloud(home, listener.getsockname()[1], make_services)
        server = _Server(_config(cloud), cloud)
        server.run(sockets=[listener, listen_privately(home.judge_socket)])
        server.starting.join()
        cloud.stop()
        if server.failure is not None:
            raise server.failure
    finally:
        lock.release()


def _prepare(home: Home) -> None:
    """Folders of the home. The root can be entered by PostgreSQL's user; ours below it cannot."""
    home.root.mkdir(parents=True, exist_ok=True, mode=0o755)
    make_private_folder(home.run_folder, 0o711)
    for folder in (home.logs, home.moto, home.s3):
        make_private_folder(folder)


def _log_to_file(home: Home) -> None:
    path = home.logs / "cloud.log"
    handler = _PrivateLog(path, maxBytes=LOG_BYTES, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # botocore and moto log requests, secrets included, below WARNING.
    for noisy in ("botocore", "boto3", "moto", "urllib3", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _PrivateLog(RotatingFileHandler):
    """A log whose every file, also after a rotation, is its owner's only."""

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.fchmod(stream.fileno(), 0o600)
        return stream


def _config(cloud: Cloud) -> uvicorn.Config:
    app: Any = cloud.app
    return uvicorn.Config(
        app,
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        backlog=512,
        limit_concurrency=CONNECTIONS,
    )


class _Server(uvicorn.Server):
    """Starts the cloud's background work, and says that it is ready, once connections are accepted."""

    def __init__(self, config: uvicorn.Config, cloud: Cloud) -> None:
        super().__init__(config)
        self._cloud = cloud
        self.failure: Exception | None = None
        self.starting = threading.Thread(target=self._announce, name="start")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the loop; uvicorn's own version then dies of them, before we stop."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: Any = None) -> None:
        """Accept connections, then let the services resume in a thread of their own."""
        await super().startup(sockets)
        self.starting.start()

    def _announce(self) -> None:
        cloud = self._cloud
        try:
            cloud.start(self._fail)
            record = {"pid": os.getpid(), "host": LOOPBACK, "port": cloud.port}
            write_atomically(cloud.home.cloud_ready, json.dumps(record) + "\n")
        except Exception as error:  # noqa: BLE001 - logged, and raised again by serve
            _log.exception("could not start")
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.should_exit = True
