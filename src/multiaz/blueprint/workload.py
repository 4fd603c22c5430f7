"""What the shop asks of its database: orders a day become queries a second, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from multiaz.blueprint import assumptions as a
from multiaz.blueprint.instance_classes import GIB
from multiaz.errors import BadInput

SECONDS_PER_DAY = 86_400
DAYS_PER_YEAR = 365

DEFAULT_ORDERS_PER_DAY = 50_000
DEFAULT_READS_PER_WRITE = 19.0
"""TPC-W's browsing mix: 95 % of the interactions look, 5 % order."""
DEFAULT_PEAK_FACTOR = 10.0
"""The busiest hour of the year over the average: 10 for a Cyber Monday, 1.7 on an ordinary day, 15 for a flash sale."""
MAX_ORDERS_PER_DAY = 100_000_000
MAX_READS_PER_WRITE = 1000.0
MAX_PEAK_FACTOR = 100.0


@dataclass(frozen=True)
class Load:
    """What the shop must carry. Raises BadInput that names the figure, its value and its range."""

    orders_per_day: int = DEFAULT_ORDERS_PER_DAY
    reads_per_write: float = DEFAULT_READS_PER_WRITE
    """Queries that read for each one that writes."""
    peak_factor: float = DEFAULT_PEAK_FACTOR
    """The peak hour's rate over the average rate of the day."""

    def __post_init__(self) -> None:
        if isinstance(self.orders_per_day, bool) or not isinstance(self.orders_per_day, int):
            raise _refused("orders_per_day", self.orders_per_day, "a whole number")
        _check_range("orders_per_day", self.orders_per_day, 1, MAX_ORDERS_PER_DAY)
        _check_range("reads_per_write", self.reads_per_write, 1, MAX_READS_PER_WRITE)
        _check_range("peak_factor", self.peak_factor, 1, MAX_PEAK_FACTOR)


@dataclass(frozen=True)
class Step:
    """One line of the arithmetic."""

    name: str
    formula: str
    """In words."""
    numbers: str
    """The same with the figures in it."""
    value: float
    unit: str

    @property
    def result(self) -> str:
        """The value as people read it, with its unit."""
        return f"{figure(self.value)} {self.unit}".rstrip()


@dataclass(frozen=True)
class Rates:
    """Queries a second in the peak hour."""

    fresh_reads: float
    """Reads the primary answers."""
    reads: float
    """Reads the replicas share."""
    writes: float


class Sheet:
    """The arithmetic, written down as it is done."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def step(self, name: str, value: float, unit: str, formula: str, numbers: str) -> float:
        """`value`, after it was written down."""
        self.steps.append(Step(name, formula, numbers, value, unit))
        return value


def figure(value: float) -> str:
    """A number as people read it: whole from a hundred on, else the three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def peak_rates(load: Load, sheet: Sheet) -> Rates:
    """Queries a second in the peak hour, by who answers them."""
    orders = sheet.step(
        "orders",
        load.orders_per_day / SECONDS_PER_DAY,
        "/s",
        "orders a day / seconds a day",
        f"{figure(load.orders_per_day)} / {figure(SECONDS_PER_DAY)}",
    )
    interactions = sheet.step(
        "page interactions",
        orders * a.INTERACTIONS_PER_ORDER.value,
        "/s",
        "orders x interactions an order",
        f"{figure(orders)} x {figure(a.INTERACTIONS_PER_ORDER.value)}",
    )
    queries = sheet.step(
        "queries",
        interactions * a.QUERIES_PER_INTERACTION.value,
        "/s",
        "interactions x queries an interaction",
        f"{figure(interactions)} x {figure(a.QUERIES_PER_INTERACTION.value)}",
    )
    least = orders * a.WRITES_PER_ORDER.value
    writes = sheet.step(
        "writes",
        max(queries / (1 + load.reads_per_write), least),
        "/s",
        "queries / (1 + reads for each write), at least what the orders write",
        f"most of {figure(queries)} / (1 + {figure(load.reads_per_write)}) "
        f"and {figure(orders)} x {figure(a.WRITES_PER_ORDER.value)}",
    )
    reads = sheet.step("reads", queries - writes, "/s", "queries - writes", f"{figure(queries)} - {figure(writes)}")

    factor = figure(load.peak_factor)
    sheet.step(
        "page interactions at peak",
        interactions * load.peak_factor,
        "/s",
        "interactions x peak factor",
        f"{figure(interactions)} x {factor}",
    )
    writes_at_peak = sheet.step(
        "writes at peak", writes * load.peak_factor, "/s", "writes x peak factor", f"{figure(writes)} x {factor}"
    )
    reads_at_peak = sheet.step(
        "reads at peak", reads * load.peak_factor, "/s", "reads x peak factor", f"{figure(reads)} x {factor}"
    )
    fresh = sheet.step(
        "of these on the primary",
        reads_at_peak * a.FRESH_READS.value,
        "/s",
        "reads at peak x share that must be fresh",
        f"{figure(reads_at_peak)} x {figure(a.FRESH_READS.value)}",
    )
    return Rates(fresh_reads=fresh, reads=reads_at_peak - fresh, writes=writes_at_peak)


def working_set_gib(load: Load, sheet: Sheet) -> float:
    """GiB that should stay in memory, on the primary as on a replica."""
    per_order_gib = a.BYTES_PER_ORDER.value / GIB
    return sheet.step(
        "data in use",
        a.BASE_GIB.value * a.HOT_BASE.value + load.orders_per_day * a.HOT_DAYS.value * per_order_gib,
        "GiB",
        "base x share in use + orders a day x days in use x bytes an order",
        f"{figure(a.BASE_GIB.value)} x {figure(a.HOT_BASE.value)} + {figure(load.orders_per_day)} x "
        f"{figure(a.HOT_DAYS.value)} x {figure(a.BYTES_PER_ORDER.value)} B",
    )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not low <= value <= high:  # NaN is within no range
        raise _refused(name, value, f"a number from {figure(low)} to {figure(high)}")


def _refused(name: str, value: object, rule: str) -> BadInput:
    return BadInput(f"Cannot size for {name}={value!r}", f"it must be {rule}", "correct it and repeat")
