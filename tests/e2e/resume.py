"""What going on from a checkpoint takes, and what it refuses."""
import re
import signal
import subprocess
import time

import e2e


class Resume(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.program = self.compile(e2e.GRAPHS / "resume.plim")
        e2e.write_classes(self.folder / "data", 256)

    def words(self, *options):
        return [self.program, "train", "--data", "data", *options]

    def save(self, folder, *options):
        self.good(*self.words("--steps", "30", "--save", folder, "--save-every", "10", "--quiet", *options))

    def test_refusals(self):
        self.save("out", "--seed", "3")
        self.assertEqual({f.name for f in (self.folder / "out").glob("step-*")}, {"step-20", "step-30"})
        for options, says in ((("--save", "out"), "holds a training saved at step 30"),
                              (("--save", "out", "--resume", "auto", "--seed", "4"), "--seed 3"),
                              (("--resume", "out", "--steps", "40"), "30 steps, not 40"),
                              (("--resume", "nowhere"), "nowhere")):
            self.refused_in_one_sentence(*self.words(*options), says=says)
        (self.folder / "empty").mkdir()
        self.refused_in_one_sentence(*self.words("--resume", "empty"), says="no whole checkpoint in empty")
        self.refused(*self.words("--resume", "auto"), status=2, says="--save")
        # All that does not fit is told at once.
        other = self.compile(e2e.GRAPHS / "resume.plim", "-D", "width=24", out="other")
        done = self.refused(other, "train", "--data", "data", "--resume", "out", says="another model")
        self.assertEqual(len(re.findall("the model wants", done.stderr)), 9, done.stderr)

    def test_other_data_and_knobs_are_told(self):
        self.save("out")
        go_on = self.words("--save", "out", "--resume", "auto")
        self.assertNotIn("another", self.good(*go_on).stderr)
        self.assertIn("another --set", self.good(*go_on, "--set", "lr=0.5").stderr)
        self.assertIn("another --data or --holdout", self.good(*go_on, "--holdout", "0.1").stderr)

    def test_broken_ones_are_passed_over(self):
        self.save("whole")
        want = e2e.saved(self.folder / "whole").read_bytes()
        breaks = (lambda f: (f / "complete.json").unlink(), lambda f: (f / "complete.json").write_text("{"),
                  lambda f: (f / "optimizer.safetensors").unlink(),
                  lambda f: (f / "model.safetensors").write_bytes(b"short"),
                  lambda f: (f / "model.safetensors").write_bytes(b"x" * (f / "model.safetensors").stat().st_size))
        for number, spoil in enumerate(breaks):
            out = f"out{number}"
            self.save(out)
            spoil(self.folder / out / "step-30")
            (self.folder / out / ".step-40.tmp").mkdir()
            done = self.good(*self.words("--save", out, "--resume", "auto"))
            self.assertIn("step-30 is not whole and is passed over", done.stderr)
            self.assertIn(f"going on from {out}/step-20", done.stderr)
            self.assertEqual(e2e.saved(self.folder / out).read_bytes(), want)
            self.assertFalse((self.folder / out / ".step-40.tmp").exists())

    def test_one_training_a_folder_and_an_end_on_request(self):
        long = self.words("--steps", "100000000", "--save", "out", "--save-every", "100", "--quiet")
        child = subprocess.Popen(long, cwd=self.folder, stdin=subprocess.DEVNULL)
        while not list((self.folder / "out").glob("step-*")):
            self.assertIsNone(child.poll())
            time.sleep(0.01)
        self.refused_in_one_sentence(*self.words("--save", "out", "--resume", "auto"), says="another training saves")
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(), 128 + signal.SIGINT)
        self.assertTrue(e2e.saved(self.folder / "out").exists())


if __name__ == "__main__":
    e2e.unittest.main()
