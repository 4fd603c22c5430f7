"""The command line of `make bench-ha`."""

from __future__ import annotations

import argparse
from pathlib import Path

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
    written: list[tuple[object, ...]] = []

    def write(results: Path, into: Path, *, fewer: bool) -> Path:
        written.append((results, into, fewer))
        return into

    monkeypatch.setattr(bench_ha, "SECTIONS", {})
    monkeypatch.setattr(bench_ha.report, "write", write)
    monkeypatch.setattr("sys.argv", ["bench_ha.py", "--report"])
    assert bench_ha.main() == 0
    assert written == [(bench_ha.results.RESULTS, bench_ha.report.DOCS, False)]


def test_a_run_leaves_the_documents_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A look at two sections once went into the documents by half: the plot without its page."""
    before = {name: (bench_ha.report.DOCS / name).read_bytes() for name in (bench_ha.report.PAGE, bench_ha.report.PLOT)}
    monkeypatch.setattr(bench_ha, "SECTIONS", {"kill": lambda *_: True})
    monkeypatch.setattr("sys.argv", ["bench_ha.py", "--only", "kill", "--results", str(tmp_path)])
    assert bench_ha.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == {bench_ha.report.PAGE, bench_ha.report.PLOT}
    for name, held in before.items():
        assert (bench_ha.report.DOCS / name).read_bytes() == held


def test_code_of_ours_is_none_of_a_peers() -> None:
    """Patroni's figures, hours of measuring, stay in force when ours changes."""
    for path in bench_ha.results.PATRONI:
        assert path.startswith("scripts/ha/")
        assert "stack" not in path and "restarts" not in path
    for paths in (bench_ha.results.OURS, bench_ha.results.PATRONI, bench_ha.results.ENDPOINT):
        assert all((bench_ha.results.ROOT / path).exists() for path in paths), "git knows each"


def test_peers_have_a_fifth_of_the_trials() -> None:
    assert bench_ha.parse(["--trials", "50"]).peer_trials == 10
    assert bench_ha.parse(["--trials", "1"]).peer_trials == 1
    assert bench_ha.parse(["--trials", "50", "--peer-trials", "3"]).peer_trials == 3


def test_promotions_are_two_fifths_of_the_trials() -> None:
    assert bench_ha.parse([]).promotions == 20
    assert bench_ha.parse(["--trials", "1"]).promotions == 1
    assert bench_ha.parse(["--trials", "50", "--promotions", "3"]).promotions == 3


def test_a_section_of_patroni_names_its_settings_and_its_kind() -> None:
    for name in bench_ha.SECTIONS:
        if name.startswith("patroni"):
            settings, kind = kinds.patroni(name)
            assert name == f"patroni-{settings}-{kind.name}"
            assert settings in bench_ha.patroni.SETTINGS
