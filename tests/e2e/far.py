"""Programs whose states and activations are on disk: the same bits as without, whatever is asked of them; every call that
fails ends the run with one sentence, and nothing stays in the folder.

By itself: PLIM_BUILD=build/release tests/e2e/far.py CASES     (faults; the build's tests take 12)
"""
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import e2e

SHIM = e2e.BUILD / "tests" / "e2e" / "libsave_shim.so"
STEPS = 4
VALUE = r"%([\w.]+): (\w+\[[\d,]*\])"


def cases():
    return int(sys.argv[1]) if len(sys.argv) > 1 else e2e.repeats(12)


def replace_value(text, name, by):
    return re.sub(rf"%{re.escape(name)}(?![\w.])", f"%{by}", text)


class Mover:
    """Rewrites graph text: states live in far memory, fetched once for each phase that reads them; some values of
    @train are moved away when they are made, and back before backward nodes read them."""

    def __init__(self, activations):
        self.activations = activations
        self.out, self.far, self.count = [], set(), 0

    def rewrite(self, text):
        for line in text.splitlines():
            state = re.match(r"state @(\S+): ", line)
            commit = re.match(r"  commit @(\S+) = %(\S+)", line)
            node = re.match(r"  (%.*?) = (.*)$", line)
            if state:
                self.far.add(state[1])
                line = line.replace("}", ", far = 1}")
            elif line.startswith("graph @"):
                self.types, self.phases, self.moved = dict(re.findall(VALUE, line)), {}, {}
                self.training = line.startswith("graph @train(")
            elif commit:
                line = self.commit(*commit.groups())
            elif node:
                line = self.node(*node.groups())
            self.out.append(line)
        return "\n".join(self.out) + "\n"

    def commit(self, state, value):
        self.count += 1
        self.out.append(f"  %c{self.count}.far: {self.types[value]} = offload %{value}{self.phases.get(value, '')}")
        return f"  commit @{state} = %c{self.count}.far"

    def node(self, results, what):
        phase = re.search(r"( backward| update)?$", what)[1] or ""
        made = re.findall(VALUE, results)
        self.types.update(made)
        self.phases.update((name, phase) for name, _ in made)
        for name, here in self.moved.items():
            if phase not in here and replace_value(what, name, "") != what:
                here[phase] = f"{name}.far{phase.strip()}"
                self.out.append(f"  %{here[phase]}: {self.types[name]} = fetch %v{name}.far{phase}")
            if phase in here:
                what = replace_value(what, name, here[phase])
        name, kind = made[0]
        if re.match(r"state \{", what):
            self.moved[name] = {}
            return f"  %v{name}.far: {kind} = {what}"
        if self.training and name in self.activations:
            self.moved[name] = {phase: name}
            return f"  {results} = {what}\n  %v{name}.far: {kind} = offload %{name}{phase}"
        return f"  {results} = {what}"


