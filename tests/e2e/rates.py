"""Measured rates: a program measures itself, the compiler predicts with that, training tells both."""
from e2e import *

MODEL = SOURCE / "models" / "mlp.plim"


class Rates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keep = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.keep.name)
        cls.program, cls.rates = cls.folder / "mlp", cls.folder / "mlp.rates"
        assert run(PLIMC, MODEL, "-o", cls.program, "--quiet").returncode == 0
        cls.tuned = run(cls.program, "tune", "--steps", "2", "--threads", "1")
        assert cls.tuned.returncode == 0, cls.tuned.stderr
        cls.again = cls.folder / "again"
        done = run(PLIMC, MODEL, "-o", cls.again, "--rates", cls.rates, "-MD", cls.folder / "rule", "--quiet")
        assert done.returncode == 0 and done.stderr == "", done.stderr
        data = random.Random(1)
        cls.data = []
        for name, kind, shape in ("x", "<f4", (512, 784)), ("label", "<i4", (512,)):
            count = shape[0] * (shape[1] if len(shape) > 1 else 1)
            head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
            head += " " * (-(len(head) + 11) % 64) + "\n"
            elements = [data.random() for _ in range(count)] if kind == "<f4" else [data.randrange(10) for _ in range(count)]
            path = cls.folder / f"{name}.npy"
            path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
                             + struct.pack(f"<{count}{'f' if kind == '<f4' else 'i'}", *elements))
            cls.data += ["--data", f"{name}={path}"]

    @classmethod
    def tearDownClass(cls):
        cls.keep.cleanup()

    def measured(self):
        """Picoseconds: of the start, and of each kernel."""
        text = self.rates.read_text()
        return int(re.search(r"^start (\d+)", text, re.M)[1]), [int(n) for n in re.findall(r"^kernel \w+ (\d+)", text, re.M)]

    def dump(self, program, *more):
        return json.loads(run(PLIM_DUMP, "--json", program, *more).stdout)

    def test_tells_where_it_wrote_and_for_whom(self):
        self.assertIn(f"wrote {self.rates}: plimc --rates reads it", self.tuned.stderr)
        self.assertRegex(self.tuned.stderr, r"(?m)^train: [0-9.]+ ms, the median of 2 steps; 6 more beside copies to far memory and back$")
        text = self.rates.read_text()
        self.assertRegex(text, r'machine "1 thread of .+"\ntarget cpu:x86-64-v3\nthreads 1\n')
        self.assertRegex(text, r"(?m)^bytes out \d+")

    def test_leaves_nothing_when_ended(self):
        alone = self.folder / "alone"
        alone.mkdir()
        words = [self.program, "tune", "--steps", "300", "--threads", "1", "-o", alone / "rates"]
        with subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            # All entries' steps take many seconds; the first entry's are told of when they are over.
            running.stderr.readline()
            self.assertIsNone(running.poll())
            running.terminate()
        self.assertEqual((running.returncode, list(alone.iterdir())), (-signal.SIGTERM, []))

    def test_tells_how_much_copies_slow_others(self):
        # Measured where the model has enough of a family, else assumed; of nothing that takes no time.
        factors = re.findall(r"(?m)^beside (\w+) (\w+) (\d+\.\d+)$", self.rates.read_text())
        self.assertTrue(factors)
        for family, other, factor in factors:
            self.assertTrue({family, other} & {"out", "in"}, (family, other))
            self.assertTrue(1 < float(factor) < 1000, factor)

    def test_says_why_far_memory_was_not_measured(self):
        disk, trace = self.folder / "disk", self.folder / "trace"
        disk.mkdir()
        words = [self.program, "tune", "--steps", "1", "--threads", "1", "--far-dir", disk, "-o", self.folder / "some.rates"]
        shim = dict(os.environ, LD_PRELOAD=str(BUILD / "tests" / "e2e" / "libsave_shim.so"), SHIM_FOLDER=str(disk))
        assert run(*words, env=shim | {"SHIM_TRACE": str(trace)}).returncode == 0
        calls = [line.split("\t")[1] for line in trace.read_text().splitlines()]
        # The first write tries the file, the second is one of a copy: rates are written without it.
        second = calls.index("pwrite", calls.index("pwrite") + 1) + 1
        done = run(*words, env=shim | {"SHIM_FAIL": str(second), "SHIM_KIND": "EIO"})
        self.assertIn(f"far memory was not measured, its rates are assumed: can't write far memory's file in {disk}: "
                      "Input/output error\n", done.stderr)
        self.assertEqual(done.returncode, 0)
        # One beside a step or between two: before the first there are some 200, and between them at least 500 more.
        self.assertGreater(len(calls), 700)
        done = run(*words, "--quiet", env=shim | {"SHIM_FAIL": "450", "SHIM_KIND": "EIO"})
        self.assertRegex(done.stderr, rf"^[^\n]*: can't (read|write) far memory's file in {disk}: Input/output error\n$")
        self.assertEqual(done.returncode, 1)
        done = run(self.program, "tune", "--steps", "1", "--far-dir", "no/such", "-o", self.folder / "some.rates")
        self.assertIn("assumed: far memory takes 32.0 MiB on disk, which no/such can't hold: No such file", done.stderr)

    def test_every_kernel_takes_what_was_measured(self):
        start, kernels = self.measured()
        plan = self.dump(self.again)
        self.assertRegex(plan["rates"], "^1 thread of ")
        steps = plan["programs"]["train"]["instructions"]
        for step in steps:
            if step["kernel"] not in ("fill", "copy"):
                self.assertIn(step["predicted_ps"] - start, kernels)
        self.assertEqual(sum(step["predicted_ps"] for step in steps), plan["programs"]["train"]["predicted_ps"])
        self.assertEqual([step["begin_ps"] for step in steps[:2]], [0, steps[0]["predicted_ps"]])
        # A machine that is named counts instead of the plan's own times.
        other = self.dump(self.again, "--machine", "f32=1K,start=1")
        self.assertNotEqual(other["programs"]["train"]["predicted_ps"], plan["programs"]["train"]["predicted_ps"])
        self.assertIn("by rates of 1 thread of", run(PLIM_DUMP, self.again).stdout)

    def test_plan_text_keeps_times(self):
        text = run(PLIM_DUMP, "--plan", self.again).stdout
        path = self.folder / "times.plan"
        path.write_text(text)
        self.assertEqual(run(PLIM_DUMP, "--plan", path).stdout, text)
        self.assertRegex(text, r'\nrates "1 thread of ')
        # Nothing but times and flags differs from a plan without measured rates.
        def bare(plan):
            plan = re.sub(r" (begins|takes) \d+", "", plan)
            return re.sub(r"(?m)^(rates|flags) .*\n", "", plan)
        self.assertEqual(bare(text), bare(run(PLIM_DUMP, "--plan", self.program).stdout))
        broken = re.sub(r" takes \d+ signature", " takes 2000000000000000000 signature", text, count=1)
        path.write_text(broken)
        self.assertIn("rule 1", run(PLIM_DUMP, "--verify", path).stderr)

    def test_training_tells_both(self):
        log = self.folder / "log"
        done = run(self.again, "train", *self.data, "--steps", "3", "--threads", "1", "--log", log)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"predicted [\d.]+ ms a step, measured [\d.]+ \([+-]\d+ %\)")
        predicted = self.dump(self.again)["programs"]["train"]["predicted_ps"] * 1e-9
        for line in log.read_text().splitlines():
            self.assertAlmostEqual(json.loads(line)["predicted_ms"], predicted, delta=1e-4 * predicted)
        # With other threads the machine is named.
        done = run(self.again, "train", *self.data, "--steps", "3", "--threads", "2")
        self.assertRegex(done.stderr, r"predicted [\d.]+ ms a step on 1 thread of ")
        # Assumed rates promise nothing.
        done = run(self.program, "train", *self.data, "--steps", "3", "--threads", "1")
        self.assertNotIn("predicted", done.stderr)

    def test_rule_names_the_rates(self):
        self.assertIn("mlp.rates", (self.folder / "rule").read_text())
        # The plan's record has no folder.
        self.assertIn("--rates mlp.rates", run(PLIM_DUMP, self.again).stdout)

    def check(self, text, *wanted, flags=()):
        path = self.folder / "other.rates"
        path.write_text(text)
        done = run(PLIMC, MODEL, "--emit", "plan", "-o", "/dev/null", "--rates", path, *flags)
        for sentence in wanted:
            self.assertIn(sentence, done.stderr)
        return done.returncode

    def test_mistakes_and_other_machines(self):
        text = self.rates.read_text()
        self.assertEqual(self.check("rates 1\nstart soon\n", "other.rates:2:7: error[P0905]", "expected picoseconds, not soon"), 1)
        self.assertEqual(self.check(text.replace("cpu:x86-64-v3", "cpu:znver3"), "warning[P0906]: these rates are of target cpu:znver3"), 0)
        self.assertEqual(self.check(re.sub("thread of .*\"", "thread of an abacus\"", text), "these rates are of 1 thread of an abacus"), 0)
        self.assertEqual(self.check(text.replace("threads 1", "threads 9"), "these rates are of 9 threads, and the program may use 2",
                                    flags=["--threads", "2"]), 0)
        self.assertEqual(self.check("rates 1\n", "warning[P0906]: these rates don't say of which target they are"), 0)
        self.assertEqual(self.check("rates 1\ntarget cpu:x86-64-v3\n", "these rates don't say of which machine they are"), 0)
        self.assertIn("can't read", run(PLIMC, MODEL, "--emit", "plan", "--rates", self.folder / "none").stderr)


if __name__ == "__main__":
    unittest.main()
