"""What the tests of an installed Plimsoll share."""
import os
import re
import subprocess

import e2e

TOOLS = ("plimc", "plim-opt", "plim-dump")


def install(prefix):
    """Installs the build into the folder, as a user would."""
    done = e2e.run("cmake", "--install", e2e.BUILD, "--prefix", prefix)
    assert done.returncode == 0, done.stderr
    return prefix


def help_lines(*command):
    """Of a program's --help: the lines of its options, and its flags alone."""
    text = subprocess.run([*map(str, command), "--help"], capture_output=True, text=True, check=True).stdout
    lines = [line[2:] for line in text.splitlines() if re.match(r"  -", line)]
    return lines, [line.split()[0] for line in lines]


def builds(generator="Ninja", **settings):
    """An environment for cmake: no settings of the caller's that would change what is built."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CMAKE_", "CC", "CFLAGS", "DESTDIR"))}
    return dict(kept, CMAKE_GENERATOR=generator, **settings)
