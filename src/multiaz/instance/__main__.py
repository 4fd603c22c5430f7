"""`python -m multiaz.instance FOLDER --home HOME`: supervise one DB instance."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from multiaz.home import Home
from multiaz.instance.supervisor import Supervisor


def main() -> int:
    """Run the supervisor; 0 when another one has the lock or the instance is gone."""
    parser = argparse.ArgumentParser(prog="python -m multiaz.instance", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the DB instance")
    parser.add_argument("--home", type=Path, required=True, help="home of the local cloud")
    arguments = parser.parse_args()
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )  # fmt: skip
    if not (arguments.folder / "desired.json").exists():
        logging.error("%s holds no desired.json: this is not the folder of a DB instance", arguments.folder)
        return 3
    return Supervisor(Home(arguments.home), arguments.folder.name).run()


if __name__ == "__main__":
    sys.exit(main())