class Far(e2e.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="plim-e2e-")
        cls.addClassCleanup(folder.cleanup)
        text = e2e.run(e2e.PLIMC, e2e.GRAPHS / "resume.plim", "--dump-after", "optimize", "-D", "width=300").stdout
        relu = re.search(r"%([\w.]+): \S+ = relu", text)[1]
        cls.near, cls.program = (pathlib.Path(folder.name) / name for name in ("near", "far"))
        for program, graph in ((cls.near, text), (cls.program, Mover({"h", relu}).rewrite(text))):
            source = program.with_suffix(".graph")
            source.write_text(graph)
            done = e2e.run(e2e.PLIMC, source, "-o", program, "--quiet")
            assert done.returncode == 0, done.stderr

    def setUp(self):
        super().setUp()
        self.folder = self.folder.resolve()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        e2e.write_classes(self.folder / "data", 256)

    def go(self, program, *options, environment=None):
        place = [] if program == self.near else ["--far-dir", self.disk]
        return e2e.run(program, *options, *place, cwd=self.folder, env=dict(os.environ, **(environment or {})))

    def train(self, program, *options, **more):
        return self.go(program, "train", "--data", "data", "--steps", STEPS, "--log", "log", *options, **more)

    def losses(self):
        return [json.loads(line)["loss"] for line in (self.folder / "log").read_text().splitlines()]

    def same(self, near, far):
        for file in ("model.safetensors", "optimizer.safetensors"):
            self.assertEqual((self.folder / near / file).read_bytes(), (self.folder / far / file).read_bytes(), file)

    def test_bits_are_those_of_memory(self):
        for program, folder in ((self.near, "a"), (self.program, "b")):
            # Every save is written while the next step overwrites what it saves.
            done = self.train(program, "--save", folder, "--save-every", 1, "--quiet")
            self.assertEqual((done.returncode, done.stderr), (0, ""), folder)
            losses = self.losses()
            self.assertEqual(len(losses), STEPS)
            if program == self.near:
                known = losses
        self.assertEqual(losses, known)
        for step in (STEPS - 1, STEPS):
            self.same(f"a/step-{step}", f"b/step-{step}")
        info = json.loads(self.good(self.program, "info", "--json").stdout)
        last = json.loads((self.folder / "log").read_text().splitlines()[-1])
        self.assertEqual(last["far_bytes"], info["spaces"]["disk"]["bytes"])
        self.assertEqual(last["arena_peak_bytes"], info["spaces"]["device"]["bytes"])
        self.assertIn("disk", self.good(e2e.PLIM_DUMP, self.program).stdout)
        self.assertEqual(list(self.disk.iterdir()), [])

    def test_resumes_and_exports(self):
        for program, folder in ((self.near, "a"), (self.program, "b")):
            self.assertEqual(self.train(program, "--save", folder, "--quiet").returncode, 0)
            # Begins in memory and goes on from disk, and the other way round.
            other = self.program if program == self.near else self.near
            self.assertEqual(self.train(other, "--save", folder, "--resume", "auto").returncode, 0)
            out = self.go(program, "export", "--weights", folder, "-o", folder + ".safetensors", "--dtype", "bf16")
            self.assertEqual(out.returncode, 0, out.stderr)
            again = self.train(program, "--weights", folder + ".safetensors", "--quiet", "--save", folder + "2")
            self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(*((self.folder / f"{name}.safetensors").read_bytes() for name in "ab"))
        self.same(f"a2/step-{STEPS}", f"b2/step-{STEPS}")

    def test_what_watches_sees_the_disk(self):
        looks = ("--digest", "--check-finite", "--trace", "t.json")
        one, two = (self.train(self.program, *looks, "--threads", n) for n in (1, 2))
        self.assertEqual((one.returncode, two.returncode), (0, 0), one.stderr + two.stderr)
        self.assertEqual(one.stdout, two.stdout)
        lines = [line for line in one.stdout.splitlines() if "offload" in line]
        # What a copy to the disk has written is read from there.
        self.assertGreater(len({line.split()[4] for line in lines}), len(lines) // 4)
        json.loads((self.folder / "t.json").read_text())

    def test_says_where(self):
        words = [self.program, "train", "--data", "data", "--steps", "1"]
        here = {k: v for k, v in os.environ.items() if k != "TMPDIR"}
        self.assertRegex(self.good(*words, env=here).stderr, r"^keeping \S+ \S+ on disk in \. \(--far-dir chooses")
        self.assertIn(f"on disk in {self.disk} (", self.good(*words, env=here | {"TMPDIR": str(self.disk)}).stderr)
        self.assertNotIn("on disk", self.good(*words, "--far-dir", self.disk).stderr)
        self.refused_in_one_sentence(*words, "--far-dir", "no/such", says="on disk, which no/such can't hold: No such file")
        self.refused_in_one_sentence(*words, "--far-dir", "data", says="Not a directory")
        limited = "ulimit -f 1; exec \"$@\""
        self.refused_in_one_sentence("bash", "-c", limited, "-", *words, "--quiet", says="File too large")

    def test_asks_for_room_and_takes_none_where_it_is_too_little(self):
        """A file system may hand out all that it has before it says that it isn't enough: others would find it full."""
        words = [self.program, "train", "--data", "data", "--steps", "1", "--far-dir", self.disk]
        trace = self.folder / "trace"
        shim = dict(os.environ, LD_PRELOAD=str(SHIM), SHIM_FOLDER=str(self.disk), SHIM_TRACE=str(trace))
        self.refused_in_one_sentence(*words, env=shim | {"SHIM_ROOM": "8192"}, says=r"on disk, and \S+ has 8\.00 KiB free: choose")
        calls = [line.split("\t")[1] for line in trace.read_text().splitlines()]
        self.assertIn("room", calls)
        self.assertNotIn("allocate", calls)
        self.good(*words, "--quiet", env=shim)

    def test_disk_that_refuses_direct_access(self):
        words = [self.program, "train", "--data", "data", "--steps", STEPS, "--log", "log", "--far-dir", self.disk]
        trace = self.folder / "trace"
        shim = dict(os.environ, LD_PRELOAD=str(SHIM), SHIM_FOLDER=str(self.disk))
        self.assertNotIn("page cache", self.good(*words, env=shim | {"SHIM_TRACE": str(trace)}).stderr)
        known, calls = self.losses(), [line.split("\t")[1] for line in trace.read_text().splitlines()]
        for first in ("pwrite", "read"):
            number = str(calls.index(first) + 1)
            done = self.good(*words, env=shim | {"SHIM_FAIL": number, "SHIM_KIND": "EINVAL"})
            self.assertIn(f"on disk in {self.disk}, through the page cache, as it can't be written directly", done.stderr)
            self.assertEqual(self.losses(), known)

    def test_every_call_fails_once(self):
        self.assertEqual(self.train(self.near, "--quiet").returncode, 0)
        known = self.losses()
        trace = self.folder / "trace"
        shim = {"LD_PRELOAD": str(SHIM), "SHIM_FOLDER": str(self.disk)}
        done = self.train(self.program, "--quiet", environment=shim | {"SHIM_TRACE": str(trace)})
        self.assertEqual((done.returncode, self.losses()), (0, known), done.stderr)
        calls = [line.split("\t")[1] for line in trace.read_text().splitlines()]
        self.assertGreater(min(calls.count("read"), calls.count("pwrite"), calls.count("allocate")), 0)
        every = [(number, kind) for kind in ("ENOSPC", "EIO", "EINTR", "short") for number, call in enumerate(calls, 1)
                 if kind != "short" or call in ("read", "pwrite")]
        # Of the many copies some; what is done once, always.
        rare = [(n, kind) for n, kind in every if calls[n - 1] not in ("read", "pwrite")]
        chosen = rare + random.Random(1).sample(every, min(cases(), len(every)))
        failed = 0
        for number, kind in chosen:
            where = f"call {number} ({calls[number - 1]}), {kind}"
            done = self.train(self.program, "--quiet", environment=shim | {"SHIM_FAIL": str(number), "SHIM_KIND": kind})
            losses = self.losses()
            self.assertEqual(losses, known[:len(losses)], where)
            if kind == "EINTR" and calls[number - 1] in ("read", "pwrite", "allocate"):
                self.assertEqual(done.returncode, 0, f"{where}: {done.stderr}")
            if done.returncode == 0:
                self.assertEqual(len(losses), STEPS, where)
                continue
            failed += 1
            self.assertEqual(done.returncode, 1, where)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, f"{where}: {done.stderr}")
            self.assertIn(str(self.disk), done.stderr, where)
            if calls[number - 1] == "pwrite" and losses:
                # A step's copy: the sentence names it. Reads run beside writes, so the same number may be one this time.
                self.assertRegex(done.stderr, r"(offload .*\(train\.\w+, instruction \d+\): can't write|"
                                              r"fetch .*\(train\.\w+, instruction \d+\): can't read) ", where)
        self.assertGreater(failed, len(chosen) // 5)
        self.assertEqual(list(self.disk.iterdir()), [])

    def test_killed_leaves_nothing(self):
        words = [self.program, "train", "--data", "data", "--steps", "1000000", "--far-dir", self.disk, "--log", "endless"]
        with subprocess.Popen([str(w) for w in words], cwd=self.folder, stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as running:
            deadline = time.monotonic() + e2e.LIMIT_S
            log = self.folder / "endless"
            while not log.exists() or log.read_text().count("\n") < 2:
                self.assertLess(time.monotonic(), deadline)
                self.assertIsNone(running.poll())
                time.sleep(0.01)
            # Stopped, it opens and closes nothing while its files are listed.
            running.send_signal(signal.SIGSTOP)
            self.assertTrue(os.WIFSTOPPED(os.waitpid(running.pid, os.WUNTRACED)[1]))
            files = [os.readlink(f"/proc/{running.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{running.pid}/fd")]
            self.assertTrue(any(name.startswith(str(self.disk)) for name in files), files)
            running.send_signal(signal.SIGKILL)
        self.assertEqual(list(self.disk.iterdir()), [])


if __name__ == "__main__":
    e2e.unittest.main(argv=sys.argv[:1])
