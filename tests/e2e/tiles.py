"""Weights larger than the budget: products, lookups and updates meet them in tiles, and train to the same bits."""
import json
import re

import e2e

STEPS = "2"
TABLE = 16 << 20  # bytes of each of the model's weights
MODEL = """
model wide(batch = 2, context = 8, vocab = 8192, width = 512, hidden = 8192) {
  wte = param [vocab, width] ~ normal(0.02)
  up = param [hidden, width] ~ uniform(-0.05, 0.05)
  down = param [hidden, width] ~ normal(0.05)
  fn logits(tokens: i32[b, s]) {
    x = wte[tokens]
    x = x + einsum(gelu(einsum(x, up, "b s d, h d -> b s h")), down, "b s h, h d -> b s d")
    return einsum(x, wte, "b s d, v d -> b s v")
  }
  entry train(text: i32[batch, context + 1] from data, lr: f32 = 0.1) {
    loss = cross_entropy(logits(text[.., 0 .. -1]), text[.., 1 ..])
    minimize loss { MINIMIZE }
    return loss
  }
  entry eval(text: i32[batch, context + 1] from data) {
    return cross_entropy(logits(text[.., 0 .. -1]), text[.., 1 ..])
  }
}
"""


class Tiles(e2e.TestCase):
    def compile_model(self, minimize, name, *words, untied=False):
        text = MODEL.replace("MINIMIZE", minimize)
        if untied:
            text = text.replace("return einsum(x, wte,", "return einsum(x, up,")
        (self.folder / "wide.plim").write_text(text)
        return self.good(e2e.PLIMC, "wide.plim", "--threads", "1", "-o", name, *words).stderr

    def arena(self, name):
        return json.loads(self.good(e2e.PLIM_DUMP, name, "--json").stdout)["spaces"]["device"]["bytes"]

    def train(self, name, *options):
        self.good(self.folder / name, "train", "--data", "data", "--steps", STEPS, "--seed", "1", "--save", f"{name}.out",
                  "--log", f"{name}.jsonl", "--quiet", *options)
        loss = e2e.losses([json.loads(line) for line in (self.folder / f"{name}.jsonl").read_text().splitlines() if "loss" in line])
        folder = e2e.saved(self.folder / f"{name}.out").parent
        return loss, [f.read_bytes() for f in sorted(folder.glob("*.safetensors"))]

    def check(self, minimize, budget, *words):
        (self.folder / "data").write_bytes(bytes(range(97, 123)) * 20)
        self.compile_model(minimize, "near", *words)
        said = self.compile_model(minimize, "far", "--budget", budget, "--far", "disk", "--remarks", *words)
        self.assertRegex(said, r"far: train: large weights and their gradients come in \d+ tiles")
        self.assertLessEqual(self.arena("far"), budget)
        near, far = self.train("near"), self.train("far", "--far-dir", self.folder)
        self.assertEqual(near[0], far[0])
        self.assertTrue(near[1] == far[1], "weights differ")

    def test_fused_updates(self):
        self.check("optimizer = sgd(lr); update = fused", TABLE * 7 // 8)

    def test_clipped_gradients_wait(self):
        self.check("optimizer = sgd(lr); clip = global_norm(0.5)", TABLE * 7 // 8)

    def test_sums_over_micro_batches(self):
        self.check("optimizer = sgd(lr); accumulate = 2; clip = global_norm(0.5)", TABLE * 7 // 8)

    def test_gradients_of_lookups_are_made_in_slices(self):
        """Nothing is far: a table that is looked up alone has no gradient of its size."""
        (self.folder / "data").write_bytes(bytes(range(97, 123)) * 20)
        minimize = "optimizer = adamw(lr); clip = global_norm(0.5)"
        self.compile_model(minimize, "near", untied=True)
        budget = self.arena("near") - TABLE // 2
        said = self.compile_model(minimize, "made", "--budget", budget, "--remarks", untied=True)
        self.assertRegex(said, r"far: train: 1 gradients of looked-up tables are made where they are read")
        self.assertLessEqual(self.arena("made"), budget)
        near, made = self.train("near"), self.train("made")
        self.assertEqual(near[0], made[0])
        self.assertTrue(near[1] == made[1], "weights differ")


if __name__ == "__main__":
    e2e.unittest.main()
