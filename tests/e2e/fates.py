"""--why of values that are computed again or moved: which instruction, into which buffer. Of plans that take long to choose, so in one build."""
import re

import e2e
from dump import Dump


class Fates(Dump):
    def test_fates_are_told_with_places(self):
        done = self.refused(e2e.PLIMC, e2e.SOURCE / "models" / "gpt2.plim", "--config", "tiny", "--entry", "train",
                            "--budget", "1", "--emit", "plan", "-o", "over")
        least = re.search(r"smallest budget that fits is (\d+) bytes", done.stderr)[1]
        again = self.dump(self.plan("gpt2", "--entry", "train", "--budget", least), "--why", "h.0.mlp.c_fc.einsum")
        first, second = again.split("\n\n")[:2]
        there = re.search(r"again +computed again for the backward pass by train:(\d+) \((b\d+)\)", first)
        self.assertIn(f"({there[2]})", second.splitlines()[0])
        self.assertRegex(second, rf"written by +train:{there[1]} einsum h.0.mlp.c_fc")
        self.assertRegex(second, r"again +computed again for the backward pass; the first time by train:\d+ \(b\d+\)")
        # A result of the same operator that is too small to move is not told of the other's way.
        far = self.plan("gpt2", "--entry", "train", "--budget", "16MiB", "--far", "disk")
        moved, small = self.dump(far, "--why", "h.1.attn.attention").split("\n\n")[:2]
        back = re.search(r"moved +to disk by train:(\d+) \(b\d+\); fetched by train:\d+ \((b\d+)\)", moved)
        self.assertIn("retain", moved)
        self.assertNotIn("retain", small)
        self.assertRegex(small, r"kept +for the backward pass: unused from \d+ to \d+")
        self.assertRegex(self.dump(far, "--why", back[2]), rf"fetched +from disk by train:\d+: what train:{back[1]} moved there of b\d+")
        state = re.sub(r"\s+", " ", self.dump(far, "--why", "h.3.mlp.c_fc.weight"))
        self.assertRegex(state, r"% of the peak of train on the disk.* far it lives on the disk; init writes it 1 time; "
                                r"train fetches it 3 times and writes it 1 time "
                                r"far .* choices of states in far memory: none: does not fit; .*: taken, [0-9.]+ ms")
        near = re.sub(r"\s+", " ", self.dump(far, "--why", "h.3.mlp.c_fc.fetch"))
        self.assertRegex(near, r"fetched from disk by train:\d+: h.3.mlp.c_fc.weight \(b\d+\)")


if __name__ == "__main__":
    e2e.unittest.main()
