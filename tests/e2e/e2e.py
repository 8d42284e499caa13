"""What the end-to-end tests share: the built tools, data made on the spot, and checks of messages.

PLIM_BUILD names the build folder; PLIM_E2E_SCALE divides how often slow builds (sanitizers) repeat things.
Only Python's standard library: these tests run wherever the build runs.
"""
import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ["PLIM_BUILD"]).resolve()
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
GRAPHS = SOURCE / "tests" / "e2e" / "graphs"
PLIMC = BUILD / "tools" / "plimc"
PLIM_DUMP = BUILD / "tools" / "plim-dump"
SCALE = int(os.environ.get("PLIM_E2E_SCALE", "1"))
LIMIT_S = 120
PAGE = os.sysconf("SC_PAGE_SIZE")
LOG_FIELDS = ("step", "loss", "tokens_per_s", "step_ms", "plan_peak_bytes", "arena_peak_bytes", "rss_bytes")


def repeats(count):
    """A number of repetitions, fewer in slow builds, never none."""
    return max(1, count // SCALE)


def run(*words, **options):
    """Runs a program to its end. A crash or a sanitizer's report is never an acceptable answer."""
    options.setdefault("timeout", LIMIT_S)
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, **options)
    for sign in ("Sanitizer", "runtime error:"):
        assert sign not in done.stderr, done.stderr
    assert done.returncode >= 0, f"{words} died of signal {-done.returncode}"
    assert done.returncode != 70, done.stderr
    return done


def mappings(pid):
    """Of every mapping: bytes, resident KiB that are nobody else's, flags."""
    found = []
    with open(f"/proc/{pid}/smaps") as lines:
        for line in lines:
            span = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if span:
                found.append({"bytes": int(span[2], 16) - int(span[1], 16), "private": 0, "flags": []})
            elif line.startswith(("Private_Clean", "Private_Dirty")):
                found[-1]["private"] += int(line.split()[1])
            elif line.startswith("VmFlags"):
                found[-1]["flags"] = line.split()[1:]
    return found


class TestCase(unittest.TestCase):
    """A test in a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="plim-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def good(self, *words, **options):
        options.setdefault("cwd", self.folder)
        done = run(*words, **options)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stderr}")
        return done

    def refused(self, *words, status=1, says=None, **options):
        """The program ends with the status and a sentence that holds the given pattern."""
        options.setdefault("cwd", self.folder)
        done = run(*words, **options)
        self.assertEqual(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        self.assertNotEqual(done.stderr.strip(), "", words)
        if says:
            self.assertRegex(done.stderr, says)
        return done

    def refused_in_one_sentence(self, *words, **options):
        done = self.refused(*words, **options)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        return done

    def compile(self, source, *options, out="program"):
        self.good(PLIMC, source, "-o", out, "--quiet", *options)
        return self.folder / out

    def train(self, program, data, *options, steps):
        """Trains with a log; its checked lines."""
        log = self.folder / "log.jsonl"
        self.good(program, "train", "--data", data, "--steps", steps, "--log", log, "--quiet", *options)
        return self.read_log(program, log, steps)

    def read_log(self, program, log, steps):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual([line["step"] for line in lines], list(range(1, steps + 1)))
        info = json.loads(self.good(program, "info", "--json").stdout)
        planned = sum(space["bytes"] for space in info["spaces"].values())
        self.assertEqual(planned, info["spaces"]["device"]["bytes"])
        for line in lines:
            for field in LOG_FIELDS:
                self.assertIn(field, line)
                self.assertIsInstance(line[field], (int, float), field)
            self.assertEqual(line["plan_peak_bytes"], planned)
            self.assertEqual(line["arena_peak_bytes"], planned)
            self.assertGreater(line["tokens_per_s"], 0)
            self.assertGreater(line["step_ms"], 0)
        return lines

    def check_arena(self, program, data, *options):
        """Measured in a step of a training that runs: the arena has the planned bytes. They, and how
        many of them are used."""
        info = json.loads(self.good(program, "info", "--json").stdout)
        log = self.folder / "endless.jsonl"
        words = [program, "train", "--data", data, "--steps", "1000000", "--log", log, "--quiet", *options]
        with subprocess.Popen([str(w) for w in words], cwd=self.folder, stdin=subprocess.DEVNULL) as running:
            try:
                deadline = time.monotonic() + LIMIT_S
                while not log.exists() or log.read_text().count("\n") < 2:
                    self.assertLess(time.monotonic(), deadline)
                    self.assertIsNone(running.poll())
                    time.sleep(0.01)
                running.send_signal(signal.SIGSTOP)
                # Stopped, not ended.
                self.assertTrue(os.WIFSTOPPED(os.waitpid(running.pid, os.WUNTRACED)[1]))
                found = mappings(running.pid)
            finally:
                running.kill()
        log.unlink()
        # Large pages wanted, nothing reserved: so the runtime maps its arena, and nothing else.
        arena = [m for m in found if "hg" in m["flags"] and "nr" in m["flags"]]
        planned = info["spaces"]["device"]["bytes"]
        self.assertEqual([m["bytes"] for m in arena], [-(-planned // PAGE) * PAGE])
        return planned, 1024 * arena[0]["private"]

    def check_resident(self, lines, weights):
        """Resident memory is at most the arena, the weights' file and 64 MiB."""
        size = os.path.getsize(weights) if weights else 0
        self.assertLessEqual(lines[-1]["rss_bytes"], lines[-1]["arena_peak_bytes"] + size + (64 << 20))


