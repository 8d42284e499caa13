"""Wrong usage and wrong input: the exit status says whose fault it is, and a sentence says what to do."""
import json
import os
import re
import struct

import e2e

GRAPH = """module @m
graph @f(%x: f32[4], %y: f32[5]) -> (f32[4]) {
  %z: f32[4] = add %x, %y
  return %z
}
"""


class Usage(e2e.TestCase):
    def usage(self, *words, says=None):
        self.refused_in_one_sentence(*words, status=2, says=says)

    def test_plimc(self):
        (self.folder / "m.graph").write_text(GRAPH)
        self.usage(e2e.PLIMC, says="which file")
        self.usage(e2e.PLIMC, "a.graph", "b.graph", says="one input at a time")
        self.usage(e2e.PLIMC, "m.graph", "--ordr", "list", says="did you mean --order")
        self.usage(e2e.PLIMC, "m.graph", "--zzzzzzzzzz", says="see --help")
        self.usage(e2e.PLIMC, "m.graph", "-o", says="needs a value")
        self.usage(e2e.PLIMC, "m.graph", "--emit", "wasm", says="wasm")
        self.usage(e2e.PLIMC, "m.graph", "--emit=wasm", says="wasm")
        self.usage(e2e.PLIMC, "m.graph", "--budget", "2Gb", says="2Gb")
        self.usage(e2e.PLIMC, "m.graph", "--budget", "-1", says="-1")
        self.usage(e2e.PLIMC, "m.graph", "--threads", "0", says="0")
        self.usage(e2e.PLIMC, "m.graph", "--threads", "x", says="x")
        self.usage(e2e.PLIMC, "m.graph", "--check=yes", says="takes no value")
        self.usage(e2e.PLIMC, "m.graph", "--mesh", "dp=2", says="not supported yet")
        self.usage(e2e.PLIMC, "m.graph", "-D", "=4", says="=4")
        self.usage(e2e.PLIMC, "m.graph", "-o", "-", says="name a file with -o")

    def test_plim_dump(self):
        self.usage(e2e.PLIM_DUMP, says="which file")
        self.usage(e2e.PLIM_DUMP, "a", "b", says="one file at a time")
        self.usage(e2e.PLIM_DUMP, "a", "--jsn", says="did you mean --json")

    def test_program(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        self.assertEqual(e2e.run(program).returncode, 2)
        self.usage(program, "tran", says="unknown command 'tran'")
        self.usage(program, "train", "--step", "3", says="did you mean --steps")
        self.usage(program, "train", "--steps", "-3", says="-3")
        self.usage(program, "train", "--steps", "many", says="--steps takes N .a whole number., not 'many'")
        self.usage(program, "train", "eval", says="eval")
        self.usage(program, "train", "--threads", "5000", says="--threads takes at most 4096, not 5000")
        self.usage(program, "train", "--save-every", "5", says="needs --save")
        # A flag of another command is refused, wherever it stands; a command's help has its own.
        self.usage(program, "train", "--json", says="--json means nothing with train")
        self.usage(program, "--steps", "3", "info", says="--steps means nothing with info")
        self.assertIn("--save-every", self.good(program, "train", "--help").stdout)
        self.assertNotIn("--save-every", self.good(program, "info", "--help").stdout)
        self.assertIn("eval", self.good(program, "--help").stdout)

    def test_help_fits_a_screen(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        for tool in (e2e.PLIMC, e2e.PLIM_DUMP, program):
            lines = self.good(tool, "--help").stdout.replace(str(tool), "program").splitlines()
            self.assertLessEqual(len(lines), 55)
            self.assertLessEqual(max(len(line) for line in lines), 100)


class Input(e2e.TestCase):
    def test_missing_files(self):
        self.refused_in_one_sentence(e2e.PLIMC, "nowhere.graph", says="nowhere.graph: No such file")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, "nowhere", says="nowhere: No such file")
        self.refused_in_one_sentence(e2e.PLIMC, ".", says="directory")
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        self.refused_in_one_sentence(program, "train", says="--data")
        self.refused_in_one_sentence(program, "train", "--data", "nowhere", says="nowhere: No such file")
        e2e.write_classes(self.folder / "data", 64)
        self.refused_in_one_sentence(program, "eval", "--data", "data", "--weights", "nowhere", says="nowhere")
        self.refused_in_one_sentence(program, "train", "--data", "data", "--log", "no/log", says="no/log")
        self.refused_in_one_sentence(program, "train", "--data", "data", "--steps", "1", "--quiet", "--save",
                                     "no/such/folder", says="no/such/folder")
        self.refused_in_one_sentence(program, "train", "--data", "data", "--set", "rate=1", says="these knobs: lr")
        self.refused_in_one_sentence(program, "train", "--data", "data", "--set", "lr=fast", says="no .*number")
        self.refused_in_one_sentence(program, "train", "--data", "data", "--threads", "4000", says="4000|threads")

    def test_graph_error_has_a_caret(self):
        (self.folder / "m.graph").write_text(GRAPH)
        done = self.refused(e2e.PLIMC, "m.graph", "-o", "out")
        lines = done.stderr.splitlines()
        self.assertRegex(lines[0], r"^m\.graph:3:\d+: error\[P\d{4}\]: ")
        self.assertIn("%z: f32[4] = add %x, %y", lines[1])
        self.assertIn("^", lines[2])
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["m.graph"])

        done = self.refused(e2e.PLIMC, "m.graph", "-o", "out", "--error-format=json")
        found = json.loads(done.stderr)
        self.assertEqual(found[0]["line"], 3)
        self.assertEqual(found[0]["file"], "m.graph")

    def test_every_code_told_is_explained(self):
        (self.folder / "m.graph").write_text(GRAPH)
        done = self.refused(e2e.PLIMC, "m.graph")
        code = done.stderr.split("error[")[1].split("]")[0]
        self.assertGreater(len(self.good(e2e.PLIMC, "--explain", code).stdout), 20)
        self.refused(e2e.PLIMC, "--explain", "P9999")
        self.refused(e2e.PLIMC, "--explain", "nonsense")

    def test_over_budget(self):
        graph = e2e.GRAPHS / "attention.graph"
        done = self.refused(e2e.PLIMC, graph, "--budget", "1MiB", "-o", "out", says=r"the budget is 1048576")
        named = re.findall(r"^note: .*: (\d+) bytes of .*, from \S*attention\.graph:\d+", done.stderr, re.M)
        self.assertEqual(len(named), 5, done.stderr)
        self.assertEqual(named, sorted(named, key=int, reverse=True))
        self.assertFalse((self.folder / "out").exists())
        # What is said to fit does, to the byte, and one byte less doesn't.
        least = int(re.search(r"smallest budget that fits is (\d+) bytes", done.stderr)[1])
        self.refused(e2e.PLIMC, graph, "--budget", least - 1, "-o", "out")
        program = self.compile(graph, "--budget", str(least), out="out")
        info = json.loads(self.good(program, "info", "--json").stdout)
        self.assertEqual(info["spaces"]["device"]["bytes"], least)

    def test_texts_go_to_standard_output(self):
        graph = e2e.GRAPHS / "micro.graph"
        for emit in ("graph", "plan", "llvm"):
            self.good(e2e.PLIMC, graph, "--emit", emit, "-o", "text")
            for where in ((), ("-o", "-")):
                done = self.good(e2e.PLIMC, graph, "--emit", emit, *where)
                self.assertEqual(done.stdout, (self.folder / "text").read_text())
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["text"])

    def test_dependencies_are_a_make_rule(self):
        model = e2e.SOURCE / "models" / "mlp.plim"
        self.good(e2e.PLIMC, model, "--config", "tiny", "-o", "program", "-MD", "program.d", "--quiet")
        self.assertEqual((self.folder / "program.d").read_text(), f"program: {model}\n")

    def test_dependencies_name_everything_read(self):
        odd = self.folder / "a $1 #2"
        odd.mkdir()
        (odd / "parts.plim").write_text("fn twice(x) { return x + x }\n")
        (self.folder / "m.plim").write_text("use parts\nmodel m(batch = 2) {\n  entry eval(x: f32[batch, 4] from data) "
                                            "{ return mean(parts.twice(x)) }\n}\n")
        self.good(e2e.PLIMC, "m.plim", "-I", odd, "--emit", "lib", "-MD", "m.d", "--quiet")
        folder = str(self.folder) + r"/a\ $$1\ \#2"
        self.assertEqual((self.folder / "m.d").read_text(), f"libm.a: m.plim \\\n  {folder}/parts.plim\n")
        # make understands it: nothing is to be done, until the file used changes.
        (self.folder / "makefile").write_text("include m.d\nlibm.a:\n\tfalse\n")
        self.good("make", "-q", "libm.a")
        os.utime(odd / "parts.plim", (2e9, 2e9))
        self.assertEqual(e2e.run("make", "-q", "libm.a", cwd=self.folder).returncode, 1)

    def test_odd_inputs(self):
        cases = {"zeros.graph": bytes(1000), "binary.graph": bytes(range(256)) * 40,
                 "deep.graph": b"module @m\n" + b"[" * 100000, "long.graph": b"module @" + b"x" * 1000000,
                 "many.graph": b"oops\n" * 100000, "text.plan": b"plan 1\nmodel\n", "empty.plan": b"",
                 "huge.plan": b"plan 1\nsegment s0 x events 99999999999999999999 {\n"}
        for name, content in cases.items():
            (self.folder / name).write_bytes(content)
            done = self.refused(e2e.PLIMC, name, "-o", "out")
            self.assertLessEqual(len(done.stderr.splitlines()), 100, name)
            self.assertFalse((self.folder / "out").exists(), name)

    def test_data_that_does_not_fit(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")

        def refuses(tensors, says):
            e2e.write_safetensors(self.folder / "bad", tensors)
            self.refused_in_one_sentence(program, "train", "--data", "bad", "--quiet", says=says)

        x, y = e2e.floats([0.5] * 16 * 32), e2e.integers([1] * 32)
        refuses({"x": ("F32", [32, 16], x)}, "y")
        refuses({"x": ("F32", [16, 32], x), "y": ("I32", [32], y)}, "x")
        refuses({"x": ("F32", [32, 16], x), "y": ("F32", [32], y)}, "y")
        refuses({"x": ("F32", [0, 16], b""), "y": ("I32", [0], b"")}, "")
        refuses({"x": ("F32", [32, 16], x), "y": ("I32", [32], e2e.integers([4] * 32))}, "4")

    def test_weights_that_do_not_fit(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        e2e.write_classes(self.folder / "data", 64)
        self.good(program, "train", "--data", "data", "--steps", "1", "--save", "out", "--quiet")
        weights = e2e.read_safetensors(e2e.saved(self.folder / "out"))
        weights["fc.weight"] = ("F32", [24, 16], weights["fc.weight"][2])
        del weights["fc.bias"]
        e2e.write_safetensors(self.folder / "bad", weights)
        done = self.refused(program, "eval", "--data", "data", "--weights", "bad", says="2 of 3")
        self.assertIn("no tensor fc.bias", done.stderr)
        self.assertIn("[24,16], the model wants [16,24]", done.stderr)
        (self.folder / "lies").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
        self.refused_in_one_sentence(program, "eval", "--data", "data", "--weights", "lies")


if __name__ == "__main__":
    e2e.unittest.main()
