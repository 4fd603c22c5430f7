"""A real endpoint process for the front door's tests, with only the services the front itself owns."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.session import Session

from multiaz.home import Home

DEADLINE_S = 30.0 * float(os.environ.get("MULTIAZ_TEST_PATIENCE", "1"))

PROGRAM = """
import sys
from pathlib import Path
from multiaz.cloud.__main__ import run
from multiaz.cloud.lambda_ import LambdaService
sys.exit(run(Path(sys.argv[1]), int(sys.argv[2]), lambda store, home, clients, url: [LambdaService(store, clients)]))
"""


@lru_cache(maxsize=1)
def _session() -> Session:
    """One for all clients: it keeps what it has read of botocore's models."""
    nothing = (None, None, None, None)
    return Session(
        session_vars={
            "profile": nothing,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )


class Endpoint:
    """One home and the process that serves it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="multiaz-front-"))
        self.folder.chmod(0o755)
        self.home = Home(self.folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, port: int = 0) -> None:
        self.home.cloud_ready.unlink(missing_ok=True)
        self.process = self.spawn(port)
        deadline = time.monotonic() + DEADLINE_S
        while not self.home.cloud_ready.exists():
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)
        self.port = json.loads(self.home.cloud_ready.read_text())["port"]

    def spawn(self, port: int = 0) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(self.folder), str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        code = self.process.returncode
        self.process = None
        assert number is signal.SIGKILL or errors == b"", errors.decode()
        return code

    def kill_and_restart(self) -> None:
        self.stop(signal.SIGKILL)
        self.start(self.port)

    def remove(self) -> None:
        if self.process is not None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        path = self.home.logs / "cloud.log"
        return path.read_text() if path.exists() else ""

    def credentials(self) -> dict[str, str]:
        record = json.loads(self.home.credentials.read_text())
        return {
            "aws_access_key_id": record["access_key_id"],
            "aws_secret_access_key": record["secret_access_key"],
        }

    def client(self, service: str, region: str = "eu-west-1", **overrides: Any) -> Any:
        """A botocore client as a person would make one, retries off."""
        config = overrides.pop("config", Config()).merge(Config(retries={"total_max_attempts": 1}))
        arguments = {"endpoint_url": self.url, "region_name": region, **self.credentials(), **overrides}
        return _session().create_client(service, config=config, **arguments)

    def cli(self, *arguments: str, region: str = "eu-west-1", **environment: str) -> subprocess.CompletedProcess[str]:
        """The real `aws` command, told where the endpoint is."""
        keys = self.credentials()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return subprocess.run(
            [str(Path(sys.executable).with_name("aws")), "--endpoint-url", self.url, *arguments],
            env=clean
            | {
                "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
                "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
                "AWS_DEFAULT_REGION": region,
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_MAX_ATTEMPTS": "1",
                "AWS_PAGER": "",
            }
            | environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
