"""The pure parser: whatever comes, it answers or refuses by name, and what it passes is what it read."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.relay import startup
from multiaz.relay.startup import Kind, ProtocolViolation, Reply, UnsupportedProtocol

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


def head(length: int, code: int) -> bytes:
    return struct.pack("!II", length, code)


@given(st.dictionaries(texts, texts, max_size=8), texts)
def test_a_startup_packet_is_read_as_it_was_made(others: dict[str, str], user: str) -> None:
    parameters = {**others, "user": user}
    packet = startup.startup_packet(parameters)
    read = startup.read_startup(packet)
    assert (dict(read.parameters), read.raw, read.user) == (parameters, packet, user)


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_never_crashes(body: bytes) -> None:
    packet = head(len(body) + 8, 3 << 16) + body
    try:
        read = startup.read_startup(packet)
    except ProtocolViolation:
        return
    assert read.user
    assert read.raw == packet


@given(st.binary(min_size=8, max_size=8))
def test_any_eight_bytes_are_bounded(first: bytes) -> None:
    try:
        read = startup.read_head(first)
    except ProtocolViolation:
        return
    assert 8 <= read.length <= startup.LARGEST_STARTUP


@pytest.mark.parametrize("length", [0, 7, 10_001, 0xFFFFFFFF])
def test_impossible_lengths_are_refused(length: int) -> None:
    with pytest.raises(ProtocolViolation, match="invalid length"):
        startup.read_head(head(length, 3 << 16))


@pytest.mark.parametrize(("major", "minor"), [(2, 0), (4, 0), (0, 0)])
def test_other_protocols_are_refused_in_the_servers_words(major: int, minor: int) -> None:
    with pytest.raises(UnsupportedProtocol, match=rf"unsupported frontend protocol {major}\.{minor}: server"):
        startup.read_head(head(8, major << 16 | minor))


def test_protocol_3_2_and_unknown_minors_are_left_to_the_server() -> None:
    assert startup.read_startup(startup.startup_packet({"user": "u"}, minor=2)).minor == 2
    assert startup.read_startup(startup.startup_packet({"user": "u"}, minor=9999)).minor == 9999


def test_cancel_keys_of_both_protocols_are_taken() -> None:
    assert startup.read_head(head(16, startup.CANCEL_CODE)).kind is Kind.CANCEL
    assert startup.read_head(head(12 + 256, startup.CANCEL_CODE)).kind is Kind.CANCEL
    for length in (12, 15, 12 + 257):
        with pytest.raises(ProtocolViolation):
            startup.read_head(head(length, startup.CANCEL_CODE))


@pytest.mark.parametrize("name", ["user", "database", "replication"])
def test_a_name_given_twice_cannot_hide_a_reserved_user(name: str) -> None:
    """The server takes the last one; a relay that judged the first would let rdsadmin in."""
    body = b"user\0app\0" + f"{name}\0a\0{name}\0rdsadmin\0".encode() + b"\0"
    with pytest.raises(ProtocolViolation, match="given twice"):
        startup.read_startup(head(len(body) + 8, 3 << 16) + body)


def test_bytes_after_the_terminator_are_refused() -> None:
    body = b"user\0app\0\0user\0rdsadmin\0\0"
    with pytest.raises(ProtocolViolation, match="terminator"):
        startup.read_startup(head(len(body) + 8, 3 << 16) + body)


def test_a_packet_without_user_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="no PostgreSQL user name"):
        startup.read_startup(startup.startup_packet({"database": "d"}))


def test_the_database_is_the_users_name_when_none_is_given() -> None:
    assert startup.read_startup(startup.startup_packet({"user": "u"})).database == "u"
    assert startup.read_startup(startup.startup_packet({"user": "u", "database": ""})).database == "u"


@pytest.mark.parametrize(
    ("value", "asks"),
    [
        ("true", True), ("t", True), ("ON", True), ("1", True), ("database", True), ("yes", True), ("o", True),
        ("nonsense", True), ("false", False), ("f", False), ("off", False), ("of", False), ("no", False),
        ("0", False), ("", False),
    ],
)  # fmt: skip
def test_replication_is_recognised_as_the_server_does(value: str, asks: bool) -> None:
    assert startup.read_startup(startup.startup_packet({"user": "u", "replication": value})).replication is asks


OK = b"R" + struct.pack("!II", 8, 0)
SASL = b"R" + struct.pack("!II", 23, 10) + b"SCRAM-SHA-256\0\0"
VERSION = b"v" + struct.pack("!III", 12, 0, 0)


def error(code: str) -> bytes:
    return startup.fatal(code, "the database system is starting up")


@pytest.mark.parametrize(
    ("answer", "meaning", "at"),
    [
        (OK, Reply.UNCHALLENGED, 0),
        (OK + b"S\0\0", Reply.UNCHALLENGED, 0),
        (SASL, Reply.FORWARD, 0),
        (VERSION + OK, Reply.UNCHALLENGED, len(VERSION)),
        (VERSION + SASL, Reply.FORWARD, len(VERSION)),
        (error("57P03"), Reply.NOT_READY, 0),
        (error("28P01"), Reply.FORWARD, 0),
        (error("53300"), Reply.FORWARD, 0),
        (b"Ecould not fork new process for connection: Cannot allocate memory\n\0", Reply.FORWARD, 0),
        (b"", Reply.INCOMPLETE, 0),
    ],
)
def test_the_first_reply_decides(answer: bytes, meaning: Reply, at: int) -> None:
    judged = startup.judge_first_reply(answer)
    assert (judged.meaning, judged.at) == (meaning, at)


@given(st.sampled_from([OK, SASL, VERSION + OK, error("57P03"), error("28P01")]), st.data())
def test_a_part_of_a_reply_is_never_judged_as_ok(answer: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(answer) - 1))
    assert startup.judge_first_reply(answer[:cut]).meaning is Reply.INCOMPLETE


@given(st.binary(max_size=200))
def test_no_answer_crashes_the_relay(answer: bytes) -> None:
    startup.judge_first_reply(answer)


@given(texts, texts)
def test_an_error_is_read_as_it_was_made(message: str, detail: str) -> None:
    packet = startup.fatal("28000", message, detail=detail)
    read = startup.read_message(packet)
    assert read is not None
    assert read.end == len(packet)
    fields = startup.read_error(read.payload)
    assert (fields["S"], fields["C"], fields["M"], fields["D"]) == ("FATAL", "28000", message, detail)


def test_a_password_message_holds_one_text() -> None:
    assert startup.read_password(b"secret\0") == "secret"
    for wrong in (b"", b"secret", b"a\0b\0"):
        with pytest.raises(ProtocolViolation):
            startup.read_password(wrong)
