"""The command line of `make bench-ha`."""

from __future__ import annotations

import argparse

import bench_ha
import pytest
from ha import kinds


def test_every_section_is_run_when_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def section(name: str, _: argparse.Namespace) -> bool:
        ran.append(name)
        return name != "kill"

    monkeypatch.setattr(bench_ha, "SECTIONS", dict.fromkeys(bench_ha.SECTIONS, section))
    assert bench_ha.run(bench_ha.parse([])) is False, "a section that fails is told by the exit code"
    assert ran == list(bench_ha.SECTIONS), "and does not keep the others from being run"


def test_a_section_that_is_not_there_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_ha.parse(["--only", "kill,hangs"])
    assert "'hangs'" in capsys.readouterr().err


def test_report_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[None] = []
    monkeypatch.setattr(bench_ha, "SECTIONS", {})
    monkeypatch.setattr(bench_ha.report, "write", lambda: written.append(None))
    monkeypatch.setattr("sys.argv", ["bench_ha.py", "--report"])
    assert bench_ha.main() == 0
    assert written == [None]


def test_peers_have_a_fifth_of_the_trials() -> None:
    assert bench_ha.parse(["--trials", "50"]).peer_trials == 10
    assert bench_ha.parse(["--trials", "1"]).peer_trials == 1
    assert bench_ha.parse(["--trials", "50", "--peer-trials", "3"]).peer_trials == 3


def test_a_section_of_patroni_names_its_settings_and_its_kind() -> None:
    for name in bench_ha.SECTIONS:
        if name.startswith("patroni"):
            settings, kind = kinds.patroni(name)
            assert name == f"patroni-{settings}-{kind.name}"
            assert settings in bench_ha.patroni.SETTINGS
