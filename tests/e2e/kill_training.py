"""Training is killed at random moments, over and over, and goes on from what it saved: nothing that was reported saved is
lost, and every loss and the weights at the end are those of a training that was never stopped.

By itself: PLIM_BUILD=build/release tests/e2e/kill_training.py KILLS
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import e2e

STEPS = 600


def kills():
    return int(sys.argv[1]) if len(sys.argv) > 1 else e2e.repeats(50)


class KillTraining(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.program = self.compile(e2e.GRAPHS / "resume.plim")
        e2e.write_classes(self.folder / "data", 512)
        self.losses = e2e.losses(self.train(self.program, "data", "--save", "whole", steps=STEPS))

    def start(self, every, errors):
        words = [self.program, "train", "--data", "data", "--steps", str(STEPS), "--save", "out", "--save-every",
                 str(every), "--resume", "auto", "--log", "log"]
        return subprocess.Popen(words, cwd=self.folder, stderr=errors, stdin=subprocess.DEVNULL)

    def has_saved(self, child):
        """Waits until the run says so, or ends."""
        deadline = time.monotonic() + e2e.LIMIT_S
        while child.poll() is None and "\nsaved out/step-" not in (self.folder / "errors").read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.002)

    def one_run(self, every, late, wait, number):
        """Starts a run and sends the signal after a while, a late one not before the run has saved. Its exit status, the step
        that it began from (None: it did not come to that), and the one that it reported saved last (0: none)."""
        with open(self.folder / "errors", "w") as errors:
            child = self.start(every, errors)
            if late:
                self.has_saved(child)
            time.sleep(wait)
            child.send_signal(number)
            status = child.wait()
        said = (self.folder / "errors").read_text()
        self.assertNotIn("error", said)
        self.assertNotIn("passed over", said)
        began = re.search(r"going on from out/step-(\d+)", said)
        saved = re.findall(r"^saved out/step-(\d+)\n", said, re.M)
        anew = 0 if "step 1/" in said else None
        return status, int(began[1]) if began else anew, int(saved[-1]) if saved else 0

    def check_losses(self):
        """The log has every step that was made, some more than once; a kill may cut its last line."""
        for line in (self.folder / "log").read_text().splitlines():
            try:
                step = json.loads(line)
            except ValueError:
                continue
            self.assertEqual(step["loss"], self.losses[step["step"] - 1], line)

    def finished(self):
        for file in ("model.safetensors", "optimizer.safetensors"):
            one, other = (self.folder / name / f"step-{STEPS}" / file for name in ("whole", "out"))
            self.assertEqual(one.read_bytes(), other.read_bytes(), file)
        shutil.rmtree(self.folder / "out")

    def campaign(self, count, number, seed):
        source = random.Random(seed)
        killed, ends, went_on, newest, late = 0, 0, 0, 0, False
        while killed < count:
            # However slow the machine is, every other run comes to something.
            late = not late
            status, began, saved = self.one_run(source.choice((1, 3, 20)), late, source.uniform(0.005, 0.1), number)
            if began is not None:
                # Nothing reported is lost; something newer may have been saved and not reported.
                self.assertGreaterEqual(began, newest)
                went_on += began > 0
                newest = max(saved, began)
            self.assertIn(status, (0, -number, 128 + number))
            killed += status != 0
            self.check_losses()
            if status == 0:
                self.finished()
                ends, newest = ends + 1, 0
        return killed, ends, went_on

    def test_killed(self):
        killed, ends, went_on = self.campaign(kills(), signal.SIGKILL, 1)
        print(f"{killed} kills, {went_on} resumed runs, {ends} trainings ended", file=sys.stderr)
        self.assertGreater(went_on, killed // 4)

    def test_asked_to_end(self):
        # Half as patient as a kill: every end saves first.
        self.campaign(max(1, kills() // 5), signal.SIGTERM, 2)


if __name__ == "__main__":
    e2e.unittest.main(argv=sys.argv[:1])
