"""The page of `make bench-ha` says what was measured, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ha import kinds
from ha.plot import Strip, svg
from ha.report import DOCS, PAGE, PLOT, outage_strips, page, plot_rows, plotted, write
from ha.results import Section, load_all

VERSIONS = {"multiaz": "0.1.0"}
MACHINE = {"cpus": 2, "memory_mib": 24576, "kernel": "6.1", "processor": "cpu", "python": "3.11.7"}


def cost(outage: float, **changes: Any) -> dict[str, Any]:
    split = {"detect": 0.01, "fence": 0.02, "record": 0.03, "promote": 0.04, "endpoint": 0.05, "first commit": 0.06}
    return {
        "resumed": True, "alone": False, "outage_s": outage, "client_median_s": outage + 0.01, "fresh_outage_s": None,
        "split": split, **changes,
    }  # fmt: skip


def trial(*outages: float, lost: int = 0, **changes: Any) -> dict[str, Any]:
    rows = {
        "acknowledged": 1000, "unknown": 8, "failed": 2, "unknown_landed": 3, "failed_landed": 0, "lost": lost,
        "duplicates": 0, "strangers": 0,
    }  # fmt: skip
    faults = [cost(outage, **changes) for outage in outages]
    return {"faults": faults, "redundant_s": 2.5, "failovers": len(outages), "rows": rows}


def section(name: str, *trials: dict[str, Any], then: str = "") -> dict[str, Any]:
    settings = {"kind": {"then": then}, "versions": VERSIONS, "machine": MACHINE, "clients": 8, "limit_s": 60.0}
    return {"section": name, "settings": settings, "began": "2026-11-26T01:00:00",
            "ended": "2026-11-27T02:00:00", "commit": "abc", "trials": list(trials), "errors": []}  # fmt: skip


def row(text: str, first: str) -> list[str]:
    """The cells of the first table row that begins with `first`."""
    for line in text.splitlines():
        if line.startswith(f"| {first}"):
            return [cell.strip() for cell in line.strip("|").split("|")]
    pytest.fail(f"no row {first!r} in\n{text}")


def test_without_results_every_section_is_not_measured() -> None:
    text = page({})
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    told = {part.splitlines()[0]: part for part in parts}
    for name in ("Machine and versions", "Write outage", "Where the time goes", "Promotion of a read replica",
                 "Acknowledged rows",                 "Patroni 4 with etcd, beside it", "Endpoint"):  # fmt: skip
        assert "not measured" in told[name].lower(), name
    assert not re.search(r"\d\.\d{3}", text), "no figure"
    assert "![" not in text, "no plot of nothing"


def test_outages_are_shown_with_their_number() -> None:
    text = page({"kill": section("kill", *(trial(outage) for outage in (0.2, 0.1, 0.4, 0.3)))})
    assert row(text, kinds.ours("kill").says)[1:] == ["4", "0.200", "–", "0.400", "0.210", "0", "2.500", "2.500"]
    assert row(text, kinds.ours("hang").says)[2] == "not measured"


@pytest.mark.parametrize("name", ["kill", "patroni-fast-kill"])
def test_p90_is_shown_from_ten_trials_on(name: str) -> None:
    says = next(says for section, _, _, says in plot_rows() if section == name)
    outages = [0.1 * number for number in range(1, 11)]
    ten = page({name: section(name, *map(trial, outages))})
    assert row(ten, says)[1:5] == ["10", "0.500", "0.900", "1.000"]
    assert "is not shown" not in ten
    nine = page({name: section(name, *map(trial, outages[:9]))})
    assert row(nine, says)[1:5] == ["9", "0.500", "–", "0.900"]
    assert nine.count("of fewer than 10 trials p90 is their maximum, and is not shown") == 1


def test_trials_without_a_split_are_not_called_unmeasured() -> None:
    text = page({"second-early": section("second-early", trial(0.2, split=None)), "kill": section("kill", trial(0.2))})
    steps = text[text.index("## Where the time goes") :]
    assert row(steps, "second-early")[1:3] == ["0", "nothing tells of the steps"]
    assert row(steps, "kill")[1:3] == ["1", "0.010"]
    assert row(steps, "zone")[1:3] == ["0", "not measured"]


def test_what_was_measured_where_is_said_once_for_all_alike() -> None:
    found = {name: section(name, trial(0.2)) for name in ("kill", "hang")}
    text = page(found)
    cells = row(text, "2 cpus (cpu), 24 GiB, Linux 6.1, Python 3.11.7")
    assert cells[1:] == ["multiaz 0.1.0, commit abc", "kill (2026-11-27), hang (2026-11-27)"]


def test_a_section_that_was_not_ended_is_not_said_to_be() -> None:
    found = {name: section(name, trial(0.2)) for name in ("kill", "hang")}
    del found["hang"]["ended"]
    cells = row(page(found), "2 cpus")
    assert cells[2] == "kill (2026-11-27), hang (not complete, began 2026-11-26)"


def test_an_aim_that_is_missed_is_said_to_be() -> None:
    found = {"kill": section("kill", *(trial(outage) for outage in (0.2, 0.2, 1.4)))}
    text = page(found)
    assert row(text, "kill, p50")[1:] == ["0.3", "0.200", "yes"]
    assert row(text, "kill, max")[1:] == ["1", "1.400", "no"]
    assert row(text, "kill, redundancy, max")[1:] == ["5", "2.500", "yes"]
    assert row(text, "hang, p50")[2] == "not measured"
    found["kill"]["trials"][0]["redundant_s"] = None
    assert row(page(found), "kill, redundancy, max")[3] == "no", "redundancy that never came back is no redundancy"


def test_an_outage_that_was_not_over_counts_and_is_named() -> None:
    text = page({"hang": section("hang", trial(0.2), trial(61.0, resumed=False))})
    cells = row(text, kinds.ours("hang").says)
    assert (cells[4], cells[6]) == ("61.0", "1")


def test_of_a_pair_the_second_failure_counts() -> None:
    pairs = [trial(0.1, 0.7), trial(0.1)]
    text = page({"second": section("second", *pairs, then="redundant")})
    assert row(text, kinds.ours("second").says)[1:3] == ["1", "0.700"]


def test_clients_that_connect_anew_count_where_there_are_some() -> None:
    text = page({"hang-postmaster": section("hang-postmaster", trial(0.0, fresh_outage_s=1.5))})
    assert row(text, kinds.ours("hang-postmaster").says)[2] == "1.500"


def promotion(first_write: float, **changes: Any) -> dict[str, Any]:
    told = {"written": True, "available_s": first_write + 1, "source_pause_s": 0.02}
    return {"first_write_s": first_write, **told, **changes}


def test_promotions_are_shown_and_one_that_took_no_row_is_counted() -> None:
    trials = [promotion(0.3), promotion(0.2), promotion(60.0, written=False, available_s=None, source_pause_s=0.05)]
    text = page({"promote": section("promote", *trials)})
    part = text[text.index("## Promotion of a read replica") :]
    assert row(part, "3 |") == ["3", "0.300", "–", "60.0", "1", "1.200", "1.300", "0.020", "0.050"]
    assert "of fewer than 10 trials" in part[: part.index("## Acknowledged rows")]


def test_lost_rows_are_summed_over_every_failover() -> None:
    found = {
        "kill": section("kill", trial(0.1), trial(0.1, lost=2)),
        "second": section("second", trial(0.1, 0.1), then="redundant"),
    }
    text = page(found)
    assert "**2 of 3,000 acknowledged rows lost over 4 failovers** under 8 or more writing clients" in text
    found["kill"]["rows_missing_at_end"] = 5
    assert "5 rows missing when all were counted again" in page(found)


def test_rows_of_a_peer_are_not_ours() -> None:
    found = {"patroni-default-kill": section("patroni-default-kill", trial(3.0, lost=7))}
    text = page(found)
    assert "acknowledged rows lost over" not in text
    assert row(text, "patroni-default-kill")[4] == "7"
    assert row(text, "kill -9 of the primary's postmaster (defaults)")[2] == "3.000"


def test_steps_are_medians_of_what_was_told() -> None:
    text = page({"kill": section("kill", trial(0.2), trial(0.2, split=None))})
    assert row(text, "kill |")[1:] == ["1", "0.010", "0.020", "0.030", "0.040", "", "0.050", "0.060"]
    assert row(text, "zone |")[2] == "not measured"


def test_the_plot_has_a_dot_a_trial_and_an_arrow_for_what_was_not_over() -> None:
    strips = outage_strips({"kill": section("kill", trial(0.2), trial(0.3), trial(60.0, resumed=False))})
    assert strips == [Strip("multiaz: kill", "multiaz", [0.2, 0.3], [60.0])]
    picture = ElementTree.fromstring(svg(strips))
    names = [element.tag.rpartition("}")[2] for element in picture.iter()]
    assert (names.count("circle"), names.count("path")) == (2, 1)
    assert plotted(svg(strips)) == {"multiaz: kill": (3, "0.300")}


def test_results_are_continued_only_with_the_same_settings(tmp_path: Path) -> None:
    first = Section("kill", {"clients": 8}, {"began": "then"}, tmp_path)
    first.add("trials", trial(0.2))
    same = Section("kill", {"clients": 8}, {"began": "now"}, tmp_path)
    assert same.resume() == 1
    same.add("trials", trial(0.3))
    assert len(load_all(tmp_path)["kill"]["trials"]) == 2
    assert Section("kill", {"clients": 8}, {"began": "now"}, tmp_path).resume(fresh=True) == 0
    assert len(json.loads((tmp_path / "ha-kill.before").read_text())["trials"]) == 2, "what was measured is kept aside"
    same.save()
    assert Section("kill", {"clients": 16}, {"began": "now"}, tmp_path).resume() == 0


def test_the_report_is_not_written_from_a_part_of_the_results(tmp_path: Path) -> None:
    results, docs = tmp_path / "results", tmp_path / "docs"
    for name, outages in (("kill", (0.2, 0.3)), ("hang", (0.6,))):
        kept = Section(name, section(name)["settings"], {"began": "2026-11-26T01:00:00"}, results)
        for outage in outages:
            kept.add("trials", trial(outage))
    write(results, docs, fewer=False)
    was = [(docs / name).read_bytes() for name in (PAGE, PLOT)]
    (results / "ha-hang.json").unlink()
    with pytest.raises(ValueError, match="multiaz: hang has 1, and 0 in"):
        write(results, docs, fewer=False)
    assert [(docs / name).read_bytes() for name in (PAGE, PLOT)] == was, "neither of the two"
    write(results, docs, fewer=True)
    assert plotted((docs / PLOT).read_text()) == {"multiaz: kill": (2, "0.200")}


def test_page_and_plot_in_the_tree_are_of_the_same_results() -> None:
    text, shown = (DOCS / PAGE).read_text(), plotted((DOCS / PLOT).read_text())
    tabled = {label: row(text, says)[1:3] for _, label, _, says in plot_rows()}
    assert {label: (str(n), p50) for label, (n, p50) in shown.items()} == {
        label: (n, p50) for label, (n, p50) in tabled.items() if n != "0"
    }
    assert len(shown) >= len(kinds.OURS)


def test_the_page_in_the_tree_was_written_by_the_report() -> None:
    """Its fixed parts are those of the report: nobody changed a figure's meaning by hand."""
    written, empty = (DOCS / PAGE).read_text(), page({})
    for heading in re.findall(r"^## .*", empty, flags=re.MULTILINE):
        assert heading in written
    assert (
        re.split(r"^## What the figures", written, flags=re.MULTILINE)[1]
        == (re.split(r"^## What the figures", empty, flags=re.MULTILINE)[1])
    )


