"""Every system call of a save fails once, and the power fails after each of them: what was saved before stays, the program
says what went wrong, and training goes on from there to the same end, bit for bit.

By itself: PLIM_BUILD=build/release tests/e2e/save_faults.py CASES     (of each kind; the build's tests take 50)
"""
import json
import os
import pathlib
import random
import re
import shutil
import sys

import e2e

SHIM = e2e.BUILD / "tests" / "e2e" / "libsave_shim.so"
STEPS, EVERY = 12, 2
KINDS = ("ENOSPC", "EIO", "EINTR", "short")


def cases():
    return int(sys.argv[1]) if len(sys.argv) > 1 else e2e.repeats(50)


def read_trace(path):
    """(name, path, result, more) by call."""
    return [tuple(line.split("\t")[1:]) for line in path.read_text().splitlines()]


class SaveFaults(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.folder.resolve()
        self.program = self.compile(e2e.GRAPHS / "resume.plim")
        e2e.write_classes(self.folder / "data", 256)
        self.losses = e2e.losses(self.train(self.program, "data", "--save", "whole", steps=STEPS))
        self.disk, self.out = self.folder / "disk", self.folder / "disk" / "out"

    def go(self, *options, environment=None):
        """Saves often into disk/out, going on where there is something."""
        return e2e.run(self.program, "train", "--data", "data", "--steps", STEPS, "--save", self.out, "--save-every",
                       EVERY, "--resume", "auto", "--log", "log", *options, cwd=self.folder,
                       env=dict(os.environ, **(environment or {})))

    def shim(self, **settings):
        return {"LD_PRELOAD": str(SHIM), "SHIM_FOLDER": str(self.disk)} | settings

    def check_losses(self):
        for line in (self.folder / "log").read_text().splitlines():
            step = json.loads(line)
            self.assertEqual(step["loss"], self.losses[step["step"] - 1], line)

    def check_end(self, where):
        for file in ("model.safetensors", "optimizer.safetensors"):
            one, other = (path / f"step-{STEPS}" / file for path in (self.folder / "whole", self.out))
            self.assertEqual(one.read_bytes(), other.read_bytes(), where)

    def began(self, said):
        found = re.search(r"going on from \S+/step-(\d+)", said)
        return int(found[1]) if found else 0

    def one_fault(self, earlier, call, kind):
        where = f"call {call}, {kind}"
        shutil.rmtree(self.disk, ignore_errors=True)
        shutil.copytree(earlier, self.disk)
        done = self.go(environment=self.shim(SHIM_FAIL=str(call), SHIM_KIND=kind))
        self.check_losses()
        self.assertIn(done.returncode, (0, 1), where)
        if done.returncode == 1:
            self.assertEqual(len(re.findall("error: ", done.stderr)), 1, f"{where}: {done.stderr}")
        if kind == "short":
            self.assertEqual(done.returncode, 0, f"{where}: {done.stderr}")
        # What was there before, and what was reported, is still there.
        saved = [int(n) for n in re.findall(r"^saved \S+/step-(\d+)\n", done.stderr, re.M)]
        again = self.go()
        self.assertEqual(again.returncode, 0, f"{where}: {again.stderr}")
        self.assertNotIn("passed over", again.stderr, where)
        self.assertGreaterEqual(self.began(again.stderr), max(saved + [4]), where)
        self.check_losses()
        self.check_end(where)
        return done.returncode

    def test_every_call_fails_once(self):
        # Two generations stand there already; a run that fails nowhere says how many calls there are.
        e2e.run(self.program, "train", "--data", "data", "--steps", STEPS, "--save", self.make_disk(), "--save-every",
                EVERY, "--quiet", cwd=self.folder, env=self.stopped_after(4))
        earlier = self.folder / "earlier"
        shutil.copytree(self.disk, earlier)
        trace = self.folder / "trace"
        done = self.go(environment=self.shim(SHIM_TRACE=str(trace)))
        self.assertEqual(done.returncode, 0, done.stderr)
        calls = [call for call in read_trace(trace) if call[0] != "said"]
        every = [(number, kind) for kind in KINDS for number, call in enumerate(calls, 1)
                 if kind != "short" or call[0] == "write"]
        chosen = every if len(every) <= cases() else random.Random(1).sample(every, cases())
        failed = sum(self.one_fault(earlier, number, kind) for number, kind in chosen)
        print(f"{len(chosen)} faults in {len(calls)} calls, {failed} of them ended the run", file=sys.stderr)
        self.assertGreater(failed, len(chosen) // 4)

    def make_disk(self):
        self.disk.mkdir(exist_ok=True)
        return self.out

    def stopped_after(self, step):
        """The environment of a run whose third save fails: an earlier training that ended early."""
        trace = self.folder / "first"
        e2e.run(self.program, "train", "--data", "data", "--steps", STEPS, "--save", self.out, "--save-every", EVERY,
                "--quiet", cwd=self.folder, env=dict(os.environ, **self.shim(SHIM_TRACE=str(trace))))
        shutil.rmtree(self.disk)
        self.make_disk()
        calls = [call for call in read_trace(trace) if call[0] != "said"]
        first = next(i for i, call in enumerate(calls, 1) if f".step-{step + EVERY}.tmp" in call[1])
        return dict(os.environ, **self.shim(SHIM_FAIL=str(first), SHIM_KIND="ENOSPC"))

    def test_power_fails(self):
        trace = self.folder / "trace"
        self.make_disk()
        done = self.go(environment=self.shim(SHIM_TRACE=str(trace)))
        self.assertEqual(done.returncode, 0, done.stderr)
        calls = read_trace(trace)
        whole = [(at, how) for at in range(len(calls) + 1) for how in ("nothing", "all", 1, 2)]
        # Only where something changed since the call before.
        changing = {"mkdir", "create", "write", "fsync", "rename", "unlink", "rmdir", "said"}
        whole = [(at, how) for at, how in whole if at == 0 or calls[at - 1][0] in changing]
        chosen = whole if len(whole) <= cases() else random.Random(2).sample(whole, cases())
        went_on = 0
        for at, how in chosen:
            shutil.rmtree(self.disk)
            self.disk.mkdir()
            said = Disk(str(self.disk)).play(calls[:at]).crash(self.disk, how, at)
            done = self.go()
            where = f"power fails after call {at}, {how} of what was not synced stays: {done.stderr}"
            self.assertEqual(done.returncode, 0, where)
            self.assertGreaterEqual(self.began(done.stderr), said, where)
            went_on += self.began(done.stderr) > 0
            self.check_losses()
            self.check_end(where)
        print(f"{len(chosen)} power failures in {len(calls)} calls, {went_on} resumed", file=sys.stderr)
        self.assertGreater(went_on, len(chosen) // 4)


class File:
    def __init__(self):
        self.synced = b""
        self.writes = []  # (offset, bytes) since


class Folder:
    def __init__(self):
        self.synced = {}
        self.now = {}
        self.changes = []  # ("set", name, node), ("drop", name) or ("move", old, new, node) since


class Disk:
    """What a disk may hold when the power fails: what was synced, and of the rest any part. A file's bytes are safe by
    its own fsync alone, a name by its folder's."""

    def __init__(self, root):
        self.root, self.top, self.said = root, Folder(), 0

    def place(self, path):
        """The folder that holds the path's last part, and that part."""
        parts = os.path.relpath(path, self.root).split("/")
        folder = self.top
        for part in parts[:-1]:
            folder = folder.now[part]
        return folder, parts[-1]

    def node(self, path):
        if path == self.root:
            return self.top
        folder, name = self.place(path)
        return folder.now.get(name)

    def play(self, calls):
        for name, path, result, more in calls:
            if name == "said":
                self.said = int(re.search(r"step-(\d+)", path)[1])
            elif int(result) >= 0:
                getattr(self, name, lambda *rest: None)(path, more)
        return self

    def set(self, path, node):
        folder, name = self.place(path)
        folder.now[name] = node
        folder.changes.append(("set", name, node))

    def mkdir(self, path, more):
        self.set(path, Folder())

    def create(self, path, more):
        if self.node(path) is None:
            self.set(path, File())

    def write(self, path, more):
        offset, text = more.split(" ")
        self.node(path).writes.append((int(offset), bytes.fromhex(text)))

    def fsync(self, path, more):
        node = self.node(path)
        if isinstance(node, Folder):
            node.synced, node.changes = dict(node.now), []
        else:
            node.synced, node.writes = patched(node.synced, node.writes), []

    def unlink(self, path, more):
        folder, name = self.place(path)
        del folder.now[name]
        folder.changes.append(("drop", name))

    rmdir = unlink

    def rename(self, path, more):
        folder, old = self.place(path)
        new = self.place(more)[1]
        node = folder.now.pop(old)
        folder.now[new] = node
        folder.changes.append(("move", old, new, node))

    def crash(self, where, how, seed):
        """Writes a disk after the crash to the folder; the step that had been reported."""
        source = random.Random(f"{how} {seed}")
        keep = {"nothing": lambda: False, "all": lambda: True}.get(how, lambda: source.random() < 0.5)
        write_folder(self.top, pathlib.Path(where), keep, source)
        return self.said


def patched(content, writes):
    content = bytearray(content)
    for offset, data in writes:
        # What lies between was never on the disk.
        content.extend(bytes(max(0, offset - len(content))))
        content[offset:offset + len(data)] = data
    return bytes(content)


def write_folder(folder, where, keep, source):
    entries = dict(folder.synced)
    for change in folder.changes:
        if not keep():
            continue
        if change[0] == "set":
            entries[change[1]] = change[2]
        else:
            entries.pop(change[1], None)
            if change[0] == "move":
                entries[change[2]] = change[3]
    for name, node in entries.items():
        if isinstance(node, Folder):
            (where / name).mkdir()
            write_folder(node, where / name, keep, source)
        else:
            # A write that stays may stay in part.
            kept = [(at, data[:source.randint(0, len(data))] if keep() and not keep() else data)
                    for at, data in node.writes if keep()]
            (where / name).write_bytes(patched(node.synced, kept))


if __name__ == "__main__":
    e2e.unittest.main(argv=sys.argv[:1])
