"""Where everything of one local cloud lives: the folder named by MULTIAZ_HOME."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from multiaz.errors import Conflict

SOCKET_PATH_LIMIT = 107
"""Longest path of a Unix socket in bytes. Source: unix(7), sun_path[108] with its NUL."""


@dataclass(frozen=True)
class Home:
    """The layout of a home; every path of the local cloud is derived here and nowhere else."""

    root: Path

    @staticmethod
    def default() -> Home:
        """$MULTIAZ_HOME; else /var/lib/multiaz for root, ~/.local/share/multiaz for others."""
        named = os.environ.get("MULTIAZ_HOME")
        if named:
            return Home(Path(named).expanduser().absolute())
        if os.geteuid() == 0:
            return Home(Path("/var/lib/multiaz"))
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Home(Path(data).expanduser().absolute() / "multiaz")

    @property
    def marker(self) -> Path:
        """`home.json`: layout version, endpoint port, made by `multiaz local start`."""
        return self.root / "home.json"

    @property
    def credentials(self) -> Path:
        """`credentials.json` (0600): the administrator's access key, random per home."""
        return self.root / "credentials.json"

    @property
    def cloud_lock(self) -> Path:
        """flock held by the AWS endpoint for life; contains its pid."""
        return self.root / "cloud.lock"

    @property
    def cloud_ready(self) -> Path:
        """`cloud.json`: pid, host and port of the endpoint, written when it accepts requests."""
        return self.root / "cloud.json"

    @property
    def judge_socket(self) -> Path:
        """Unix socket on which the AWS endpoint judges IAM tokens; its folder can be entered by us only."""
        return self.run_folder / "cloud" / "judge"

    @property
    def behaviour(self) -> Path:
        """`behaviour.json`: the pace of failovers; written by `local`, read by the cloud."""
        return self.root / "behaviour.json"

    @property
    def faults(self) -> Path:
        """`faults.json` of the AWS endpoint itself; each DB instance has its own."""
        return self.root / "faults.json"

    @property
    def database(self) -> Path:
        """The SQLite file of stacks, DB instances, snapshots, events."""
        return self.root / "cloud.sqlite"

    @property
    def moto(self) -> Path:
        """Saved state of the services moto serves."""
        return self.root / "moto"

    @property
    def s3(self) -> Path:
        """Bodies of S3 objects."""
        return self.root / "s3"

    @property
    def logs(self) -> Path:
        """Logs of our own processes."""
        return self.root / "logs"

    @property
    def pki(self) -> Path:
        """The local certificate authority: `ca.pem` is readable, `ca.key` is not."""
        return self.root / "pki"

    @property
    def postgres(self) -> Path:
        """Copies of PostgreSQL installations that the server's user can reach."""
        return self.root / "postgres"

    @property
    def snapshots(self) -> Path:
        """Data folders of DB snapshots, one folder each."""
        return self.root / "snapshots"

    @property
    def instances(self) -> Path:
        """One folder per DB instance, named by its DbiResourceId."""
        return self.root / "instances"

    @property
    def backups(self) -> Path:
        """Automated backups, one folder per DB instance, named by its DbiResourceId: they may outlive it."""
        return self.root / "backups"

    def backup(self, resource_id: str) -> BackupHome:
        """The layout of one DB instance's automated backups."""
        return BackupHome(self.backups / resource_id)

    def instance(self, resource_id: str) -> InstanceHome:
        """The layout of one DB instance."""
        return InstanceHome(self.instances / resource_id, self.run_folder / _short(resource_id))

    @property
    def run_folder(self) -> Path:
        """Folder of Unix sockets and links: below the home if the path is short enough,
        else a folder named by a hash of the home in the machine's runtime directory."""
        own = self.root / "run"
        longest = own / _short("x") / "primary" / ".s.PGSQL.65535.lock"
        if len(os.fsencode(longest)) <= SOCKET_PATH_LIMIT:
            return own
        base = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", tempfile.gettempdir()))
        return base / f"multiaz-{os.geteuid()}" / _short(str(self.root))


