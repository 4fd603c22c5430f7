"""Where an instance listens: a loopback address of its own, which goes with its identifier, as endpoints do on RDS.

On Linux all of 127.0.0.0/8 is this machine, so every instance has an address hashed from its home, region and
identifier and keeps the port that was asked for. Elsewhere, or with a port base, it is 127.0.0.1 and a
port of its own. A renamed instance leaves its address, and whoever is given the name next has it again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path

from multiaz.cloud.rds.model import Instance
from multiaz.cloud.rds.repository import Repository
from multiaz.cloud.service import AwsFault
from multiaz.home import Home

CANDIDATES = 32
OWN_PORTS = range(20000, 30000)
"""Below the ephemeral ports, where there are no addresses to spare."""
PORT_BASE_VARIABLE = "MULTIAZ_PORT_BASE"


def port_base(home: Home) -> int | None:
    """The port base of the environment or of home.json; None: every instance has its own address."""
    named = os.environ.get(PORT_BASE_VARIABLE)
    if named:
        return int(named)
    try:
        base = json.loads(home.marker.read_text()).get("port_base")
    except FileNotFoundError:
        return None
    return int(base) if base else None


def of_name(home: Home, repository: Repository, instance: Instance, identifier: str) -> tuple[str, int]:
    """The address and port of an instance that is to be called `identifier`. Raises AwsFault as `allocate` does."""
    taken = {(one.network.address, one.network.port) for one in repository.instances.all()}
    seed = f"{home.root}/{instance.region}/{identifier}"
    return allocate(seed, instance.network.asked_port, port_base(home), taken)


def candidate_addresses(seed: str) -> Iterator[str]:
    """Loopback addresses in a fixed order for `seed`; never 127.0.0.x, which others use."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
        second, third, fourth = digest[0], digest[1], digest[2]
        if second not in (0, 255) and fourth not in (0, 255):
            yield f"127.{second}.{third}.{fourth}"
        number += 1


def candidate_ports(seed: str, base: int | None) -> Iterator[int]:
    """Ports from the base upwards, or in a fixed order for `seed` from the range of our own."""
    if base is not None:
        yield from range(base, 65536)
        return
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) % len(OWN_PORTS)
    for step in range(len(OWN_PORTS)):
        yield OWN_PORTS[(start + step) % len(OWN_PORTS)]


def is_free(address: str, port: int) -> bool:
    """True if nobody listens at this address and port, nor on all addresses at this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
                return False
            raise
    return True


def allocate(
    seed: str,
    asked_port: int,
    base: int | None,
    taken: Collection[tuple[str, int]],
    free: Callable[[str, int], bool] = is_free,
    *,
    own_addresses: bool = sys.platform == "linux",
) -> tuple[str, int]:
    """An address and port nobody has.

    Raises AwsFault InsufficientDBInstanceCapacity naming who holds the port, if all candidates are held.
    """
    pairs: Iterator[tuple[str, int]]
    if own_addresses and base is None:
        pairs = ((address, asked_port) for address in islice(candidate_addresses(seed), CANDIDATES))
    else:
        pairs = (("127.0.0.1", port) for port in candidate_ports(seed, base))
    for pair in pairs:
        if pair not in taken and free(*pair):
            return pair
    holder = holder_of(asked_port)
    raise AwsFault(
        "InsufficientDBInstanceCapacity",
        f"Port {asked_port} is held on every loopback address{f' by {holder}' if holder else ''}: stop that "
        f"program, ask for another port, or start the local cloud with --port-base.",
    )


def holder_of(port: int) -> str:
    """The process that listens on `port` at all addresses ("name (pid N)"); empty if it cannot be told."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return ""
