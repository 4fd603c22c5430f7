"""The endpoint process: accepts clients, follows `relay.json`, keeps the supervisor alive."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from multiaz.relay import locks
from multiaz.relay.config import BadConfig, RelayConfig, read_config
from multiaz.relay.listener import ACCEPT_PAUSE_S, NO_ROOM, CannotListen, listen
from multiaz.relay.liveness import SWEEP_S, tune
from multiaz.relay.pair import Network
from multiaz.relay.session import Endpoint, Session
from multiaz.relay.shape import Block
from multiaz.relay.supervisor import SupervisorWatch
from multiaz.relay.tls import BadCertificate, server_context
from multiaz.relay.wires import BadWire, Wires, reset, through

LOOK_S = 0.25
"""How often the configuration and the supervisor's lock are looked at."""
AGAIN_S = 0.5
"""How often what failed is tried again."""
ACCEPT_AT_ONCE = 64
PER_CLIENT = 2
"""Descriptors of a session: the client's and the server's. One through a shaped network has a pair of sockets more,
and counts as two."""
KEPT_FREE = 64
"""Descriptors for everything else: files, wires, and clients that are only told no."""

log = logging.getLogger("multiaz.relay")


class Relay:
    """The endpoint of the DB instance in `folder`; its lock is held by the caller."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config_path = folder / "relay.json"
        self._ready_path = folder / "relay.ready"
        self._failed_path = folder / "relay.failed"
        self._endpoint: Endpoint | None = None
        self._listener: socket.socket | None = None
        self._listening_on: tuple[str, int] | None = None
        self._accepting = False
        self._starved = False
        self._wires = Wires()
        self._seen: tuple[object, ...] = ()
        self._failure = ""
        self._failure_written = False
        self._again_at = 0.0
        self._sweep_at = 0.0
        self._sessions: set[asyncio.Task[None]] = set()
        self._supervisor = SupervisorWatch(folder)
        self._look_now = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Serve until told to stop or until `relay.json` is gone."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._ready_path.unlink(missing_ok=True)
        self._failed_path.unlink(missing_ok=True)
        try:
            while not self._stopping and self._follow_config():
                self._watch_others()
                await self._pause(LOOK_S)
        finally:
            self._close()

    def _stop(self) -> None:
        log.info("told to stop")
        self._stopping = True
        self._look_now.set()

    def _reload(self) -> None:
        """SIGHUP: the link or the configuration changed. Who talks to a former primary is cut before anything else."""
        self._close_strays()
        self._seen = ()
        self._look_now.set()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._look_now.wait()
        except TimeoutError:
            pass
        self._look_now.clear()

    def _watch_others(self) -> None:
        if self._endpoint is None:
            return
        self._supervisor.look(self._endpoint.config)
        self._close_strays()
        if time.monotonic() > self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_S
            if vanished := self._endpoint.end_vanished():
                log.info("closed %d connections whose clients have vanished", vanished)

    def _close_strays(self) -> None:
        if self._endpoint is not None and (closed := self._endpoint.close_strays()):
            log.info("closed %d connections to a server that is no longer the primary", closed)

    # Configuration

    def _follow_config(self) -> bool:
        """Bring the listener in line with the file; False if the file is gone."""
        try:
            seen = self._fingerprint()
            if seen != self._seen or (self._failure and time.monotonic() > self._again_at):
                self._seen = seen
                self._apply(read_config(self._config_path))
        except FileNotFoundError as error:
            if not self._config_path.exists():
                log.info("relay.json is gone: ending")
                return False
            self._fail(f"{error.filename} is missing")
        except (BadConfig, BadCertificate, BadWire, CannotListen, OSError) as error:
            self._fail(str(error))
        return True

    def _fingerprint(self) -> tuple[object, ...]:
        paths = [self._config_path]
        if self._endpoint is not None:
            paths += [self._endpoint.config.certificate, self._endpoint.config.key]
        found = []
        for path in paths:
            info = path.stat()
            found.append((str(path), info.st_mtime_ns, info.st_ino, info.st_size))
        return tuple(found)

    def _apply(self, config: RelayConfig) -> None:
        context = server_context(config.certificate, config.key)
        if (config.address, config.port) != self._listening_on:
            self._rebind(config)
        if self._endpoint is None:
            self._endpoint = Endpoint(config, context, capacity=capacity())
        else:
            if config != self._endpoint.config:
                log.info("relay.json changed")
            self._endpoint.config, self._endpoint.context = config, context
        self._shape(self._endpoint, config)
        problems = self._wires.follow(config.wires)
        in_force = None if problems else config.digest
        ready = {"pid": os.getpid(), "address": config.address, "port": config.port, "config": in_force}
        locks.replace_file(self._ready_path, json.dumps(ready) + "\n")
        if problems:
            raise BadWire("; ".join(problems))
        self._failure = ""
        self._failed_path.unlink(missing_ok=True)

    def _shape(self, endpoint: Endpoint, config: RelayConfig) -> None:
        """Shape what passes between clients and the endpoint; logins under way are cut like sessions."""
        if config.network != endpoint.network.shape:
            log.info("the network of clients: %s", config.network)
        endpoint.network.change(config.network)
        if config.network.block is Block.CUT:
            self._end_logins()
        self._accept_or_not()

    def _fail(self, reason: str) -> None:
        """Say what is wrong once, beside the lock and in the log; what worked before goes on."""
        self._again_at = time.monotonic() + AGAIN_S
        if reason != self._failure:
            self._failure, self._failure_written = reason, False
            log.error("%s", reason)
        if not self._failure_written:
            try:
                locks.replace_file(self._failed_path, json.dumps({"reason": reason}) + "\n")
                self._failure_written = True
            except OSError:
                pass  # no descriptors, or a full disk: no reason to end what works; it is written once it can be

    def _rebind(self, config: RelayConfig) -> None:
        listener = listen(config.address, config.port)
        self._close_listener()
        self._listener = listener
        self._listening_on = (config.address, config.port)
        self._accept_or_not()
        log.info("listening on %s:%d", config.address, config.port)

    # Clients

    def _accept_or_not(self) -> None:
        """Accept unless the network is silent: whoever comes then waits in the backlog, unanswered."""
        loop = asyncio.get_running_loop()
        wanted = self._endpoint is None or not self._endpoint.network.silent
        if self._listener is not None and wanted != self._accepting:
            self._accepting = wanted
            if wanted:
                loop.add_reader(self._listener, self._accept)
            else:
                loop.remove_reader(self._listener)

    def _accept(self) -> None:
        """Take what waits in the backlog."""
        for _ in range(ACCEPT_AT_ONCE):
            if self._listener is None or self._endpoint is None:
                return
            try:
                accepted, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._pause_accepting(error)
                    return
                continue
            if self._starved:
                self._starved = False
                log.info("accepts again")
            if self._endpoint.network.shape.block is Block.CUT:
                reset(accepted)
                continue
            accepted.setblocking(False)
            tune(accepted, self._endpoint.config.gone_after_s)
            task = asyncio.get_running_loop().create_task(self._serve(self._endpoint, accepted, peer[0]))
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)

    async def _serve(self, endpoint: Endpoint, accepted: socket.socket, host: str) -> None:
        if endpoint.network.shape.clear:
            await Session(endpoint, endpoint.network, accepted, host).run()
        else:
            endpoint.led_through += 1
            inner = await through(endpoint.network, accepted, endpoint.gone_through)
            await Session(endpoint, Network(), inner, host, outer=accepted).run()

    def _pause_accepting(self, error: OSError) -> None:
        if not self._starved:
            self._starved = True
            log.warning("cannot accept: %s", error.strerror)
        loop, listener = asyncio.get_running_loop(), self._listener
        assert listener is not None
        loop.remove_reader(listener)
        self._accepting = False
        loop.call_later(ACCEPT_PAUSE_S, self._accept_or_not)

    # The end

    def _close_listener(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._accepting = False
            self._listener.close()
            self._listener = None

    def _end_logins(self) -> None:
        for task in list(self._sessions):
            task.cancel()

    def _close(self) -> None:
        self._close_listener()
        self._ready_path.unlink(missing_ok=True)
        self._failed_path.unlink(missing_ok=True)
        self._end_logins()
        self._wires.end()
        if self._endpoint is not None:
            for session in list(self._endpoint.passing):
                session.end()


def capacity() -> int:
    """How many clients this process has descriptors for; at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, (soft - KEPT_FREE) // PER_CLIENT)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what uvloop could not tell anyone, without the objects it names."""
    error = context.get("exception")
    if isinstance(error, OSError):
        log.info("%s: %s", context.get("message", ""), error)
    else:
        log.error("%s", context.get("message", ""), exc_info=error)
