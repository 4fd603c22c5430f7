"""DB instance classes: how many vCPUs and how much memory each has.

Source: RDS user guide, "Hardware specifications for DB instance classes". Within a family memory is a
fixed number of GiB per vCPU, and an Nxlarge has 4 N vCPUs, so the table holds sizes only; the burstable
classes and `db.c6gd.medium` are listed one by one. Here is every class cfn-lint lists for PostgreSQL but
`db.serverless` (Aurora's) and the family `db.x2m`, whose figures no source of ours states.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class InstanceClass:
    """One DB instance class."""

    name: str
    vcpus: int
    memory_gib: float

    @property
    def memory_bytes(self) -> int:
        """What `DBInstanceClassMemory` stands for (RDS takes a little off for its own processes)."""
        return int(self.memory_gib * GIB)


_TO_16 = (0, 1, 2, 4, 8, 12, 16)
_GRAVITON_2_3 = _TO_16
_INTEL_5 = (*_TO_16, 24)
_INTEL_6 = (*_TO_16, 24, 32)
_INTEL_7 = (0, 1, 2, 4, 8, 12, 16, 24, 48)

_INTEL_8 = (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 96)
_AMD_8 = _GRAVITON_4_5 = _INTEL_7

_FAMILIES: dict[str, tuple[float, tuple[int, ...]]] = {
    # family: (GiB per vCPU, sizes; 0 is "large", N is "Nxlarge")
    "c6gd": (2, _GRAVITON_2_3),
    "m5": (4, _INTEL_5),
    "m5d": (4, _INTEL_5),
    "m6g": (4, _GRAVITON_2_3),
    "m6gd": (4, _GRAVITON_2_3),
    "m6i": (4, _INTEL_6),
    "m6id": (4, _INTEL_6),
    "m7g": (4, _GRAVITON_2_3),
    "m7i": (4, _INTEL_7),
    "m6idn": (4, _INTEL_6),
    "m6in": (4, _INTEL_6),
    "m8a": (4, _AMD_8),
    "m8g": (4, _GRAVITON_4_5),
    "m8gd": (4, _GRAVITON_4_5),
    "m8i": (4, _INTEL_8),
    "m9g": (4, _GRAVITON_4_5),
    "r4": (7.625, (0, 1, 2, 4, 8, 16)),
    "r5": (8, _INTEL_5),
    "r5d": (8, _INTEL_5),
    "r5b": (8, _INTEL_5),
    "r6g": (8, _GRAVITON_2_3),
    "r6gd": (8, _GRAVITON_2_3),
    "r6i": (8, _INTEL_6),
    "r6id": (8, _INTEL_6),
    "r7g": (8, _GRAVITON_2_3),
    "r7i": (8, _INTEL_7),
    "r6idn": (8, _INTEL_6),
    "r6in": (8, _INTEL_6),
    "r8a": (8, _AMD_8),
    "r8g": (8, _GRAVITON_4_5),
    "r8gd": (8, _GRAVITON_4_5),
    "r8i": (8, _INTEL_8),
    "x1": (15.25, (16, 32)),
    "x2g": (16, _GRAVITON_2_3),
    "x2iedn": (32, (1, 2, 4, 8, 16, 24, 32)),
    "z1d": (8, (0, 1, 2, 3, 6, 12)),
}

_BURSTABLE_SIZES = {
    "micro": (2, 1),
    "small": (2, 2),
    "medium": (2, 4),
    "large": (2, 8),
    "xlarge": (4, 16),
    "2xlarge": (8, 32),
}


_LISTED = (
    InstanceClass("db.c6gd.medium", 1, 2),
    InstanceClass("db.t2.small", 1, 2),
    InstanceClass("db.t2.medium", 2, 4),
)


def _table() -> dict[str, InstanceClass]:
    classes = list(_LISTED)
    for family in ("t3", "t4g"):
        for size, (vcpus, memory) in _BURSTABLE_SIZES.items():
            classes.append(InstanceClass(f"db.{family}.{size}", vcpus, memory))
    for family, (gib_per_vcpu, sizes) in _FAMILIES.items():
        for size_number in sizes:
            vcpus = 4 * size_number or 2
            name = {0: "large", 1: "xlarge"}.get(size_number, f"{size_number}xlarge")
            classes.append(InstanceClass(f"db.{family}.{name}", vcpus, vcpus * gib_per_vcpu))
    return {one.name: one for one in classes}


INSTANCE_CLASSES = _table()
"""Every class that can be asked for, by name."""
SMALLEST_CLASS = min(INSTANCE_CLASSES.values(), key=lambda one: (one.memory_gib, one.name))
