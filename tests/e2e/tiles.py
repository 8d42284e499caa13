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
    def compile_model(self, minimize, name, *words):
        (self.folder / "wide.plim").write_text(MODEL.replace("MINIMIZE", minimize))
        return self.good(e2e.PLIMC, "wide.plim", "--threads", "1", "-o", name, *words).stderr

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
        spaces = json.loads(self.good(e2e.PLIM_DUMP, "far", "--json").stdout)["spaces"]
        self.assertLessEqual(spaces["device"]["bytes"], budget)
        near, far = self.train("near"), self.train("far", "--far-dir", self.folder)
        self.assertEqual(near[0], far[0])
        self.assertTrue(near[1] == far[1], "weights differ")

    def test_fused_updates(self):
        self.check("optimizer = sgd(lr); update = fused", TABLE * 7 // 8)

    def test_clipped_gradients_wait(self):
        self.check("optimizer = sgd(lr); clip = global_norm(0.5)", TABLE * 7 // 8)

    def test_sums_over_micro_batches(self):
        self.check("optimizer = sgd(lr); accumulate = 2; clip = global_norm(0.5)", TABLE * 7 // 8)


if __name__ == "__main__":
    e2e.unittest.main()
