"""The record of the AWS endpoint's own faults, kept true by whoever starts or stops it."""

from __future__ import annotations

from multiaz.errors import Conflict, NoProgress
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.local.faults_processes import is_frozen
from multiaz.local.faults_record import changing, read_faults, write_faults


def forget_faults(home: Home, *, started: bool) -> None:
    """The AWS endpoint was `started`, or stopped on purpose: that it was killed before, or frozen and ended since, is
    over. Else it would be in force again when nobody runs, and healing it would start what was stopped on purpose.

    What cannot be read or changed now stays: starting and stopping do not fail for it.
    """
    if not home.faults.exists():
        return
    try:
        with changing(home):
            if started and lock_holder(home.cloud_lock) is None:
                return  # killed again meanwhile
            faults = read_faults(home.faults)
            left = tuple(fault for fault in faults if any(is_frozen(process) for process in fault.frozen))
            if left != faults:
                write_faults(home.faults, left)
    except (Conflict, NoProgress, OSError):
        return
