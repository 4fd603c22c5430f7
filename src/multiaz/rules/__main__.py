"""`python -m multiaz.rules` prints docs/rules.md."""

from __future__ import annotations

import sys

from multiaz.rules.describing import described

if __name__ == "__main__":
    sys.stdout.write(described())
