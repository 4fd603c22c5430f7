"""Where settings come from: the later place wins, every refusal names the place, no file makes a traceback."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.blueprint import Settings, settings_from
from multiaz.blueprint.settings_file import toml_value
from multiaz.blueprint.sources import (
    FILE_LIMIT,
    OUTSIDE_TABLES,
    FileLayers,
    Layer,
    from_environment,
    from_flags,
    from_toml,
    layered,
)
from multiaz.errors import BadInput

PATH = "multiaz.toml"
PLACES = ("command", "file", "table", "environment", "flags")
"""Lowest first."""
NAMES = tuple(Settings.model_fields)


def read(text: str) -> FileLayers:
    return from_toml(text.encode(), PATH)


def refusal(content: bytes | str) -> str:
    with pytest.raises(BadInput) as caught:
        from_toml(content.encode() if isinstance(content, str) else content, PATH)
    text = caught.value.as_text()
    assert text.count("\n") == 2
    return text


def value_of(name: str, place: str) -> Any:
    """A value of the setting's kind that tells the places apart."""
    match Settings.model_fields[name].annotation:
        case kind if kind is bool:
            return PLACES.index(place) % 2 == 0
        case kind if kind is int:
            return PLACES.index(place)
        case kind if kind == tuple[str, ...]:
            return [place]
        case _:
            return place


@given(st.sampled_from(NAMES), st.sets(st.sampled_from(PLACES), min_size=1))
def test_the_later_place_wins_for_every_setting(name: str, places: set[str]) -> None:
    if name in OUTSIDE_TABLES:
        places = places - {"table"} or {"file"}
    lines = {place: f"{name} = {toml_value(_tupled(value_of(name, place)))}" for place in ("file", "table")}
    top = lines["file"] if "file" in places else ""
    table = lines["table"] if "table" in places else ""
    found = layered(
        Layer({name: value_of(name, "command")}, {name: "command"}) if "command" in places else Layer(),
        read(f"{top}\n[test]\n{table}\n[prod]\n{name if name not in OUTSIDE_TABLES else 'db_port'} = {_other(name)}"),
        from_environment({f"MULTIAZ_{name.upper()}": str(value_of(name, "environment"))} if _in(places, 3) else {}),
        from_flags(
            {**({name: str(value_of(name, "flags"))} if _in(places, 4) else {})}
            | ({"preset": "test"} if name != "preset" else {})
        ),
    )
    winner = max(places, key=PLACES.index)
    as_text = winner in ("environment", "flags")
    wanted = value_of(name, winner)
    assert found.values[name] == (str(wanted) if as_text else wanted)
    assert (
        found.origins[name]
        == {
            "command": "command",
            "file": f"{PATH} line 1",
            "table": f"{PATH} line 3",
            "environment": f"MULTIAZ_{name.upper()}",
            "flags": f"--set {name}",
        }[winner]
    )


def _in(places: set[str], index: int) -> bool:
    return PLACES[index] in places


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _other(name: str) -> str:
    """A value for the table of the preset that was not chosen."""
    return "5555" if name in OUTSIDE_TABLES else toml_value(_tupled(value_of(name, "command")))


@pytest.mark.parametrize("preset", ["prod", "test"])
def test_a_table_is_read_for_its_preset_only(preset: str) -> None:
    file = read("db_port = 5433\n[prod]\nzones = 3\n[test]\nzones = 2\n")
    found = layered(Layer({"preset": "prod"}), file, Layer(), Layer({"preset": preset}))
    assert (found.values["zones"], found.values["db_port"]) == ({"prod": 3, "test": 2}[preset], 5433)


def test_the_preset_of_the_file_chooses_its_table() -> None:
    found = layered(Layer({"preset": "prod"}), read('preset = "test"\n[test]\nzones = 2\n'), Layer(), Layer())
    assert found.settings().zones == 2
    assert found.settings().preset == "test"


