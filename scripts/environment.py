"""Make or refresh `.venv` with hash-checked requirements. Standard library only.

Called by scripts/environment as: environment.py run|dev STAMP. Written for old Pythons too, so that
one that is too old is refused by name instead of by a syntax error.
"""

import fcntl
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
MISSING = 7
"""Exit code of "this machine lacks something", as in multiaz.errors."""
FOLDER = ".venv"
INTERPRETER = os.path.join(FOLDER, "bin", "python")
UNFINISHED = os.path.join(FOLDER, "multiaz-unfinished")
"""There while packages are being installed: found at the start, the last install was cut short."""


def fail(why, next_step, what="Cannot make the environment .venv"):
    """Print the three lines of an error and leave."""
    sys.stderr.write("{}\n  cause: {}\n  next:  {}\n".format(what, why, next_step))
    sys.exit(MISSING)


def check_python():
    """Refuse a Python that is too old, or one that cannot make an environment with pip."""
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info < OLDEST:
        fail(
            "{} is Python {}, and multiaz needs 3.11 or later".format(sys.executable, version),
            "install a newer Python, or name one: make PYTHON=python3.11",
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        fail(
            "{} lacks the module {}".format(sys.executable, error.name),
            "install it: `apt-get install python{}-venv` on Debian and Ubuntu; elsewhere the package that "
            "holds venv and ensurepip".format(version),
        )


def run(command, why, next_step):
    """Run `command`, its output shown; a failure ends the script."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET")}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    code = subprocess.call(command, env=environment)
    if code != 0:
        fail("{} (exit code {})".format(why, code), next_step)


def is_usable():
    """The environment's interpreter starts, is new enough and belongs to this very folder."""
    test = "import sys; print(sys.version_info >= (3, 11) and sys.prefix != sys.base_prefix and sys.prefix)"
    try:
        shown = subprocess.check_output([INTERPRETER, "-c", test], stderr=subprocess.DEVNULL).decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return os.path.realpath(shown) == os.path.realpath(FOLDER)


def was_made_here():
    """Scripts in the environment name this folder: it was neither moved nor copied."""
    record = os.path.join(FOLDER, "multiaz-folder")
    try:
        with open(record) as file:
            return file.read() == os.getcwd()
    except OSError:
        return True  # made by another tool: its own business


def make_folder():
    """A fresh environment if there is none, or none that can be trusted; else the one there is."""
    if os.path.exists(UNFINISHED):
        print("The last install was cut short: starting afresh")
    elif is_usable() and was_made_here():
        return
    for name in os.listdir(FOLDER):
        if name == "multiaz.lock":
            continue
        path = os.path.join(FOLDER, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    print("Making the environment .venv with {}".format(sys.executable))
    check_python()
    run(
        [sys.executable, "-m", "venv", FOLDER],
        "`python -m venv` failed",
        "read its message above; on Debian and Ubuntu: apt-get install "
        "python{}.{}-venv".format(*sys.version_info[:2]),
    )
    with open(os.path.join(FOLDER, "multiaz-folder"), "w") as file:
        file.write(os.getcwd())


def install(tier):
    """Everything in requirements/<tier>.txt, hashes checked, and the project itself as editable."""
    pip = [INTERPRETER, "-m", "pip", "--quiet"]
    if subprocess.call(pip + ["--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
        run(
            [INTERPRETER, "-m", "ensurepip"],
            "the environment has no pip, and ensurepip failed",
            "remove the folder .venv and repeat",
        )
    network = (
        "read pip's message above; a network to the package registry is needed (behind a mirror set "
        "PIP_INDEX_URL), then repeat the command"
    )
    print("Installing packages of requirements/{}.txt (once; needs the network)".format(tier))
    sys.stdout.flush()
    run(
        pip
        + ["install", "--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile"]
        + ["-r", "requirements/{}.txt".format(tier), "-r", "requirements/build.txt"],
        "pip could not install the requirements",
        network,
    )
    run(
        pip + ["install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", "."],
        "pip could not install multiaz itself",
        "read pip's message above",
    )


def main(tier, stamp):
    """Bring `.venv` to what `stamp` stands for; one process at a time."""
    if not os.path.isdir(FOLDER):
        check_python()
        os.mkdir(FOLDER)
    with open(os.path.join(FOLDER, "multiaz.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = os.path.join(FOLDER, "multiaz-{}.stamp".format(tier))
        if os.path.exists(path) and open(path).read().strip() == stamp and not os.path.exists(UNFINISHED):
            return  # another make did it while this one waited
        make_folder()
        open(UNFINISHED, "w").close()
        for other in ("run", "dev"):
            if os.path.exists(os.path.join(FOLDER, "multiaz-{}.stamp".format(other))):
                os.unlink(os.path.join(FOLDER, "multiaz-{}.stamp".format(other)))
        install(tier)
        with open(path + ".new", "w") as file:
            file.write(stamp + "\n")
        os.unlink(UNFINISHED)
        os.rename(path + ".new", path)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except OSError as error:
        fail(str(error), "see to that file (does .venv belong to another user?), then repeat the command")
