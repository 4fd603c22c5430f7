"""The scripts are no package of ours: their folder is put on the path as starting one of them does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