def test_a_refused_value_says_which_line_it_stands_in() -> None:
    text = '# a comment\nsubnet_ids = [\n  "db_port = 1",\n]\n\n[test]\n"db_port" = 80\n'
    found = layered(Layer(), read(text), Layer(), Layer({"preset": "test"}))
    with pytest.raises(BadInput, match=r"db_port=80 from multiaz.toml line 7: .*1150 \(source: Amazon RDS"):
        found.settings()


def test_a_rule_between_settings_names_every_place() -> None:
    found = layered(Layer(), read("allocated_storage = 95"), Layer(), from_flags({"preset": "test"}))
    with pytest.raises(BadInput) as caught:
        found.settings()
    assert "allocated_storage=95 from multiaz.toml line 1" in str(caught.value)
    assert "max_allocated_storage=100 from the preset test" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("db_prot = 1", "multiaz.toml line 1: db_prot: there is no such setting; did you mean db_port?"),
        ("\nDB-Port = 1", "multiaz.toml line 2: DB-Port: there is no such setting; did you mean db_port?"),
        ("[aws]\nregion = 'x'", "multiaz.toml line 1: [aws]: the only tables are [prod] and [test]"),
        ("[tests]\nzones = 2", "did you mean [test]?"),
        ("[[test]]\nzones = 2", "[test]: the only tables"),
        ("db_port.x = 1", "[db_port]: a setting has one value and is no table"),
        ("test = 1", "test is a table of settings: write [test]"),
        ("[test]\nzonez = 2", "multiaz.toml line 2: zonez: there is no such setting; did you mean zones?"),
        ('[prod]\nenvironment_suffix = "x"', "environment_suffix cannot stand in [prod]"),
        ('[prod]\npreset = "test"', "preset cannot stand in [prod]"),
        ("read_replicas = true", "true and false are no values of this setting"),
        ("preferred_backup_window = 03:00:00", "a value is text in quotes"),
        ("db_name = ['a', 'b']", "takes one value, not a list"),
        ("subnet_ids = [['a']]", "a list of texts"),
        ("prod.x.y = 1", "x: there is no such setting"),
        ("db_port = 1\ndb_port = 2", "line 2: Cannot overwrite a value"),
        ("db_port = = 2", "line 1, column 11: Invalid value"),
        ("db_name = 'abc", "line 1: Expected"),
        ("zones = 2\nsubnet_ids = [", "line 2: Invalid value"),
        ("a = " + "[" * 5_000, "nested too deeply"),
        ("db_port = " + "9" * 5_000, "Exceeds the limit"),
        (b"db_name = 'a\x00b'", "line 1, column 13: "),
        (b"zones = 2\ndb_name = '\xff'", "line 2: byte 0xff is not UTF-8"),
        (b"#" * (FILE_LIMIT + 1), "longer than 65,536 bytes"),
        ('"a\\u001b[31mb" = 1', r"a\x1b[31mb'"),
        ('"' + "x" * 3_000 + '" = 1', "x" * 60 + "…: there is no such setting"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_file_is_refused_by_line_and_reason(text: bytes | str, told: str) -> None:
    found = refusal(text)
    assert told in found
    assert "\x1b" not in found
    assert len(found) < 500


def test_all_wrong_lines_are_told_at_once() -> None:
    found = refusal("db_prot = 1\n[test]\nzonez = 1")
    assert "line 1: db_prot" in found
    assert "line 3: zonez" in found


@pytest.mark.parametrize("name", ["db_password", "master_user_password", "aws_secret_access_key", "session_token"])
def test_a_secret_is_refused_and_never_repeated(name: str) -> None:
    secret = "hunter2hunter2"
    found = [refusal(f"{name} = '{secret}'")]
    for refused in (lambda: from_environment({f"MULTIAZ_{name.upper()}": secret}), lambda: from_flags({name: secret})):
        with pytest.raises(BadInput) as caught:
            refused()
        found.append(caught.value.as_text())
    assert all("generates its passwords" in text and secret not in text for text in found)


def test_a_variable_that_is_nothing_of_ours_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="MULTIAZ_DB_PROT: there is no such setting; did you mean MULTIAZ_DB_PORT"):
        from_environment({"MULTIAZ_DB_PROT": "1", "PATH": "x"})
    with pytest.raises(BadInput, match="did you mean MULTIAZ_HOME"):
        from_environment({"MULTIAZ_HOM": "/x"}, ["MULTIAZ_HOME"])
    assert from_environment({"MULTIAZ_HOME": "/x", "HOME": "/y"}, ["MULTIAZ_HOME"]).values == {}