def endpoint_round(relay: float, haproxy: float) -> dict[str, Any]:
    names = ["pgbench -S|8|plain", "pgbench -S|8|TLS", "COPY out|1|plain"]
    figures = {name: {"direct": 90000.0, "relay": relay, "haproxy": haproxy} for name in names}
    return {"figures": figures, "cores": {name: {"relay": 0.5} for name in names}}


def test_the_relay_is_compared_within_each_round() -> None:
    rounds = [endpoint_round(40000, 50000), endpoint_round(20000, 10000), endpoint_round(30000, 10000)]
    text = page({"endpoint": {**section("endpoint", *rounds), "beside": {"haproxy": "HAProxy 2.6"}}})
    cells = row(text, "pgbench -S, plain, 8 clients (transactions/s)")
    assert cells[1:4] == ["3", "90,000", "30,000"]
    assert cells[8] == "2.00", "the median of 0.8, 2 and 3, which is not the ratio of the medians"
    assert row(text, "pgbench -S, 8 clients, plain: relay beside haproxy")[3] == "yes"
    assert row(text, "pgbench -S, 8 clients, TLS: relay beside pgbouncer")[2:] == ["not measured", ""]
    assert "Not met" not in text


def test_an_aim_of_the_relay_that_is_missed_says_why() -> None:
    text = page({"endpoint": section("endpoint", endpoint_round(40000, 50000))})
    assert row(text, "pgbench -S, 8 clients, plain: relay beside haproxy")[2:] == ["0.80", "no"]
    told = text[text.index("Not met:") :]
    assert re.findall(r"^- (\w+):", told, flags=re.MULTILINE)[0] == "HAProxy"
    assert "- PgBouncer:" not in told, "that was not measured"
    link = re.search(r"\((decisions/[^)]+)\)", told)
    assert link is not None and (DOCS / link[1]).exists()
