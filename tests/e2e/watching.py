"""What can be watched of a run: the log, the timeline, the profile, checksums, and values that are not finite."""
import json
import re

import e2e


class Watching(e2e.TestCase):
    def program_and_text(self):
        (self.folder / "text").write_text(e2e.grammar_text(300))
        return self.compile(e2e.GRAPHS / "attention.graph")

    def test_timeline(self):
        program = self.program_and_text()
        self.good(program, "train", "--data", "text", "--steps", "9", "--threads", "2", "--trace", "t.json",
                  "--trace-steps", "4", "--save", "out", "--save-every", "2", "--quiet")
        events = json.loads((self.folder / "t.json").read_text())["traceEvents"]
        track = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
        slices = [e for e in events if e["ph"] == "X"]
        for e in slices:
            self.assertGreaterEqual(e["ts"], 0)
            self.assertGreaterEqual(e["dur"], 0)
        by = lambda name: [e for e in slices if track[e["tid"]].startswith(name)]
        steps = [e for e in by("steps") if e["name"].startswith("step ")]
        self.assertEqual([e["name"] for e in steps], ["step 1", "step 2", "step 3", "step 4"])
        # One slice an instruction and step, inside its step, one after another.
        run = [e for e in by("stream") if "args" in e]
        names = [(e["args"]["segment"], e["args"]["slot"], e["args"]["instruction"]) for e in run]
        self.assertEqual(names[:len(names) // 4] * 4, names)
        self.assertEqual(len(set(names)), len(names) // 4)
        digest = self.good(program, "train", "--data", "text", "--steps", "1", "--digest", "--quiet").stdout
        self.assertEqual(len(digest.splitlines()), len(set(names)))
        end = 0
        for i, e in enumerate(run):
            step = steps[i // (len(run) // 4)]
            self.assertGreaterEqual(e["ts"], max(end, step["ts"]) - 0.002)
            end = e["ts"] + e["dur"]
            self.assertLessEqual(end, step["ts"] + step["dur"] + 0.002)
            for name in ("kernel", "flops", "bytes", "where"):
                self.assertIn(name, e["args"])
            if e["dur"] > 1 and e["args"]["flops"]:
                self.assertAlmostEqual(e["args"]["GFLOP/s"] * e["dur"] * 1e3 / e["args"]["flops"], 1, delta=0.01)
        # Every worker's part lies inside its instruction.
        self.assertEqual({track[e["tid"]] for e in by("worker")}, {"worker 0", "worker 1"})
        for e in by("worker"):
            self.assertTrue(any(r["name"] == e["name"] and r["ts"] <= e["ts"] + 0.002 and
                                e["ts"] + e["dur"] <= r["ts"] + r["dur"] + 0.002 for r in run), e)
            self.assertLessEqual(e["args"]["busy_us"], e["dur"] + 0.002)
        self.assertEqual(len(by("loader")), 4)

    def test_nothing_is_watched_at_another_result(self):
        program = self.program_and_text()
        lines = e2e.losses(self.train(program, "text", steps=20))
        flags = ("--trace", "t.json", "--profile", "--digest", "--check-finite")
        self.assertEqual(e2e.losses(self.train(program, "text", *flags, steps=20)), lines)

    def test_profile(self):
        program = self.program_and_text()
        out = self.good(program, "train", "--data", "text", "--steps", "20", "--profile", "--quiet").stdout
        total = float(re.match(r"one step takes ([0-9.]+) ms \(mean of 19, ", out)[1])
        parts = re.findall(r"^  (products|attention|rows|copies|data|waiting) +([0-9.]+) ms +([0-9.]+) %", out, re.M)
        for part in ("products", "attention", "rows", "data", "waiting"):
            self.assertIn(part, [name for name, _, _ in parts])
        self.assertAlmostEqual(sum(float(ms) for _, ms, _ in parts) / total, 1, delta=0.02)
        self.assertIn("slowest operators", out)
        once = self.good(program, "train", "--data", "text", "--steps", "1", "--profile", "--quiet")
        self.assertIn("at least two steps", once.stdout)

    def test_checksums(self):
        e2e.write_classes(self.folder / "data.safetensors", 128)
        (self.folder / "text").write_text(e2e.grammar_text(300))
        for graph, data in (("micro", "data.safetensors"), ("attention", "text")):
            program = self.compile(e2e.GRAPHS / f"{graph}.graph")
            run = lambda *flags: self.good(program, "train", "--data", data, "--steps", "3", "--digest", "--quiet",
                                           *flags).stdout.splitlines()
            one = run("--threads", "1")
            for line in one:
                self.assertRegex(line, r"^[123] \S+ [0-9]+ [0-9]+ [0-9a-f]{16} \S+ .")
            self.assertEqual(len(one) % 3, 0)
            self.assertEqual(run("--threads", "2"), one)
            self.assertEqual(run("--threads", "3", "--trace", "t.json", "--check-finite"), one)
            other = run("--seed", "1")
            self.assertEqual(len(other), len(one))
            self.assertNotEqual(other, one)

    def test_checksums_leave_out_what_lies_between_rows(self):
        """Gates are parts of one value, row between row, by several kernels; so are gradients of queries, keys and values. What
        the memory between them held before is another thing in another arrangement."""
        (self.folder / "text").write_text(e2e.grammar_text(300))
        for model in ("lstm", "gpt2"):
            digests = []
            for arrange in ((), ("--arrange", "naive")):
                program = self.compile(e2e.SOURCE / f"models/{model}.plim", "--config", "tiny", "--entry", "train", *arrange)
                self.assertRegex(self.good(e2e.PLIM_DUMP, program, "--plan").stdout, r"write \w+\+\d+:\d+ row \d+ pitch \d+, write")
                digests.append(self.good(program, "train", "--data", "text", "--steps", "2", "--digest", "--check-finite",
                                         "--quiet").stdout)
            self.assertEqual(*digests)

    def test_first_value_that_is_not_finite(self):
        program = self.compile(e2e.SOURCE / "models/mlp.plim", "--config", "tiny")
        rows = 32
        e2e.write_safetensors(self.folder / "large", {
            "x": ("F32", [rows, 16], e2e.floats([3e38 if i % 2 else -1e38 for i in range(rows * 16)])),
            "label": ("I32", [rows], e2e.integers([0] * rows))})
        done = self.refused_in_one_sentence(program, "train", "--data", "large", "--steps", "3", "--check-finite",
                                            "--quiet", says=r"step [12]: .* at .*plim:[0-9]+:[0-9]+ .* wrote -?(inf|nan) "
                                                            r"at \[[0-9]+, [0-9]+\] of a f32 result")
        self.assertIn("train.body", done.stderr)
        # Without the check the run goes on, and its log stays JSON.
        self.good(program, "train", "--data", "large", "--steps", "3", "--log", "log.jsonl", "--quiet")
        lines = [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]
        self.assertIn(None, [line["loss"] for line in lines])
        # What is finite passes.
        e2e.write_safetensors(self.folder / "good", {
            "x": ("F32", [rows, 16], e2e.floats([0.1 * (i % 7) for i in range(rows * 16)])),
            "label": ("I32", [rows], e2e.integers([i % 4 for i in range(rows)]))})
        self.good(program, "train", "--data", "good", "--steps", "30", "--check-finite")

    def test_files_that_cannot_be_written(self):
        program = self.program_and_text()
        for flags in (("--trace", "/nonexistent/t"), ("--log", "/nonexistent/l")):
            self.refused_in_one_sentence(program, "train", "--data", "text", "--steps", "2", "--quiet", *flags,
                                         says="can't write /nonexistent/.: No such file")
        for flags in (("--trace", "/dev/full"), ("--log", "/dev/full")):
            self.refused_in_one_sentence(program, "train", "--data", "text", "--steps", "2", "--quiet", *flags,
                                         says="could not be written whole")
        self.refused(program, "train", "--data", "text", "--trace-steps", "2", status=2, says="needs --trace")


if __name__ == "__main__":
    e2e.unittest.main()