def saved(folder):
    """The model of the newest checkpoint in the folder."""
    steps = [int(f.name[5:]) for f in pathlib.Path(folder).glob("step-*")]
    return pathlib.Path(folder) / f"step-{max(steps)}" / "model.safetensors"


def count_parameters(plan):
    """Elements of all parameters in a plan's text."""
    total = 0
    for line in plan.read_text().splitlines():
        words = line.split(" ")
        if words[0] == "state" and words[3] == "param":
            size = 1
            for dim in line.split("[", 1)[1].split("]", 1)[0].split(","):
                size *= int(dim)
            total += size
    return total


def losses(lines):
    return [line["loss"] for line in lines]


def write_safetensors(path, tensors):
    """tensors: name -> (dtype, shape, bytes)."""
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            out.write(data)


def read_safetensors(path):
    """name -> (dtype, shape, bytes), in the file's order of names."""
    raw = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], raw[8 + length + begin:8 + length + end])
    return tensors


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def integers(values):
    return struct.pack(f"<{len(values)}i", *values)


def write_classes(path, rows, width=16, classes=4, seed=1):
    """Noisy points round one centre a class: the tensors x and y."""
    source = random.Random(seed)
    # The centres stay where they are: other seeds draw other points of the same problem.
    fixed = random.Random(99)
    centre = [[fixed.gauss(0, 1) for _ in range(width)] for _ in range(classes)]
    x, y = [], []
    for _ in range(rows):
        label = source.randrange(classes)
        x += [c + source.gauss(0, 0.5) for c in centre[label]]
        y.append(label)
    write_safetensors(path, {"x": ("F32", [rows, width], floats(x)), "y": ("I32", [rows], integers(y))})


def grammar_text(sentences, seed=1):
    """English of a kind: few words in fixed places, so that a small model soon guesses most letters."""
    source = random.Random(seed)
    nouns, verbs = ("cat", "dog", "bird", "fox"), ("sees", "hears", "likes")
    return "".join(f"the {source.choice(nouns)} {source.choice(verbs)} the {source.choice(nouns)}. "
                   for _ in range(sentences))


def find_plan(program):
    """Offset and size of the plan's bytes in an executable: magic, version 1, size."""
    raw = pathlib.Path(program).read_bytes()
    for found in re.finditer(b"PLIMPLAN", raw):
        if len(raw) - found.start() < 20:
            continue
        version, size = struct.unpack_from("<IQ", raw, found.start() + 8)
        if version == 1 and size <= len(raw) - found.start():
            return found.start(), size
    raise AssertionError("no plan in the program")
