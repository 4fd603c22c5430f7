"""What a shell must set so that the aws CLI, boto3, psql and friends talk to the local cloud."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping

from multiaz.errors import Conflict, NotFound
from multiaz.home import Home
from multiaz.local.endpoint import running_cloud
from multiaz.local.marker import require_marker
from multiaz.local.ports import HOST

DEFAULT_REGION = "us-west-2"
"""Not us-east-1: for `aws rds` in that region version 1 of the aws CLI replaces AWS_ENDPOINT_URL by Amazon's own
host (its customization overridesslcommonname), so the call would leave this machine."""
FORGOTTEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
"""Variables of another account that would win over ours, or mix with them."""


def environment(home: Home, *, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables to set; `base` (os.environ) is only read for a proxy that must let 127.0.0.1 pass.

    The cloud need not run, but must have run once. Raises NotFound or Conflict otherwise.
    """
    marker = require_marker(home)
    running = running_cloud(home)
    port = marker.port if running is None else running.port
    key = _administrator(home)
    region = key.get("region", DEFAULT_REGION)
    variables = {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_ACCESS_KEY_ID": key["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": key["secret_access_key"],
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PGSSLROOTCERT": str(home.pki / "ca.pem"),
        "PGSSLMODE": "verify-full",
    }
    return variables | _proxy_exceptions(os.environ if base is None else base)


def shell_lines(variables: Mapping[str, str]) -> str:
    """The variables as lines for `eval` in a POSIX shell; what would win over them is unset."""
    lines = [f"unset {' '.join(FORGOTTEN)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def _administrator(home: Home) -> dict[str, str]:
    try:
        values = json.loads(home.credentials.read_text())
        found = {name: str(values[name]) for name in ("access_key_id", "secret_access_key")}
        return found | {"region": str(values.get("region") or DEFAULT_REGION)}
    except FileNotFoundError as error:
        raise NotFound(
            "There is no access key yet",
            f"the local cloud in {home.root} has never run",
            "start it with `multiaz local start`",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Conflict(
            f"Cannot read {home.credentials}",
            f"it does not hold an access key ({type(error).__name__})",
            "restore it from a backup, or remove it and restart the local cloud: a new key is made",
        ) from error


def _proxy_exceptions(base: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY with 127.0.0.1 in it, where a proxy is set: SDKs would ask the proxy for our endpoint."""
    if not any(base.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    known = base.get("no_proxy") or base.get("NO_PROXY") or ""
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    value = ",".join(hosts if HOST in hosts or "*" in hosts else [*hosts, HOST])
    return {"NO_PROXY": value, "no_proxy": value}
