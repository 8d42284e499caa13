"""Sums over micro-batches in pinned host memory, of gradients that are clipped: compiled to the end for two generations of
GPUs, and trained on a fake GPU to the bits of the program that moves nothing.
"""
import json

from devices import MODELS, Devices, e2e

SIZES = ("layers=2", "heads=2", "width=128", "context=8", "batch=2", "vocab=256", "accumulate=2")


class FarSums(Devices):
    """The norm by which gradients are clipped is of all sums; AdamW's moments are far away too."""
    words = (MODELS / "gpt2.plim", "--config", "tiny", "--precision", "f32", "--entry", "train", *(x for size in SIZES for x in ("-D", size)))

    def test_bits(self):
        (self.folder / "data").write_text(e2e.grammar_text(200))
        memory = json.loads(self.good(e2e.PLIM_DUMP, self.gpu, "--json").stdout)["memory"]
        budget = (memory["weights"] + memory["optimizer"]) // 4
        words = (*self.words, "--far", "host", "--budget", budget)
        far, kernels = self.compile_for_gpu("far", *words, "--target", "cuda:sm_80")
        self.check_spaces(far, budget)
        self.train(self.gpu, 2, "near.log", "--save", "near.out", gpu=True)
        self.train(self.cpu, 2, "cpu.log")
        self.close(self.losses("cpu.log"), self.losses("near.log"), 1e-4)
        for seed in (0, 7):
            self.train(far, 2, "far.log", "--save", f"{seed}.out", gpu=True, **kernels, PLIM_FAKE_SEED=str(seed))
            self.assertEqual(self.losses("far.log"), self.losses("near.log"))
            for file in (self.folder / "near.out/step-2").glob("*.safetensors"):
                self.assertEqual((self.folder / f"{seed}.out/step-2" / file.name).read_bytes(), file.read_bytes())
        # In bf16 kernels add to sums, not the products before them; and what Hopper runs is other code.
        words = ("bf16" if word == "f32" else word for word in words)
        said = self.good(e2e.PLIMC, *words, "--target", "cuda:sm_90a", "-o", "hopper", "--remarks").stderr
        self.assertRegex(said, r"far: train: [1-9]\d* sums over micro-batches live far away, in [1-9]\d* pieces")
        self.check_spaces("hopper", budget)

    def check_spaces(self, program, budget):
        spaces = json.loads(self.good(e2e.PLIM_DUMP, program, "--json").stdout)["spaces"]
        self.assertLessEqual(spaces["device"]["bytes"], budget)
        self.assertGreater(spaces["host"]["bytes"], budget)


if __name__ == "__main__":
    e2e.unittest.main()
