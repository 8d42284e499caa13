"""Random models under random budgets, with far memory, with a limit of it and without: what the page on budgets promises, for each.

Every plan verifies and keeps to its budget and its limit; losses and saved states are those of the unlimited plan, bit for bit; more memory is never predicted
to be slower; a byte less than the least is refused; compiling twice gives the same bytes; nothing crashes.

PLIM_SEEDS="FIRST COUNT" chooses which models (the build's own run has one); all that fails is told, with the seed and the model's text.
A seed takes some ten seconds: of the budgets with each kind of far memory two are trained on, the others are planned.
"""
import json
import os
import re
import resource

import e2e
from random_models import STEPS, RandomModel

CAMPAIGN = "PLIM_SEEDS" in os.environ
FIRST, COUNT = (int(x) for x in os.environ.get("PLIM_SEEDS", "1 1").split())
PLANNED, TRAINED = (4, 2) if CAMPAIGN else (1, 1)  # budgets of each kind of far memory
if CAMPAIGN:
    e2e.LIMIT_S = 600


class Trial:
    """One model in a folder."""

    def __init__(self, test, seed):
        self.test, self.seed, self.model = test, seed, RandomModel(seed)
        self.folder = test.folder / str(seed)
        self.folder.mkdir()
        (self.folder / "model.plim").write_text(self.model.text)
        e2e.write_safetensors(self.folder / "data", self.model.tensors())

    def plimc(self, *flags):
        return e2e.run(e2e.PLIMC, "model.plim", *self.model.flags, *flags, cwd=self.folder)

    def check(self, holds, *what):
        assert holds, " ".join(str(w) for w in what)

    def plan(self, flags, out):
        """Its bytes, spaces, and what the step is predicted to take by the ladder that was walked."""
        done = self.plimc(*flags, "--remarks", "--emit", "plan", "-o", out)
        self.check(done.returncode == 0, flags, done.stderr)
        spaces = json.loads(e2e.run(e2e.PLIM_DUMP, out, "--json", cwd=self.folder).stdout)["spaces"]
        found = re.findall(r"takes (-?[0-9.]+) ms more than the ([0-9.]+) ms", done.stderr)
        return spaces, sum(float(more) + float(keep) for more, keep in found)

    def least(self, far):
        done = self.plimc(*far, "--budget", "1", "--emit", "plan", "-o", "over")
        self.check(done.returncode == 1 and "P0801" in done.stderr, far, done.stderr)
        least = int(re.search(r"smallest budget that fits is (\d+) bytes", done.stderr)[1])
        bound = int(re.search(r"no plan needs less than (\d+) bytes", done.stderr)[1])
        self.check(bound <= least, far, "the bound", bound, "is above the least", least)
        done = self.plimc(*far, "--budget", least - 1, "--emit", "plan", "-o", "over")
        self.check(done.returncode == 1 and "P0801" in done.stderr, far, least - 1, "is not refused:", done.stderr)
        return least

    def trained(self, flags):
        """Losses, and bytes of all that is saved."""
        done = self.plimc(*flags, "--quiet", "-o", "program")
        self.check(done.returncode == 0, flags, done.stderr)
        done = e2e.run(self.folder / "program", "train", "--data", "data", "--steps", STEPS, "--log", "log", "--save", "saved", "--quiet",
                       *(("--far-dir", self.folder) if "--far" in flags else ()), cwd=self.folder)
        self.check(done.returncode == 0, flags, done.stderr)
        losses = e2e.losses([json.loads(line) for line in (self.folder / "log").read_text().splitlines()])
        self.check(len(losses) == STEPS, flags, losses)
        files = {f.name: f.read_bytes() for f in (self.folder / "saved" / f"step-{STEPS}").glob("*.safetensors")}
        (self.folder / "log").unlink()
        for made in (self.folder / "saved").rglob("*"):
            if made.is_file():
                made.unlink()
        return losses, files

    def budgets(self, far, most, plain):
        """Of one kind of far memory, from the least on."""
        least = self.least(far)
        limit = int(far[1].split("=")[1]) if far and "=" in far[1] else None
        budget = sorted({least, most} | {self.model.r.randrange(least, max(least, most) + 1) for _ in range(PLANNED)})
        before = None
        for size in budget:
            flags = (*far, "--budget", size)
            spaces, time = self.plan(flags, "plan")
            self.check(spaces["device"]["bytes"] <= size, flags, "takes", spaces["device"]["bytes"])
            self.check(limit is None or spaces.get("disk", {"bytes": 0})["bytes"] <= limit, flags, "takes", spaces)
            self.check(before is None or time <= before + 0.002, flags, "is predicted to take", time, "ms, with less memory", before)
            before = time
        first = (self.folder / "plan").read_bytes()
        self.plan((*far, "--budget", budget[-1]), "again")
        self.check(first == (self.folder / "again").read_bytes(), far, budget[-1], "gives other bytes the second time")
        for size in [least] + self.model.r.sample(budget, TRAINED - 1):
            losses, files = self.trained((*far, "--budget", size))
            self.check(losses == plain[0], far, size, "losses", losses, "not", plain[0])
            self.check(files.keys() == plain[1].keys(), far, size, files.keys())
            for name in files:
                self.check(files[name] == plain[1][name], far, size, "has other bytes in", name)
        return least, spaces.get("disk", {"bytes": 0})["bytes"]

    def run(self):
        spaces, _ = self.plan((), "plan")
        most = spaces["device"]["bytes"]
        plain = self.trained(())
        near, _ = self.budgets((), most, plain)
        far, _ = self.budgets(("--far", "disk"), most, plain)
        self.check(far <= near, "the least with far memory is", far, "and without", near)
        if not CAMPAIGN:
            return
        limit = self.model.r.choice((4096, 1 << 18, 1 << 20, (near - far) // 2 + 1))
        some, _ = self.budgets(("--far", f"disk={limit}"), most, plain)
        self.check(far <= some <= near, "the least with", limit, "bytes of far memory is", some, "not within", far, near)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"seed {self.seed}: {self.model.kind}, least {near / most:.2f}, {far / most:.2f} with disk;"
              f" {spent.ru_utime + spent.ru_stime:.0f} s of processor so far", flush=True)


class RandomBudgets(e2e.TestCase):
    def test_seeds(self):
        failed = []
        for seed in range(FIRST, FIRST + COUNT):
            trial = Trial(self, seed)
            try:
                trial.run()
            except Exception as error:  # All seeds are tried.
                failed.append(f"seed {seed}: {type(error).__name__}: {error}\n{trial.model.text}")
                print(failed[-1], flush=True)
        self.assertEqual(failed, [])


if __name__ == "__main__":
    e2e.unittest.main()