@pytest.mark.parametrize("table", ["", "[test]\n"])
def test_an_empty_variable_takes_back_what_the_file_says(table: str) -> None:
    told = {
        "alarm_email": '"oncall@example.com"',
        "orders_per_day": "10",
        "db_port": "5433",
        "db_name": '"shop"',
        "multi_az": "false",
        "nat_gateways": '"single"',
        "database_subnet_cidrs": '["10.0.9.0/24"]',
        "allocated_storage": "40",
    }
    file = read("preset = 'test'\n" + table + "\n".join(f"{name} = {value}" for name, value in told.items()))
    variables = from_environment({f"MULTIAZ_{name.upper()}": "" for name in told})
    command = Layer({"multi_az": True})
    assert layered(command, file, variables, Layer()).settings() == settings_from({"preset": "test", "multi_az": True})


def test_an_empty_variable_takes_back_the_preset_of_the_file() -> None:
    file = read("preset = 'test'\nzones = 2\n[test]\nzones = 3")
    made = layered(Layer(), file, from_environment({"MULTIAZ_PRESET": ""}), Layer()).settings()
    assert (made.preset, made.zones) == ("prod", 2)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("private_subnet_ids", "subnet_ids"),
        ("secret_rotation_days", "password_rotation_days"),
        ("pasword_rotation_days", "password_rotation_days"),
        ("password_rotation_day", "password_rotation_days"),
        ("secret_endpoint", "secrets_endpoint"),
    ],
)
def test_a_setting_with_a_name_like_a_secrets_is_found_first(name: str, near: str) -> None:
    with pytest.raises(BadInput) as caught:
        from_flags({name: "hunter2"})
    assert f"did you mean {near}?" in caught.value.why
    assert "hunter2" not in caught.value.as_text()


def test_text_of_variables_becomes_what_the_setting_is() -> None:
    made = from_environment(
        {
            "MULTIAZ_DB_PORT": "5433",
            "MULTIAZ_FLOW_LOGS": "false",
            "MULTIAZ_VPC_ID": "vpc-0a1b2c3d",
            "MULTIAZ_SUBNET_IDS": "subnet-0a1b2c3d, subnet-0a1b2c3e",
        }
    ).settings()
    assert (made.db_port, made.flow_logs, made.subnet_ids) == (5433, False, ("subnet-0a1b2c3d", "subnet-0a1b2c3e"))


def test_a_file_of_another_system_is_read() -> None:
    found = from_toml(b"\xef\xbb\xbfzones = 2\r\ndb_port = 80\r\n", PATH).common
    assert found.values == {"zones": 2, "db_port": 80}
    assert found.origins["db_port"] == "multiaz.toml line 2"


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_settings_or_a_refusal(content: bytes) -> None:
    try:
        found = from_toml(content, PATH)
    except BadInput as refused:
        assert refused.as_text().count("\n") == 2
    else:
        assert set(found.common.values) <= set(NAMES)


def test_a_list_as_long_as_a_file_may_be_is_read_at_once() -> None:
    """Finding the lines must not take much longer than reading; a list like this gets none."""
    text = "subnet_ids = [\n" + "'a',\n" * 12_900 + "]\n"
    assert FILE_LIMIT - 2_000 < len(text) < FILE_LIMIT
    began = time.process_time()
    assert read(text).common.origins["subnet_ids"] == PATH
    assert time.process_time() - began < 5
