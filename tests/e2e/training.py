"""A graph becomes a program that learns, says what it uses, and computes the same on any number of threads."""
import re

import e2e


class Training(e2e.TestCase):
    def test_loss_falls_and_memory_is_as_planned(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        e2e.write_classes(self.folder / "data.safetensors", 512)
        lines = self.train(program, "data.safetensors", "--save", "out", steps=200)
        self.assertLess(lines[-1]["loss"], 0.1)
        self.assertGreater(lines[0]["loss"], 1.0)
        self.check_resident(lines, None)

        # The weights are those that were trained: on other points of the problem they do as well.
        e2e.write_classes(self.folder / "other.safetensors", 320, seed=2)
        done = self.good(program, "eval", "--data", "other.safetensors", "--weights", e2e.saved(self.folder / "out"))
        found = re.match(r"loss ([0-9.]+) over 10 steps", done.stdout)
        self.assertIsNotNone(found, done.stdout)
        self.assertLess(float(found[1]), 0.15)

        # Going on from saved weights begins where training ended.
        more = self.train(program, "data.safetensors", "--weights", e2e.saved(self.folder / "out"), steps=10)
        self.assertLess(more[0]["loss"], 0.15)
        self.check_resident(more, e2e.saved(self.folder / "out"))

    def test_saved_tensors_have_published_names(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        e2e.write_classes(self.folder / "data.safetensors", 64)
        self.train(program, "data.safetensors", "--save", "out", steps=1)
        saved = e2e.read_safetensors(e2e.saved(self.folder / "out"))
        self.assertEqual({name: (t[0], t[1]) for name, t in saved.items()},
                         {"fc.weight": ("F32", [16, 24]), "fc.bias": ("F32", [24]),
                          "head.weight": ("F32", [24, 4])})

    def test_accumulation_trains(self):
        program = self.compile(e2e.GRAPHS / "micro.graph")
        e2e.write_classes(self.folder / "data.safetensors", 512)
        lines = self.train(program, "data.safetensors", steps=200)
        self.assertLess(lines[-1]["loss"], 0.1)

    def test_attention_learns_text(self):
        program = self.compile(e2e.GRAPHS / "attention.graph")
        (self.folder / "text").write_text(e2e.grammar_text(2000))
        lines = self.train(program, "text", steps=100)
        self.assertGreater(lines[0]["loss"], 5.0)
        self.assertLess(lines[-1]["loss"], 1.0)
        self.check_resident(lines, None)

    def test_this_machine_as_target(self):
        # Where the product library is used, its memory is part of the promise too.
        (self.folder / "text").write_text(e2e.grammar_text(2000))
        for flags in ((), ("--precision", "bf16"), ("--threads", "2")):
            program = self.compile(e2e.GRAPHS / "attention.graph", "--target", "cpu:native", *flags)
            lines = self.train(program, "text", steps=100)
            self.assertLess(lines[-1]["loss"], 1.0)
            self.check_resident(lines, None)

    def test_knobs_change_training(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        e2e.write_classes(self.folder / "data.safetensors", 512)
        still = self.train(program, "data.safetensors", "--set", "lr=0", steps=32)
        self.assertGreater(min(e2e.losses(still)), 1.0)
        other = self.train(program, "data.safetensors", "--seed", "7", steps=1)
        self.assertNotEqual(other[0]["loss"], still[0]["loss"])

    def test_threads_change_no_bit(self):
        e2e.write_classes(self.folder / "data.safetensors", 512)
        (self.folder / "text").write_text(e2e.grammar_text(500))
        for graph, data in (("mlp", "data.safetensors"), ("micro", "data.safetensors"), ("attention", "text")):
            program = self.compile(e2e.GRAPHS / f"{graph}.graph")
            for threads in (1, 2, 3):
                self.train(program, data, "--threads", threads, "--save", f"{graph}{threads}", steps=20)
            one = e2e.saved(self.folder / f"{graph}1").read_bytes()
            for threads in (2, 3):
                other = e2e.saved(self.folder / f"{graph}{threads}").read_bytes()
                self.assertEqual(one, other, f"{graph} on {threads} threads")

    def test_orders_and_arrangements_change_no_bit(self):
        (self.folder / "text").write_text(e2e.grammar_text(500))
        saved = {}
        for name, flags in (("best", ()), ("naive", ("--arrange", "naive")), ("program", ("--order", "program")),
                            ("list", ("--order", "list")), ("depth", ("--order", "depth-first"))):
            program = self.compile(e2e.GRAPHS / "attention.graph", *flags)
            self.train(program, "text", "--save", f"{name}.saved", steps=10)
            saved[name] = e2e.saved(self.folder / f"{name}.saved").read_bytes()
        for name, content in saved.items():
            self.assertEqual(content, saved["best"], name)


if __name__ == "__main__":
    e2e.unittest.main()
