"""A compile that is interrupted, or can't write, leaves the whole program or nothing, and no temporaries."""
import os
import shutil
import signal
import stat
import subprocess
import time

import e2e

MOMENTS = 20


class WholeOrNothing(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.source = e2e.GRAPHS / "attention.graph"

    def files(self):
        return sorted(os.listdir(self.folder))

    def interrupt(self, after_s, number, out):
        child = subprocess.Popen([e2e.PLIMC, self.source, "-o", out, "--quiet"], cwd=self.folder,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(after_s)
        child.send_signal(number)
        message = child.communicate(timeout=e2e.LIMIT_S)[1]
        return child.returncode, message

    def test_interrupted(self):
        started = time.monotonic()
        self.good(e2e.PLIMC, self.source, "-o", "whole", "--quiet")
        whole_s = time.monotonic() - started
        whole = (self.folder / "whole").read_bytes()
        moments, stopped = e2e.repeats(MOMENTS), 0
        for moment in range(moments):
            number = (signal.SIGINT, signal.SIGTERM)[moment % 2]
            status, message = self.interrupt(1.1 * whole_s * (moment + 1) / moments, number, "cut")
            self.assertIn(status, (0, -number), message)
            if self.files() == ["whole"]:
                self.assertEqual(status, -number)
                stopped += 1
                continue
            self.assertEqual(self.files(), ["cut", "whole"])
            self.assertEqual((self.folder / "cut").read_bytes() == whole, True)
            self.assertTrue(os.stat(self.folder / "cut").st_mode & stat.S_IXUSR)
            (self.folder / "cut").unlink()
        self.assertGreater(stopped, 0)

    def test_old_program_stays(self):
        (self.folder / "program").write_text("old")
        (self.folder / "bad.graph").write_text("module @m\ngraph @f() {\n  oops\n}\n")
        self.refused(e2e.PLIMC, "bad.graph", "-o", "program")
        self.assertEqual((self.folder / "program").read_text(), "old")
        self.assertEqual(self.files(), ["bad.graph", "program"])

    def test_full_disk(self):
        for emit in ("plan", "graph", "llvm", "obj"):
            done = self.refused_in_one_sentence(e2e.PLIMC, self.source, "--emit", emit, "-o", "/dev/full", "--quiet")
            self.assertIn("can't write /dev/full", done.stderr)
            self.assertTrue(stat.S_ISCHR(os.stat("/dev/full").st_mode))

    def test_full_standard_output(self):
        for words in ((e2e.PLIMC, self.source, "--emit", "plan"), (e2e.PLIM_DUMP, self.good_plan(), "--json")):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([str(w) for w in words], stdout=full, stderr=subprocess.PIPE, text=True,
                                      cwd=self.folder, timeout=e2e.LIMIT_S)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def good_plan(self):
        self.good(e2e.PLIMC, self.source, "--emit", "plan", "-o", "good.plan")
        return self.folder / "good.plan"

    def test_no_such_folder(self):
        for emit in ("plan", "obj", "exe"):
            done = self.refused(e2e.PLIMC, self.source, "--emit", emit, "-o", "nowhere/program", "--quiet")
            self.assertIn("No such file or directory", done.stderr)
        self.assertEqual(self.files(), [])

    def test_folder_in_the_way(self):
        (self.folder / "program").mkdir()
        for emit in ("plan", "obj", "exe"):
            self.refused(e2e.PLIMC, self.source, "--emit", emit, "-o", "program", "--quiet")
            self.assertEqual(self.files(), ["program"])

    def test_a_program_is_no_device(self):
        self.refused(e2e.PLIMC, self.source, "-o", "/dev/null", "--quiet", says="no regular file")
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))

    def test_read_only_folder(self):
        # Root may write anywhere: become nobody, where nobody can run the tools.
        become = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        closed = self.folder / "closed"
        closed.mkdir()
        shutil.copy(self.source, closed / "block.graph")
        closed.chmod(0o555)
        self.folder.chmod(0o755)
        try:
            self.good(e2e.PLIMC, "--version", **become)
        except PermissionError:
            self.skipTest("the build folder is closed to other users")
        for emit in ("plan", "obj", "exe"):
            self.refused(e2e.PLIMC, "block.graph", "--emit", emit, "-o", "program", "--quiet", cwd=closed,
                         says="Permission denied", **become)
            self.assertEqual(os.listdir(closed), ["block.graph"])


if __name__ == "__main__":
    e2e.unittest.main()
