"""A disk that is full, by a limit on the size of files: each program says so in a sentence, ends with 1, and leaves nothing
half-written but its log, whose lines are whole ones. Devices are written to and never replaced. save_faults.py has
checkpoints, far.py far memory."""
import os
import resource
import signal
import stat
import subprocess

import e2e

MODEL = e2e.GRAPHS / "resume.plim"
TWICE = """graph @twice(%x: f32[4] from caller) -> (y: f32[4]) {
  %y: f32[4] = add %x, %x
  return %y
}
"""
OPTIMIZER = e2e.BUILD / "tools" / "plim-opt"


class FullDisk(e2e.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made = cls.enterClassContext(e2e.tempfile.TemporaryDirectory(prefix="plim-full-"))
        for words in (("-o", "program"), ("--emit", "plan", "-o", "plan"), ("--emit", "graph", "-o", "model.graph")):
            done = e2e.run(e2e.PLIMC, MODEL, *words, "--quiet", cwd=cls.made)
            assert done.returncode == 0, done.stderr
        cls.program = os.path.join(cls.made, "program")

    def setUp(self):
        super().setUp()
        e2e.write_classes(self.folder / "data", 64)

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))

    def full(self, *words, room, leaves=(), says="can't write|could not be written whole"):
        """Files have room for so many bytes."""
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

        before = set(self.files())
        # SIGXFSZ is ignored, as Python does: so writes fail, as they do on a full disk.
        self.assertEqual(signal.getsignal(signal.SIGXFSZ), signal.SIG_IGN)
        done = e2e.run(*words, cwd=self.folder, preexec_fn=limit, restore_signals=False)
        self.assertEqual(done.returncode, 1, f"{words}: {done.stdout}{done.stderr}")
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertRegex(errors[0], says)
        self.assertIn("File too large", errors[0])
        self.assertEqual(set(self.files()) - before, set(leaves), words)

    def test_tools(self):
        for emit in ("graph", "plan", "llvm", "asm", "obj", "exe"):
            self.full(e2e.PLIMC, MODEL, "--emit", emit, "-o", "out", "--quiet", room=1000)
        self.full(e2e.PLIMC, MODEL, "--emit", "lib", "-o", "libout.a", "--quiet", room=1000)
        self.full(e2e.PLIMC, MODEL, "--check", "-o", "out", "-MD", "rule", "--quiet", room=10)
        self.full(e2e.PLIMC, MODEL, "--emit", "plan", "-o", "out", "--dump-mip", "mip", "--quiet", room=100, leaves=["mip"])
        for kind in ("--html", "--dot", "--trace", "--csv"):
            self.full(e2e.PLIM_DUMP, f"{self.made}/plan", kind, "out", room=100)
        self.full(OPTIMIZER, f"{self.made}/model.graph", "-o", "out", room=100)

    def test_programs(self):
        train = (self.program, "train", "--data", "data", "--steps", 5, "--quiet")
        self.full(*train, "--trace", "trace.json", room=1000)
        self.full(*train, "--save", "saved", room=1000, leaves=["saved", "saved/.lock"])
        self.full(self.program, "export", "--seed", 1, "-o", "weights.safetensors", room=1000)
        self.full(self.program, "tune", "--steps", 1, "--quiet", "-o", "rates", room=100)
        self.full(*train, "--log", "log", room=1000, leaves=["log"])
        for line in (self.folder / "log").read_text().splitlines()[:-1]:
            e2e.json.loads(line)

    def test_standard_output(self):
        """What a script reads from it must be whole, whoever prints."""
        for words in ((e2e.PLIMC, "--help"), (e2e.PLIMC, "--version"), (e2e.PLIMC, "--explain", "P0801"),
                      (e2e.PLIMC, MODEL, "--frontier"), (OPTIMIZER, "--list"), (e2e.PLIM_DUMP, f"{self.made}/plan"),
                      (self.program, "--help"), (self.program, "info"), (self.program, "info", "--json")):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([str(w) for w in words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=self.folder)
            self.assertEqual(done.returncode, 1, (words, done.stderr))
            self.assertRegex(done.stderr, r"^[^\n]*standard output[^\n]*\n$", words)

    def test_devices_stay(self):
        """Whoever writes a file beside and renames it would put it in the device's place. Here it is a pipe."""
        (self.folder / "twice.graph").write_text(TWICE)
        twice = self.compile("twice.graph")
        e2e.write_safetensors(self.folder / "in", {"x": ("F32", [4], e2e.floats([1, 2, 3, 4]))})
        for wanted, words in ((b"rates 1\n", (self.program, "tune", "--steps", 1, "--quiet", "-o", "pipe")),
                              (e2e.floats([2, 4, 6, 8]), (twice, "run", "twice", "--in", "x=in", "--out", "y=pipe"))):
            pipe = self.folder / "pipe"
            os.mkfifo(pipe)
            with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
                try:
                    self.good(*words)
                    # Where the pipe was replaced, nobody writes to it.
                    self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode), words)
                    self.assertIn(wanted, reader.communicate(timeout=e2e.LIMIT_S)[0])
                finally:
                    reader.kill()
            pipe.unlink()


if __name__ == "__main__":
    e2e.unittest.main()