@dataclass(frozen=True)
class BackupHome:
    """The layout of one DB instance's automated backups; all but `record` and `lock` belongs to the servers' user."""

    folder: Path

    @property
    def record(self) -> Path:
        """`backups.json` (`BackupRecord`): what there is to restore; written by the instance's supervisor only."""
        return self.folder / "backups.json"

    @property
    def lock(self) -> Path:
        """flock: shared by whoever restores from here, exclusive while something is removed."""
        return self.folder / "backups.lock"

    @property
    def gone(self) -> Path:
        """All of it while it is being removed."""
        return self.folder.with_name(f"{self.folder.name}.gone")

    @property
    def wal(self) -> Path:
        """The archive: WAL segments and timeline histories, by PostgreSQL's names."""
        return self.folder / "wal"

    @property
    def bases(self) -> Path:
        """The base backups, one folder each; `building` is one that is being made."""
        return self.folder / "bases"

    def base(self, name: str) -> Path:
        """The folder of one base backup: a data directory with its `backup_manifest`."""
        return self.bases / name


@dataclass(frozen=True)
class InstanceHome:
    """The layout of one DB instance: `folder` is durable, `run` may vanish with a reboot."""

    folder: Path
    run: Path

    @property
    def desired(self) -> Path:
        """What the cloud wants (`DesiredInstance`); written by the cloud only."""
        return self.folder / "desired.json"

    @property
    def observed(self) -> Path:
        """What the supervisor sees (`ObservedInstance`); valid while `lock` is held."""
        return self.folder / "observed.json"

    @property
    def role(self) -> Path:
        """The durable memory of who is primary (`RoleRecord`); written by the supervisor only."""
        return self.folder / "role.json"

    @property
    def events(self) -> Path:
        """Append-only JSON lines (`InstanceEvent`), also written while the cloud is down."""
        return self.folder / "events.jsonl"

    @property
    def lock(self) -> Path:
        """flock held by the supervisor for life."""
        return self.folder / "instance.lock"

    @property
    def backups(self) -> BackupHome:
        """This instance's automated backups; they lie elsewhere, because they may outlive it."""
        return self.backups_of(self.folder.name)

    def backups_of(self, resource_id: str) -> BackupHome:
        """Another instance's automated backups."""
        return Home(self.folder.parent.parent).backup(resource_id)

    @property
    def faults(self) -> Path:
        """`faults.json`: what `multiaz fault` breaks on purpose; written by `local`, obeyed by the supervisor."""
        return self.folder / "faults.json"

    @property
    def creating(self) -> Path:
        """There while the first server is made: only then may a data directory without a role record be removed."""
        return self.folder / "creating"

    @property
    def relay(self) -> Path:
        """`relay.json`: what the endpoint process must know; it ends when this file is gone."""
        return self.folder / "relay.json"

    @property
    def relay_lock(self) -> Path:
        """flock held by the endpoint process for life."""
        return self.folder / "relay.lock"

    @property
    def logs(self) -> Path:
        """Logs of the supervisor and the relay."""
        return self.folder / "logs"

    @property
    def tls(self) -> Path:
        """`server.pem` and `server.key` (0600) of the endpoint; written by the cloud."""
        return self.folder / "tls"

    def member(self, name: str) -> Path:
        """The folder of one server: `data/`, `log/`, `server.log`."""
        return self.folder / name

    def data(self, name: str) -> Path:
        """The data directory of one server."""
        return self.folder / name / "data"

    def server_logs(self, name: str) -> Path:
        """Folder of that server's `postgresql.log.YYYY-MM-DD-HH` files."""
        return self.folder / name / "log"

    def socket_folder(self, name: str) -> Path:
        """Folder of one server's Unix socket (`.s.PGSQL.5432`)."""
        return self.run / name

    def small_wal(self, name: str) -> Path:
        """Where the WAL of one server lies while the fault `disk-full` is in force: a file system of its own."""
        return self.folder / name / "small-wal"

    def wire_folder(self, name: str) -> Path:
        """Folder of the Unix socket of one of the relay's wires; at most five letters keep its path short."""
        return self.run / f"w-{name}"

    @property
    def primary_link(self) -> Path:
        """Link to the socket folder of whoever is primary."""
        return self.run / "primary"

    @property
    def upstream_link(self) -> Path:
        """Link to the socket folder read replicas stream from."""
        return self.run / "upstream"


def make_private_folder(path: Path, mode: int = 0o700) -> None:
    """Create `path` with `mode`; refuse one that somebody else owns or may write to.

    Raises Conflict, because a folder of another user in /tmp could hand us a false socket.
    """
    path.mkdir(parents=True, exist_ok=True, mode=mode)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise Conflict(
            f"Cannot use {path}",
            "it belongs to another user, or others may write to it",
            "remove it, or set MULTIAZ_HOME to a shorter path of your own",
        )


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
