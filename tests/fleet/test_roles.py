"""Names and words of the bootstrap; what it does to a server is in tests/cli/test_bootstrap.py."""

from __future__ import annotations

import pytest

from multiaz.errors import BadInput
from multiaz.fleet.bootstrap import RoleNames, role_names, statements
from multiaz.fleet.privileges import Fact, sentences


def test_names_come_from_the_stack_s_parameters() -> None:
    assert role_names({}) == RoleNames("app_writer", "app_reader", ("public",))
    named = role_names({"WriterUsername": "w", "ReaderUsername": "r"}, ["b", "a", "b"])
    assert named == RoleNames("w", "r", ("b", "a"))


@pytest.mark.parametrize(
    "hostile", ['a"; drop table orders; --', "a$bootstrap$", "App", "", "1a", "a\n", "a'", "a" * 64, "ä"]
)
def test_a_name_that_would_need_quotes_is_refused(hostile: str) -> None:
    with pytest.raises(BadInput, match="Cannot make the role"):
        role_names({"WriterUsername": hostile})


def test_one_name_for_both_is_refused() -> None:
    with pytest.raises(BadInput, match="are the same"):
        role_names({"WriterUsername": "app", "ReaderUsername": "app"})


def test_databases_and_schemas_are_quoted_wherever_they_stand() -> None:
    """Also in comments, which a line break would end."""
    hostile = 'x"\n; drop table orders; --'
    text = statements(RoleNames("w", "r", (hostile,)), hostile).as_string()
    quoted = '"' + hostile.replace('"', '""') + '"'
    assert text.count("drop table") == text.count(quoted)
    lines = text.replace(quoted, "QUOTED").splitlines()
    assert not [line for line in lines if line.lstrip().startswith("--") and "QUOTED" in line]
    assert "{" not in text


def test_each_schema_has_its_part() -> None:
    text = statements(RoleNames("w", "r", ("a", "b")), "shop").as_string()
    assert text.count("CREATE ROLE") == 2
    assert [f'GRANT USAGE ON SCHEMA "{name}" TO "w", "r"' in text for name in "ab"] == [True, True]


def test_facts_are_told_in_words_and_many_objects_are_counted() -> None:
    tables = [Fact("w", privilege, f"table public.t{n}") for n in range(6) for privilege in ("SELECT", "INSERT")]
    found = sentences(
        [
            *tables,
            Fact("w", "role", "there"),
            Fact("w", "login", "allowed"),
            Fact("w", "member", "rds_iam"),
            Fact("w", "setting", "statement_timeout=10s"),
            Fact("w", "USAGE", "sequence public.s"),
            Fact("w", "SELECT", "later tables of dbadmin in schema public"),
            Fact("pg_stat_statements", "extension", "1.11"),
        ]
    )
    assert found == [
        "the extension pg_stat_statements 1.11",
        "w may log in",
        "w is a member of rds_iam",
        "the role w",
        "w has statement_timeout=10s",
        "w: INSERT, SELECT on 6 tables",
        "w: SELECT on later tables of dbadmin in schema public",
        "w: USAGE on sequence public.s",
    ]
