"""At RDS's pace, on real servers: sessions are cut at once, nobody gets in for the stated time, nothing is lost."""

from __future__ import annotations

import time

import psycopg
import pytest
from endpoint_client import by_the_endpoint
from harness import Instance, eventually
from ledger import Ledger

from multiaz.home import Home
from multiaz.instance.records import InstanceEvent, Phase
from multiaz.local import faults

DOWN_S = 12.0


def events(instance: Instance, since: float) -> dict[str, float]:
    """When each event was told."""
    lines = instance.home.events.read_text().splitlines()
    told = [InstanceEvent.model_validate_json(line) for line in lines]
    return {event.code[-4:]: event.at for event in told if event.at >= since}


@pytest.mark.long
def test_the_endpoint_stays_down_for_the_stated_time_also_when_the_supervisor_dies(shop: Instance, home: Home) -> None:
    shop.write(endpoint_down_s=DOWN_S)
    before = shop.wait("well, with its relay", lambda seen: seen.redundant and seen.writable and seen.relay_ready)
    try:
        with by_the_endpoint(shop, 10) as session, Ledger(shop) as ledger:
            ledger.wait_for(20)
            began = time.time()
            faults.kill(home)
            with pytest.raises(psycopg.OperationalError):
                while True:
                    session.execute("SELECT 1")
            assert time.time() - began < DOWN_S
            shop.wait("failed over", lambda seen: seen.epoch > before.epoch and seen.writable)
            assert not shop.home.primary_link.is_symlink()
            faults.break_supervisor(home)
            during = shop.wait("a new one supervises", lambda seen: seen.pid != before.pid)
            assert during.phase is not Phase.RUNNING
            with pytest.raises(psycopg.OperationalError):
                by_the_endpoint(shop, 2)
            assert time.time() - began < DOWN_S, "the machine is too slow for this test"
            shop.wait("standby is rebuilt meanwhile", lambda seen: seen.redundant)
            by_the_endpoint(shop, 30).close()
            assert time.time() - began >= DOWN_S
            ledger.wait_for(20)
        shop.wait_well()
        ledger.check()
        eventually("0049", lambda: "0049" in events(shop, began))
        told = events(shop, began)
        assert told["0049"] - told["0013"] >= DOWN_S - 0.1
    finally:
        shop.write(endpoint_down_s=0)
