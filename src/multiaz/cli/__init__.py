"""The command line: parse, call, render. What it does lives in `fleet`, `blueprint` and `local`."""
