"""Starts, stops and addresses the local cloud; it starts processes and imports none of them."""

from multiaz.local import faults
from multiaz.local.behaviour import Behaviour, change_behaviour, read_behaviour
from multiaz.local.endpoint import EndpointFailed, LocalCloud, refuse_stopped, regions_in_use, running_cloud, start
from multiaz.local.environment import environment, shell_lines
from multiaz.local.failovers import failover_steps
from multiaz.local.marker import DEFAULT_PORT, LAYOUT, Marker, read_marker
from multiaz.local.processes import HomeProcess, HomeProcesses, processes
from multiaz.local.status import EndpointStatus, InstanceStatus, LocalStatus, status
from multiaz.local.stopping import Kept, Removed, Stopped, remove, stop

__all__ = [
    "DEFAULT_PORT",
    "LAYOUT",
    "Behaviour",
    "EndpointFailed",
    "EndpointStatus",
    "HomeProcess",
    "HomeProcesses",
    "InstanceStatus",
    "Kept",
    "LocalCloud",
    "LocalStatus",
    "Marker",
    "Removed",
    "Stopped",
    "change_behaviour",
    "environment",
    "failover_steps",
    "faults",
    "processes",
    "read_behaviour",
    "read_marker",
    "refuse_stopped",
    "regions_in_use",
    "remove",
    "running_cloud",
    "shell_lines",
    "start",
    "status",
    "stop",
]
