"""`python -m multiaz.cloud --home H --port P`: the AWS endpoint of one home."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from multiaz.errors import ExitCode, MultiazError
from multiaz.home import Home

if TYPE_CHECKING:
    from multiaz.cloud.app import Maker


def main() -> int:
    """Serve until stopped; the exit code says why it could not."""
    parser = argparse.ArgumentParser(prog="multiaz.cloud", description="The AWS-compatible endpoint.")
    parser.add_argument("--home", required=True, type=Path, help="folder with all state")
    parser.add_argument("--port", required=True, type=int, help="port on 127.0.0.1 (0: any free one)")
    arguments = parser.parse_args()
    return run(arguments.home, arguments.port)


def run(home: Path, port: int, make_services: Maker | None = None) -> int:
    """Serve `home` on `port`, with other services than ours if they are given; returns the exit code."""
    _forget_aws_environment()
    from multiaz.cloud.app import our_services
    from multiaz.cloud.serving import serve

    try:
        serve(Home(home.absolute()), port, make_services or our_services)
    except MultiazError as error:
        print(error.as_text(), file=sys.stderr)  # noqa: T201 - the only words before there is a log
        return int(error.exit_code)
    except Exception:  # noqa: BLE001 - the last resort of a process
        traceback.print_exc()
        return int(ExitCode.BUG)
    return int(ExitCode.OK)


def _forget_aws_environment() -> None:
    """The caller's own AWS settings must not steer the engine's clients or moto."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "BOTO_", "MOTO_")):
            del os.environ[name]


if __name__ == "__main__":
    sys.exit(main())
