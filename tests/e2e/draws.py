"""Random draws of a trained program: another number in every micro-batch, the same whatever else the text says."""
import struct

import e2e

NOISE = """
model m(batch = 4, parts = 1) {
  w = param [2] ~ ones
  entry train(x: f32[batch, 2] from data) {
    loss = mean(uniform([64], 0, 1)) + 0 * mean(x * w)
    minimize loss { optimizer = sgd(0.0); accumulate = parts }
    return loss
  }
}
"""

DROPPED = """
model m(batch = 2) {
  w = param [2] ~ ones
  entry train(x: f32[batch, 2] from data) {
    loss = mean(dropout(ones([10000]), 0.25)) + 0 * mean(x * w)
    minimize loss { optimizer = sgd(0.0) }
    return loss
  }
  entry eval(x: f32[batch, 2] from data) {
    return mean(dropout(ones([10000]), 0.25)) + 0 * mean(x * w)
  }
}
"""


class Draws(e2e.TestCase):
    def program(self, text, *flags, out):
        (self.folder / "m.plim").write_text(text)
        e2e.write_safetensors(self.folder / "data.safetensors",
                              {"x": ("F32", [8, 2], struct.pack("<16f", *range(16)))})
        return self.compile("m.plim", *flags, out=out)

    def test_micro_batches_draw_as_steps_of_their_own(self):
        whole = self.program(NOISE, out="whole")
        parts = self.program(NOISE, "-D", "parts=2", out="parts")
        single = e2e.losses(self.train(whole, "data.safetensors", steps=6))
        self.assertEqual(len(set(single)), 6)
        double = e2e.losses(self.train(parts, "data.safetensors", steps=3))
        for step, loss in enumerate(double):
            self.assertAlmostEqual(loss, (single[2 * step] + single[2 * step + 1]) / 2, places=6)
        seeded = e2e.losses(self.train(whole, "data.safetensors", "--seed", "1", steps=6))
        self.assertFalse(set(single) & set(seeded))

    def test_dropout_keeps_the_mean_and_is_for_training_alone(self):
        program = self.program(DROPPED, out="dropped")
        lines = e2e.losses(self.train(program, "data.safetensors", steps=8))
        self.assertEqual(len(set(lines)), 8)
        for loss in lines:
            # Its deviation is sqrt(0.25 / 0.75) / 100 = 0.006.
            self.assertAlmostEqual(loss, 1, delta=0.03)
            kept = loss * 0.75 * 10000
            self.assertAlmostEqual(kept, round(kept), delta=0.05)
        done = self.good(program, "eval", "--data", "data.safetensors")
        self.assertRegex(done.stdout, r"^loss 1\.0+ over")


if __name__ == "__main__":
    e2e.unittest.main()
