"""After a crash of the whole machine, the member whose disk still works serves."""

from __future__ import annotations

from harness import MakeInstance
from ledger import Ledger


def test_standby_takes_over_when_the_primary_cannot_start_again(make_instance: MakeInstance) -> None:
    instance = make_instance("one")
    instance.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)
    with Ledger(instance) as ledger:
        ledger.wait_for(20)
        instance.kill_everything()
        ledger.stop()
    control = instance.home.data("a") / "global" / "pg_control"
    control.write_bytes(b"\0" * control.stat().st_size)
    instance.start()
    seen = instance.wait_well()
    assert seen.primary == "b"
    ledger.check()
