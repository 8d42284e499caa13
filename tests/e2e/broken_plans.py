"""Plans of real modules, broken on purpose in some 40 ways, 50 of each: refused, or proved harmless."""
import re

import e2e
import far


def sizes(**given):
    return [word for name, value in given.items() for word in ("-D", f"{name}={value}")]


class BrokenPlans(e2e.TestCase):
    def check(self, graph, *flags):
        self.good(e2e.PLIMC, e2e.GRAPHS / graph, "--emit", "plan", "-o", "m.plan", *flags)
        done = self.good(e2e.BUILD / "tests/e2e/corrupt_plans", e2e.repeats(50), "all", "m.plan")
        self.assertRegex(done.stdout, r"broken plans of \d+ kinds refused")

    def check_named(self, kinds, *flags):
        """Of a larger plan only what one rule alone stands against."""
        self.good(e2e.PLIMC, e2e.SOURCE / "models/gpt2.plim", "--config", "tiny", "--entry", "train", *flags, "--quiet",
                  "--target", "cuda:sm_80,sm_90a", "--emit", "plan", "-o", "m.plan")
        seeds = max(20, e2e.repeats(200))
        done = self.good(e2e.BUILD / "tests/e2e/corrupt_plans", seeds, "named", "m.plan")
        for kind, rule in kinds.items():
            self.assertRegex(done.stdout, rf"wrong {kind}: [1-9]\d+ refused by rule {rule}\n")

    def test_accumulation(self):
        self.check("micro.graph")

    def test_plain_steps(self):
        # Products by the library, whose workspace one thread keeps small.
        self.check("mlp.graph", "--target", "cpu:x86-64-v4", "--threads", "1")

    def test_gpu(self):
        self.check("mlp.graph", "--target", "cuda:sm_80,sm_90a")

    def test_attention(self):
        self.check("attention.graph")

    def test_rows(self):
        # Gradients of queries, keys and values, row between row.
        self.check(e2e.SOURCE / "models/gpt2.plim", "--config", "tiny", "--entry", "train",
                   *sizes(layers=1, heads=2, width=32, context=16, batch=2, accumulate=2))
        self.assertRegex((self.folder / "m.plan").read_text(), r"row \d+ pitch \d+, write .* row .* name \"attention_grad")

    def test_maps_and_joints(self):
        self.check_named({"tensor map": 22, "joint": 23}, "--precision", "bf16",
                         *sizes(layers=1, heads=1, width=64, context=64, batch=4, vocab=64, accumulate=1))

    def test_far_sums(self):
        self.check_named({"far sum": 16}, "--precision", "f32", "--far", "host", "--budget", 1300000,
                         *sizes(layers=2, heads=2, width=128, context=8, batch=2, vocab=256, accumulate=2))

    def test_moves(self):
        # Far states and activations, with copies on streams of their own.
        text = self.good(e2e.PLIMC, e2e.GRAPHS / "resume.plim", "--dump-after", "optimize").stdout
        relu = re.search(r"%([\w.]+): \S+ = relu", text)[1]
        (self.folder / "far.graph").write_text(far.Mover({"h", relu}).rewrite(text))
        self.check(self.folder / "far.graph")
        plan = (self.folder / "m.plan").read_text()
        self.assertRegex(plan, r"space \w+ disk")
        self.assertRegex(plan, r" copy .* stream 1 .*wait")
        self.assertRegex(plan, r" copy .* stream 2 .*signal")


if __name__ == "__main__":
    e2e.unittest.main()
