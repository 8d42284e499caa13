"""Plans of real modules, broken on purpose in some 30 ways, 50 of each: refused, or proved harmless."""
import re

import e2e
import far


class BrokenPlans(e2e.TestCase):
    def check(self, graph, *flags):
        self.good(e2e.PLIMC, e2e.GRAPHS / graph, "--emit", "plan", "-o", "m.plan", *flags)
        done = self.good(e2e.BUILD / "tests/e2e/corrupt_plans", e2e.repeats(50), "m.plan")
        self.assertRegex(done.stdout, r"broken plans of \d+ kinds refused")

    def test_accumulation(self):
        self.check("micro.graph")

    def test_plain_steps(self):
        # Products by the library, whose workspace one thread keeps small.
        self.check("mlp.graph", "--target", "cpu:x86-64-v4", "--threads", "1")

    def test_gpu(self):
        self.check("mlp.graph", "--target", "cuda:sm_80,sm_90a")

    def test_attention(self):
        self.check("attention.graph")

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
