"""`python -m multiaz.cli` is `multiaz`."""

from multiaz.cli.main import run

run()
