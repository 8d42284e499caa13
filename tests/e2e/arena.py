"""All of an arena is used (that it has the planned bytes, models.py measures for every model), and the plans of all
models are the same bytes wherever and however often they are made."""
import os
import subprocess

import e2e


class Arena(e2e.TestCase):
    def test_arenas_are_used(self):
        e2e.write_classes(self.folder / "points", 256)
        points = e2e.read_safetensors(self.folder / "points")
        e2e.write_safetensors(self.folder / "tables", {"x": points["x"], "label": points["y"]})
        # One worker, so that all workspace is used, and no entry that isn't run.
        program = self.compile(e2e.SOURCE / "models" / "mlp.plim", "--entry", "train", "--threads", "1", "--config", "tiny",
                               "-D", "hidden=4096")
        planned, used = self.check_arena(program, "tables", "--threads", "1")
        self.assertGreater(used, 0.95 * planned)

    def test_plans_are_the_same_everywhere(self):
        """Again on one processor, with the machine's other processors busy."""
        one = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
        load = subprocess.Popen(["sh", "-c", "while :; do :; done"])
        try:
            for model in sorted((e2e.SOURCE / "models").glob("*.plim"))[::2 if e2e.SCALE > 1 else 1]:
                plans = []
                for prefix in ((), one):
                    self.good(*prefix, e2e.PLIMC, model, "--config", "tiny", "--emit", "plan", "-o", "plan")
                    plans.append((self.folder / "plan").read_bytes())
                self.assertEqual([p == plans[0] for p in plans], [True] * 2, model)
        finally:
            load.kill()
            load.wait()


if __name__ == "__main__":
    e2e.unittest.main()
