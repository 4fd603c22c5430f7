"""CRC-32C and CRC-64/NVME, which Python's libraries have not. Pure.

Source: S3 User Guide, "Checking object integrity"; the polynomials are those of RFC 3720 and of the NVM
Express base specification. Eight bytes are taken at a time ("slicing by eight").
"""

from __future__ import annotations

import struct
from functools import lru_cache

_CRC32C = 0x82F63B78
_CRC64NVME = 0x9A6C9329AC4BC9B5
_STEP = 64 * 1024


def crc32c(data: bytes) -> bytes:
    """The CRC-32C of `data`, as S3 writes it: big-endian."""
    return _crc(data, _CRC32C, 32).to_bytes(4, "big")


def crc64nvme(data: bytes) -> bytes:
    """The CRC-64/NVME of `data`, as S3 writes it: big-endian."""
    return _crc(data, _CRC64NVME, 64).to_bytes(8, "big")


@lru_cache(maxsize=2)
def _tables(polynomial: int) -> tuple[tuple[int, ...], ...]:
    """Table k: what a byte adds to the remainder when k bytes follow it."""
    first = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        first.append(value)
    tables = [first]
    for _ in range(7):
        tables.append([value >> 8 ^ first[value & 0xFF] for value in tables[-1]])
    return tuple(tuple(table) for table in tables)


def _crc(data: bytes, polynomial: int, width: int) -> int:
    """The remainder of a CRC that is reflected, begins with ones and is inverted at the end."""
    t0, t1, t2, t3, t4, t5, t6, t7 = _tables(polynomial)
    ones = (1 << width) - 1
    remainder = ones
    whole = len(data) - len(data) % 8
    view = memoryview(data)
    for start in range(0, whole, _STEP):
        piece = view[start : min(start + _STEP, whole)]
        for word in struct.unpack(f"<{len(piece) // 8}Q", piece):
            x = word ^ remainder
            remainder = (
                t7[x & 0xFF]
                ^ t6[x >> 8 & 0xFF]
                ^ t5[x >> 16 & 0xFF]
                ^ t4[x >> 24 & 0xFF]
                ^ t3[x >> 32 & 0xFF]
                ^ t2[x >> 40 & 0xFF]
                ^ t1[x >> 48 & 0xFF]
                ^ t0[x >> 56]
            )
    for byte in view[whole:]:
        remainder = remainder >> 8 ^ t0[(remainder ^ byte) & 0xFF]
    return remainder ^ ones
