"""States on a disk: every way of running a program is as it would be without, bit for bit."""
import json
import re

import e2e

STEPS = "4"
SIZES = [x for size in ("layers=2", "width=128", "heads=2", "vocab=256", "batch=2", "context=16", "accumulate=1") for x in ("-D", size)]


class FarStates(e2e.TestCase):
    def setUp(self):
        super().setUp()
        (self.folder / "data").write_bytes(b"What lives far away comes in when it is wanted. " * 40)
        self.words = ["--threads", "1", "--precision", "f32", *SIZES]
        self.near = self.compile(e2e.SOURCE / "models/gpt2.plim", *self.words, out="near")

    def plan_json(self, program):
        return json.loads(self.good(e2e.PLIM_DUMP, program, "--json").stdout)

    def train(self, program, out, *options):
        self.good(program, "train", "--data", "data", "--steps", STEPS, "--seed", "1", "--save", out, "--save-every", "2",
                  "--log", f"{out}.jsonl", "--quiet", *options)
        return e2e.losses([json.loads(line) for line in (self.folder / f"{out}.jsonl").read_text().splitlines() if "loss" in line])

    def bytes_of(self, out):
        return [(e2e.saved(self.folder / out).parent / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")]

    def test_everything_works_from_disk(self):
        # A quarter of weights and moments: they live far away, and gradients wait there.
        states = sum(self.plan_json(self.near)["memory"][kind] for kind in ("weights", "optimizer"))
        budget = states // 4
        said = self.good(e2e.PLIMC, e2e.SOURCE / "models/gpt2.plim", *self.words, "-o", "far", "--budget", budget, "--far", "disk", "--remarks").stderr
        far = self.folder / "far"
        self.assertRegex(said, r"far: train: weights are fetched whole \d+ times, [1-9]\d* gradients wait far away")
        spaces = self.plan_json(far)["spaces"]
        self.assertRegex(said, rf"kernels, arena \S+ \S+ \({spaces['device']['bytes']} bytes\), \S+ \S+ "
                               rf"\({spaces['disk']['bytes']} bytes\) on disk, ")
        self.assertLessEqual(spaces["device"]["bytes"], budget)
        self.assertGreater(spaces["disk"]["bytes"], states * 9 // 10)
        place = ("--far-dir", self.folder)
        self.assertEqual(self.train(self.near, "near.out"), self.train(far, "far.out", *place))
        want = self.bytes_of("near.out")
        self.assertEqual(self.bytes_of("far.out"), want)
        # From the middle on, in either program, whichever of them saved.
        for program, saved, options in ((far, "near.out", place), (self.near, "far.out", ())):
            newest = e2e.saved(self.folder / saved).parent
            newest.rename(self.folder / f"{saved}.last")
            self.train(program, f"{saved}.on", "--resume", saved, *options)
            (self.folder / f"{saved}.last").rename(newest)
            self.assertEqual(self.bytes_of(f"{saved}.on"), want)
        weights = ("--weights", e2e.saved(self.folder / "near.out"))
        told = [self.good(program, "generate", "--prompt", "What ", "--tokens", "8", "--seed", "2", *weights, *options).stdout
                for program, options in ((self.near, ()), (far, place))]
        self.assertEqual(told[0], told[1])
        told = [re.findall(r"loss\S* +\S+", self.good(program, "eval", "--data", "data", *weights, *options).stdout)
                for program, options in ((self.near, ()), (far, place))]
        self.assertEqual(told[0], told[1])
        for program, options in ((self.near, ()), (far, place)):
            self.good(program, "export", *weights, "-o", f"{program.name}.export", *options)
        files = [sorted((f.name, f.read_bytes()) for f in (self.folder / f"{name}.export").rglob("*") if f.is_file()) for name in ("near", "far")]
        self.assertEqual(files[0], files[1])
        self.assertEqual([f for f in self.folder.iterdir() if f.name.startswith(".")], [], "far memory leaves no file")

    def test_sums_over_micro_batches(self):
        """States, activations and the sums of gradients take more than the budget, and the norm is of the sums."""
        words = [*(word.replace("accumulate=1", "accumulate=2") for word in self.words), "--entry", "train"]
        near = self.compile(e2e.SOURCE / "models/gpt2.plim", *words, out="whole")
        memory = self.plan_json(near)["memory"]
        budget = (memory["weights"] + memory["optimizer"]) // 4
        self.assertGreater(memory["gradients"], budget)
        said = self.good(e2e.PLIMC, e2e.SOURCE / "models/gpt2.plim", *words, "-o", "parts", "--budget", budget, "--far", "disk", "--remarks").stderr
        self.assertRegex(said, r"far: train: [1-9]\d* sums over micro-batches live far away, in [1-9]\d* pieces")
        self.assertEqual(self.train(near, "whole.out"), self.train(self.folder / "parts", "parts.out", "--far-dir", self.folder))
        self.assertEqual(self.bytes_of("whole.out"), self.bytes_of("parts.out"))


if __name__ == "__main__":
    e2e.unittest.main()
