"""What the tests of plim-dump --html's page share: a browser that shows it, and the plan's text, read by nothing that the
page is made with.

Chromium and chromium-driver come with tools/bootstrap. The mouse finds blocks by the window of time and addresses
that the canvas says it shows (its data attributes), so the map's arithmetic is checked as well.
"""
import decimal
import itertools
import json
import math
import pathlib
import re
import tempfile

import e2e
from browser import Browser, ENTER

PAGE_BYTES = 8 << 20
STRING = r'"(?:[^"\\]|\\.)*"'
BUFFER = re.compile(rf'buffer b\d+ ({STRING}|\S+) (\w+) (\w+\[[^\]]*\]) in m(\d+) at (\d+) bytes (\d+) align (\d+)'
                    rf'(?: entry e(\d+))? live (\d+)\.\.(\d+|max)(.*)')


def quoted(line, field):
    found = re.search(rf' {field} ({STRING})', line)
    return json.loads(found[1]) if found else ""


class Plan:
    """A plan's text, as far as the page shows it: read here, by nothing that the page is made with."""

    def __init__(self, text):
        self.buffers, self.segments, self.entries = [], [], []
        for line in text.splitlines():
            if found := BUFFER.match(line):
                name, kind, shape, space, at, size, align, entry, first, last, rest = found.groups()
                self.buffers.append({
                    "name": json.loads(name) if name[0] == '"' else name, "kind": kind, "shape": shape, "space": int(space),
                    "at": int(at), "bytes": int(size), "padded": -(-int(size) // int(align)) * int(align),
                    "entry": None if entry is None else int(entry), "first": int(first),
                    "last": math.inf if last == "max" else int(last), "where": quoted(rest, "where"),
                    "scope": quoted(rest, "scope")})
            elif line.startswith("segment "):
                self.segments.append([])
            elif found := re.match(r"  \d+: (\w+)", line):
                self.segments[-1].append({
                    "name": quoted(line, "name"), "where": quoted(line, "where"), "kind": found[1],
                    "operands": [(access, int(b)) for access, b in re.findall(r"[(,] ?(read|write|update) b(\d+)\+", line)]
                    + [("workspace", int(b)) for b in re.findall(r" workspace b(\d+) ", line)]})
            elif line.startswith("entry "):
                self.entries.append({"name": line.split()[2], "segments": []})
            elif found := re.match(r"  call s(\d+) ", line):
                if int(found[1]) not in self.entries[-1]["segments"]:
                    self.entries[-1]["segments"].append(int(found[1]))

    def entry(self, name):
        return next(i for i, entry in enumerate(self.entries) if entry["name"] == name)

    def steps(self, entry):
        return [step for s in self.entries[entry]["segments"] for step in self.segments[s]]

    def of(self, entry):
        """Buffers of an entry, with what is persistent, by number."""
        return [i for i, b in enumerate(self.buffers) if b["entry"] in (None, entry) and b["space"] == 0]

    def live(self, entry, at):
        return [i for i in self.of(entry) if self.buffers[i]["first"] <= at <= self.buffers[i]["last"]]

    def load(self, entry, at):
        return sum(self.buffers[i]["padded"] for i in self.live(entry, at))

    def peak(self, entry):
        change = [0] * (len(self.steps(entry)) + 1)
        for i in self.of(entry):
            b = self.buffers[i]
            change[b["first"]] += b["padded"]
            change[min(b["last"], len(change) - 2) + 1] -= b["padded"]
        loads = list(itertools.accumulate(change))[:-1]
        return loads.index(max(loads)), max(loads)


def size_text(size):
    unit, size = 0, decimal.Decimal(size)
    while size >= 1024:
        size, unit = size / 1024, unit + 1
    digits = 0 if unit == 0 else 2 if size < 10 else 1
    return f"{size.quantize(decimal.Decimal(10) ** -digits, decimal.ROUND_HALF_UP)} {['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}"


def live_text(b):
    if b["last"] == math.inf:
        return "always"
    if b["first"] == b["last"]:
        return f"instruction {b['first']:,}"
    return f"instructions {b['first']:,} to {b['last']:,}"


class PageCase(e2e.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(tempfile.mkdtemp(prefix="plim-browser-"))
        cls.addClassCleanup(cls.browser.close)
        cls.models = tempfile.TemporaryDirectory(prefix="plim-models-")
        cls.addClassCleanup(cls.models.cleanup)
        cls.path = pathlib.Path(cls.models.name) / "small.plan"
        cls.compile_plan(cls.path, "--config", "tiny", "-D", "accumulate=2")
        cls.plan = Plan(cls.path.read_text())
        cls.page = pathlib.Path(cls.models.name) / "small.html"
        done = e2e.run(e2e.PLIM_DUMP, cls.path, "--html", cls.page)
        assert done.returncode == 0, done.stderr

    @staticmethod
    def compile_plan(path, *flags):
        done = e2e.run(e2e.PLIMC, e2e.SOURCE / "models" / "gpt2.plim", "--emit", "plan", "--quiet", "-o", path, *flags)
        assert done.returncode == 0, done.stderr

    def setUp(self):
        super().setUp()
        # The page says nothing to the console, and asks for nothing beside itself.
        self.addCleanup(lambda: self.assertEqual(self.browser.logged(), []))

    def dump(self, plan):
        """The page of a plan's file, opened."""
        page = self.folder / "page.html"
        self.good(e2e.PLIM_DUMP, plan, "--html", page)
        self.assertLess(page.stat().st_size, PAGE_BYTES)
        self.browser.open(page)
        self.assertEqual(self.browser.script("return performance.getEntriesByType('resource').length"), 0)
        return page

    def small(self, entry="train"):
        """A small model's page; the plan, and the number of the entry that is looked at."""
        self.browser.look(1400, 900, "light")
        self.browser.open(self.page)
        self.browser.choose("#entry", entry)
        return self.plan, self.plan.entry(entry)

    def shown(self):
        """What the canvas says it shows, and where it stands."""
        data = self.browser.script("""
            const plot = document.querySelector("#plot"), box = plot.getBoundingClientRect();
            return {...plot.dataset, corner: `${box.x} ${box.y}`};""")
        return {name: [float(x) for x in words.split()] for name, words in data.items()}

    def corner(self):
        return self.shown()["corner"]

    def point(self, plan, entry, b, shown=None, edges=None):
        """The middle of the part of a buffer's block that is in the window, in pixels; None where it is too small.
        edges: where positions begin on the axis of time, from 0 to 1; else they are equally wide."""
        shown, steps = shown or self.shown(), len(plan.steps(entry))
        edges = edges or [i / steps for i in range(steps + 1)]
        (x, y, w, h), (t0, t1), (a0, a1) = shown["map"], shown["time"], shown["addresses"]
        left, right = max(edges[b["first"]], t0), min(edges[min(b["last"], steps - 1) + 1], t1)
        low, high = max(b["at"], a0), min(b["at"] + b["bytes"], a1)
        if (right - left) / (t1 - t0) * w < 3 or (high - low) / (a1 - a0) * h < 3:
            return None
        corner = shown["corner"]
        return (corner[0] + x + ((left + right) / 2 - t0) / (t1 - t0) * w,
                corner[1] + y + h - ((low + high) / 2 - a0) / (a1 - a0) * h)

    def check_tip(self, b):
        tip = self.browser.text("#tip")
        self.assertEqual(tip.splitlines()[0], b["name"])
        for fact in (b["kind"], b["shape"], f"{b['bytes']:,} bytes", f"live {live_text(b)}", b["where"]):
            self.assertIn(fact, tip)

    def pinned(self):
        """Facts of what is pinned, with its name as "": those of the panel's list."""
        return self.browser.script("""
            const panel = document.querySelector("#panel"), names = [...panel.querySelectorAll("dt")].map((e) => e.textContent);
            const values = [...panel.querySelectorAll("dd")].map((e) => e.textContent.trim());
            return {"": panel.querySelector("h2").textContent, ...Object.fromEntries(names.map((name, i) => [name, values[i]]))};""")

    def listed(self, title):
        """Names and values of the list under a heading of the panel, all of them."""
        return self.browser.script("""
            const head = [...document.querySelectorAll("#panel h3")].find((h) => h.firstChild.textContent === arguments[0]);
            const list = head?.nextElementSibling;
            list?.querySelector(".more")?.click();
            return [...(list?.querySelectorAll("li") ?? [])].map(
              (li) => [...li.querySelectorAll(".name, .value")].map((e) => e.textContent));""", title)

    def search(self, text):
        self.browser.script("document.querySelector('#search').value = ''")
        self.browser.click("#search")
        self.browser.keys(text)

    def pin(self, plan, i):
        """By search: others may have or contain the name too."""
        self.search(plan.buffers[i]["name"])
        for _ in plan.buffers:
            self.browser.keys(ENTER)
            if self.pinned().get("In the plan") == f"b{i}":
                return
        self.fail(plan.buffers[i]["name"])

    def focus(self):
        self.browser.script("document.querySelector('#plot').focus()")

    def press(self, keys, **options):
        """Keys that mean something on the map."""
        self.focus()
        self.browser.keys(keys, **options)
