"""Make or refresh `.venv` with hash-checked requirements. Standard library only.

Called by scripts/environment as: environment.py run|dev STAMP. Its syntax is that of Python 3.6, so that one that
is too old is refused by name instead of by a syntax error.
"""

import fcntl
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
VERSION = "{}.{}".format(*sys.version_info[:2])
MISSING = 7
"""Exit code of "this machine lacks something", as in multiaz.errors."""
FOLDER = Path(".venv")
INTERPRETER = FOLDER / "bin" / "python"
LOCK = FOLDER / "multiaz.lock"
PLACE = FOLDER / "multiaz-folder"
"""Where the environment was made: its scripts name that folder, so a moved one is made anew."""
UNFINISHED = FOLDER / "multiaz-unfinished"
"""There while packages are being installed: found at the start, the last install was cut short."""


def fail(why, next_step):
    """Print the three lines of an error and leave."""
    sys.stderr.write(f"Cannot make the environment .venv\n  cause: {why}\n  next:  {next_step}\n")
    sys.exit(MISSING)


def check_version():
    """Refuse a Python that is too old."""
    if sys.version_info < OLDEST:
        fail(
            f"{sys.executable} is Python {VERSION}, and multiaz needs 3.11 or later",
            "install a newer Python, or name one: make PYTHON=python3.11",
        )


def check_modules():
    """Refuse a Python that cannot make an environment with pip."""
    for name in ("ensurepip", "venv"):
        try:
            importlib.import_module(name)
        except ImportError:
            fail(
                f"{sys.executable} lacks the module {name}",
                f"install it: `apt-get install python{VERSION}-venv` on Debian and Ubuntu; elsewhere the package "
                "that holds venv and ensurepip",
            )


def run(command, why, next_step):
    """Run `command`, its output shown; a failure ends the script."""
    sys.stdout.flush()
    foreign = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    code = subprocess.call([str(word) for word in command], env=environment)
    if code != 0:
        fail(f"{why} (exit code {code})", next_step)


def is_usable():
    """The environment's interpreter starts, is new enough and belongs to this very folder."""
    test = "import sys; print(sys.version_info >= (3, 11) and sys.prefix != sys.base_prefix and sys.prefix)"
    try:
        shown = subprocess.check_output([str(INTERPRETER), "-c", test], stderr=subprocess.DEVNULL).decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return Path(shown).resolve() == FOLDER.resolve()


def was_made_here():
    """Its scripts name this folder; one made by another tool tells nothing and is its own business."""
    return not PLACE.exists() or PLACE.read_text() == str(Path.cwd())


def make_folder():
    """A fresh environment if there is none, or none that can be trusted; else the one there is."""
    if UNFINISHED.exists():
        print("The last install was cut short: starting afresh")
    elif is_usable() and was_made_here():
        return
    check_modules()
    for path in FOLDER.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        elif path != LOCK:
            path.unlink()
    print(f"Making the environment .venv with {sys.executable}")
    run(
        [sys.executable, "-m", "venv", FOLDER],
        "`python -m venv` failed",
        f"read its message above; on Debian and Ubuntu: apt-get install python{VERSION}-venv",
    )
    PLACE.write_text(str(Path.cwd()))


def install(tier):
    """Everything in requirements/<tier>.txt, hashes checked, and the project itself as editable."""
    pip = [str(INTERPRETER), "-m", "pip", "--quiet"]
    if subprocess.call([*pip, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
        run(
            [INTERPRETER, "-m", "ensurepip"],
            "the environment has no pip, and ensurepip failed",
            "remove the folder .venv and repeat",
        )
    print(f"Installing packages of requirements/{tier}.txt (once; needs the network)")
    checked = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile"]
    run(
        [*pip, "install", *checked, "-r", f"requirements/{tier}.txt", "-r", "requirements/build.txt"],
        "pip could not install the requirements",
        "read pip's message above; a network to the package registry is needed (behind a mirror set PIP_INDEX_URL), "
        "then repeat the command",
    )
    run(
        [*pip, "install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", "."],
        "pip could not install multiaz itself",
        "read pip's message above",
    )


def main(tier, stamp):
    """Bring `.venv` to what `stamp` stands for; one process at a time."""
    check_version()
    if not FOLDER.is_dir():
        check_modules()
        FOLDER.mkdir()
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mine = FOLDER / f"multiaz-{tier}.stamp"
        if mine.exists() and mine.read_text().strip() == stamp and not UNFINISHED.exists():
            return  # another make did it while this one waited
        make_folder()
        UNFINISHED.touch()
        for known in FOLDER.glob("multiaz-*.stamp"):
            known.unlink()
        install(tier)
        UNFINISHED.unlink()
        fresh = mine.with_suffix(".new")
        fresh.write_text(stamp + "\n")
        fresh.replace(mine)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        fail(str(error), "see to that file (does .venv belong to another user?), then repeat the command")
