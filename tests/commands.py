"""The `s2crop` command in tests: in this process or one of its own, with what it says and writes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from PIL import Image

from s2crop import cli

# What ends a run; without the hang-up where the tests themselves run under nohup, as what they start takes that over.
ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
ENDS = [number for number in ENDS if signal.getsignal(number) != signal.SIG_IGN]


def draw(name, size=(48, 32), mode="RGB"):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).convert(mode).save(path)
    return path


def s2crop(*args, input=None):
    """Run the command; its exit status, and what it wrote to standard output and standard error."""
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], input=input)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def usage_error(*args, input=None):
    """The message of a usage error; nothing else may have happened."""
    before = files()
    code, out, err = s2crop(*args, input=input)
    assert (code, out, files()) == (2, "", before), err
    assert err.startswith("Usage: s2crop [OPTIONS] INPUT...\n")
    return " ".join(err.partition("Error: ")[2].split())


def records(*args, input=None, code=0):
    """The JSON lines of a run."""
    got, out, err = s2crop(*args, "--json", input=input)
    assert got == code, err
    return [json.loads(line) for line in out.splitlines()]


def files(folder="."):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file() and not p.is_symlink())


def process(*args, cropper="FakeCropper()", stderr=subprocess.PIPE, stdin=None):
    """The command in a process of its own, which is not to spend seconds on importing torch."""
    script = f"""if True:
        import sys, time
        from s2crop import cli
        from s2crop.cli import loading
        from s2crop.files import encode
        from s2crop.files.picture import lift_pillow_limits
        from fake_cropper import FakeCropper
        loading.load_cropper = lambda *asked: lift_pillow_limits() or {cropper}
        cli.main(prog_name="s2crop")
    """
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
