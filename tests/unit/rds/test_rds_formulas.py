"""Formulas of parameter groups mean what RDS says they mean, and no text can do harm."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.rds.formulas import FormulaError, Variables, evaluate, is_formula

GIB = 1024**3
LARGE = Variables(class_memory_bytes=16 * GIB, vcpus=2, allocated_storage_bytes=100 * GIB, port=5432)

Tree = tuple[str, int]


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("{DBInstanceClassMemory/32768}", 16 * GIB // 32768),
        ("LEAST({DBInstanceClassMemory/9531392},5000)", 1802),
        ("GREATEST({DBInstanceClassMemory*1024/63963136},65536)", 16 * GIB * 1024 // 63963136),
        ("GREATEST({log(DBInstanceClassMemory/21474836480)*600},200)", 200),
        ("GREATEST(${DBInstanceVCPU*2},8)", 8),
        ("SUM({DBInstanceVCPU},40)", 42),
        ("{EndPointPort}", 5432),
        ("{AllocatedStorage/1073741824}", 100),
        ("LEAST(GREATEST({DBInstanceClassMemory/32185783296},16),32)", 16),
        ("{-7/2}", -3),
        ("{7-2-1}", 4),
        ("{2+3*4}", 14),
    ],
)
def test_a_formula_of_rds_comes_to_its_value(formula: str, value: int) -> None:
    assert is_formula(formula)
    assert evaluate(formula, LARGE) == value


def test_the_logarithm_is_base_two_and_truncated() -> None:
    big = Variables(128 * GIB, 16, GIB, 5432)
    assert evaluate("GREATEST({log(DBInstanceClassMemory/21474836480)*600},200)", big) == 1200


@pytest.mark.parametrize(
    "text",
    [
        "{", "}", "{}", "{1", "{1}}", "{DBInstanceMemory}", "{1/0}", "{1//2}", "LEAST()", "LEAST(1,)", "log(1)",
        "{log(1,2)}", "{1 2}", "{__import__}", "{1;2}", "{0x10}", "{99999999999999999999}", "{2**3}",
        "{" + "9" * 2000 + "}", "{" * 500 + "1" + "}" * 500, "{" + "-" * 900 + "1}", "{٣}",
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text: str) -> None:
    if text == "log(1)":
        assert not is_formula(text)
        return
    with pytest.raises(FormulaError):
        evaluate(text, LARGE)


@pytest.mark.parametrize("text", ["100", "on", "pg_stat_statements,auto_explain", '"$user", public', "greatest"])
def test_a_literal_is_not_taken_for_a_formula(text: str) -> None:
    assert not is_formula(text)


def _leaf() -> st.SearchStrategy[Tree]:
    numbers = st.integers(0, 10_000).map(lambda number: (str(number), number))
    named = st.sampled_from([("DBInstanceVCPU", 2), ("EndPointPort", 5432)])
    return numbers | named


def _grow(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    operators: list[tuple[str, Callable[[int, int], int]]] = [
        ("+", lambda a, b: a + b),
        ("-", lambda a, b: a - b),
        ("*", lambda a, b: a * b),
    ]
    binary = st.tuples(children, st.sampled_from(operators), children).map(
        lambda parts: (f"({parts[0][0]}{parts[1][0]}{parts[2][0]})", parts[1][1](parts[0][1], parts[2][1]))
    )
    functions: list[tuple[str, Callable[[list[int]], int]]] = [("GREATEST", max), ("LEAST", min), ("SUM", sum)]
    called = st.tuples(st.sampled_from(functions), st.lists(children, min_size=1, max_size=3)).map(
        lambda parts: (
            f"{parts[0][0]}({', '.join(text for text, _ in parts[1])})",
            parts[0][1]([value for _, value in parts[1]]),
        )
    )
    return binary | called


@given(st.recursive(_leaf(), _grow, max_leaves=8))
def test_every_expression_comes_to_what_arithmetic_says(tree: Tree) -> None:
    text, value = tree
    if abs(value) < 2**62 and len(text) < 900:
        try:
            assert evaluate("{" + text + "}", LARGE) == value
        except FormulaError as error:
            assert "64 bits" in str(error)


@given(st.text(alphabet="{}()$,*/+-0123456789 DBInstanceVCPUGREATLSMlog", max_size=60) | st.text(max_size=60))
def test_any_text_is_a_number_or_a_formula_error(text: str) -> None:
    with contextlib.suppress(FormulaError):
        assert isinstance(evaluate(text, LARGE), int)
