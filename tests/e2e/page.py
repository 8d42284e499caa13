"""The page of plim-dump --html, driven in Chromium: what hovering, searching, keys and the table tell is what the
plan's text says, which this file reads itself; and nothing in a plan's names becomes code.
"""
import itertools
import json
import math
import random
import re
import unittest

import e2e
from browser import DOWN, ESCAPE, LEFT, PAGE_DOWN, PAGE_UP, RIGHT, UP
from page_case import PageCase, live_text, size_text

SIZES = ((1600, 1000), (1180, 700), (420, 860))


class Page(PageCase):
    def test_hovering_tells_what_the_plan_says(self):
        plan, entry = self.small()
        steps = len(plan.steps(entry))
        shown = self.shown()
        points = [(i, self.point(plan, entry, plan.buffers[i], shown)) for i in plan.of(entry)]
        seen = [(i, point) for i, point in points if point]
        self.assertGreater(len(seen), 20)
        for i, point in random.Random(1).sample(seen, e2e.repeats(15)):
            self.browser.mouse(*point)
            self.check_tip(plan.buffers[i])
        # Small ones too, once the window is moved to them.
        for i in random.Random(2).sample(plan.of(entry), e2e.repeats(10)):
            self.pin(plan, i)
            self.press("f")
            self.browser.mouse(*self.point(plan, entry, plan.buffers[i]))
            self.check_tip(plan.buffers[i])
            self.press(ESCAPE + ESCAPE + "0")
        # Above the map is what is live, below it what runs.
        corner, (x, y, w, h), at = self.corner(), self.shown()["run"], steps // 2
        middle = corner[0] + x + (at + 0.5) / steps * w
        self.browser.mouse(middle, corner[1] + 60)
        self.assertEqual(self.browser.texts("#tip h2"), [f"{size_text(plan.load(entry, at))} live"])
        self.browser.mouse(middle, corner[1] + y + h / 2)
        number = int(re.search(r"instruction ([\d,]+)", self.browser.text("#tip"))[1].replace(",", ""))
        self.assertLess(abs(number - at), 2 + steps / w)
        self.assertEqual(self.browser.text("#tip h2"), plan.steps(entry)[number]["name"])

    def test_time_axis_has_widths_of_what_instructions_do(self):
        plan, entry = self.small()
        said = json.loads(self.good(e2e.PLIM_DUMP, self.path, "--json").stdout)["programs"]["train"]["instructions"]
        for axis, field in (("FLOP", "flops"), ("bytes moved", "bytes"), ("predicted time", "predicted_ps")):
            self.browser.choose("#axis", axis)
            weights = [instruction[field] for instruction in said]
            least = 0.05 * sum(weights) / len(weights)
            edges = list(itertools.accumulate((w + least for w in weights), initial=0))
            edges = [edge / edges[-1] for edge in edges]
            shown = self.shown()
            seen = [(i, self.point(plan, entry, plan.buffers[i], shown, edges)) for i in plan.of(entry)]
            seen = [(i, point) for i, point in seen if point and plan.buffers[i]["entry"] is not None]
            for i, point in random.Random(4).sample(seen, min(len(seen), e2e.repeats(8))):
                self.browser.mouse(*point)
                self.check_tip(plan.buffers[i])
        at = max(range(len(said)), key=lambda at: said[at]["predicted_ps"])
        x, y, w, h = shown["run"]
        corner = shown["corner"]
        self.browser.mouse(corner[0] + x + (edges[at] + edges[at + 1]) / 2 * w, corner[1] + y + h / 2, "click")
        facts = self.pinned()
        self.assertEqual(facts["Instruction"], f"{at:,} of {len(said):,}")
        self.assertEqual(facts["Phase"], said[at]["phase"])
        time_ps, unit = said[at]["predicted_ps"], 0
        while time_ps >= 1000 and unit < 4:
            time_ps, unit = time_ps / 1000, unit + 1
        self.assertEqual(facts["Predicted"],
                         f"{f'{time_ps:#.3g}'.rstrip('.')} {['ps', 'ns', 'us', 'ms', 's'][unit]}, limited by {said[at]['limit']}")

    def test_search_pins_with_producers_and_users(self):
        plan, entry = self.small()
        steps = plan.steps(entry)
        word = "h.1.mlp"
        found = [i for i in plan.of(entry) if any(word in plan.buffers[i][field] for field in ("name", "scope", "where"))]
        found_steps = [i for i, step in enumerate(steps) if word in step["name"]]
        self.search(word.upper())
        self.assertEqual(self.browser.text("#found"), f"{len(found) + len(found_steps):,} found")
        self.browser.keys(ESCAPE)
        self.assertEqual(self.browser.text("#found"), "")
        for i in random.Random(3).sample(plan.of(entry), e2e.repeats(10)):
            b = plan.buffers[i]
            self.pin(plan, i)
            facts = self.pinned()
            self.assertEqual((facts[""], facts["Kind"], facts["Shape"]), (b["name"], b["kind"], b["shape"]))
            self.assertEqual(facts["Addresses"], f"{b['at']:,} to {b['at'] + b['bytes']:,}")
            self.assertIn(live_text(b), facts["Live"])
            self.assertEqual(facts.get("Source", ""), b["where"])
            uses = [(access, at) for at, step in enumerate(steps) for access, buffer in step["operands"] if buffer == i]
            made = [at for access, at in uses if access in ("write", "update")]
            used = [at for access, at in uses if access != "write"]
            for title, expected in (("Producers", made), ("Users", used)):
                listed = self.listed(title)
                self.assertEqual([name for name, _ in listed], [steps[at]["name"] or steps[at]["kind"] for at in expected])
                self.assertEqual([int(value.split()[-1].replace(",", "")) for _, value in listed], expected)
        # From a user to the buffers it uses.
        self.browser.script("document.querySelector('#panel [data-step]').click()")
        self.assertEqual(self.pinned()["Instruction"].split()[0], f"{(made + used)[0]:,}")
        step = steps[(made + used)[0]]
        names = {plan.buffers[buffer]["name"] for access, buffer in step["operands"] if access == "read"}
        self.assertEqual({name for name, _ in self.listed("Reads")}, names)

    def test_entries_peak_where_their_loads_do(self):
        plan, _ = self.small()
        said = json.loads(self.good(e2e.PLIM_DUMP, self.path, "--json").stdout)
        summary = self.browser.text("#summary")
        self.assertIn(f"The arena of the device has {size_text(said['spaces']['device']['bytes'])}", summary)
        self.assertIn(f"needs less than {size_text(said['spaces']['device']['load'])}", summary)
        for entry, row in enumerate(plan.entries):
            self.browser.choose("#entry", row["name"])
            at, load = plan.peak(entry)
            summary = self.browser.text("#summary")
            self.assertIn(f"The memory of {row['name']} peaks at {size_text(load)} at instruction {at:,} of "
                          f"{len(plan.steps(entry)):,}", summary)
            largest = sorted(plan.live(entry, at), key=lambda i: (-plan.buffers[i]["bytes"], i))[:10]
            sizes = [size_text(plan.buffers[i]["bytes"]) for i in largest]
            self.assertEqual([value for _, value in self.listed("Ten largest buffers")], sizes)
            peak = self.browser.text("#panel h2")
            self.assertEqual(peak, f"At the peak, {size_text(load)}")

    def test_keys_move_zoom_and_pin(self):
        plan, entry = self.small()
        whole = self.shown()
        self.assertEqual(whole["time"], [0, 1])
        self.press("+++")
        near = self.shown()
        self.assertAlmostEqual(near["time"][1] - near["time"][0], 0.7 ** 3)
        self.press(RIGHT)
        self.assertGreater(self.shown()["time"][0], near["time"][0])
        self.press(LEFT + LEFT)
        self.assertLess(self.shown()["time"][0], near["time"][0])
        self.press(PAGE_UP + UP)
        high = self.shown()["addresses"]
        self.assertLess(high[1] - high[0], 0.8 * whole["addresses"][1])
        self.press(DOWN + PAGE_DOWN)
        self.assertLess(self.shown()["addresses"][0], high[0])
        self.press("-0")
        self.assertEqual(self.shown(), whole)
        # One buffer after another, by first use and address.
        order = sorted(plan.of(entry), key=lambda i: (plan.buffers[i]["first"], plan.buffers[i]["at"], i))
        self.press("]]]")
        self.assertEqual(self.pinned()["In the plan"], f"b{order[2]}")
        self.assertIn(plan.buffers[order[2]]["name"], self.browser.script("return document.querySelector('#spoken').textContent"))
        self.press("[")
        self.assertEqual(self.pinned()["In the plan"], f"b{order[1]}")
        self.press(ESCAPE)
        self.assertIn("At the peak", self.pinned()[""])
        self.press("t")
        self.assertTrue(self.browser.text(".rows"))
        self.browser.keys("m")
        self.assertEqual(self.browser.text(".rows") if self.browser.attribute("#table", "hidden") is None else "", "")
        self.browser.keys("?")
        self.assertIn("zoom in time", self.browser.text("#help"))
        self.browser.keys(ESCAPE + "/")
        self.assertEqual(self.browser.focused(), "search")
        self.browser.keys("t/")
        self.assertEqual(self.browser.script("return document.querySelector('#search').value"), "t/")
        # Everything can be reached with the tabulator alone.
        self.browser.script("document.querySelector('#search').focus()")
        self.browser.keys(ESCAPE)
        self.assertEqual(self.browser.focused(), "plot")

    def test_mouse_moves_zooms_and_pins(self):
        plan, entry = self.small()
        corner, (x, y, w, h) = self.corner(), self.shown()["map"]
        middle = (corner[0] + x + w / 2, corner[1] + y + h / 2)
        self.browser.wheel(*middle, -300)
        near = self.shown()
        self.assertLess(near["time"][1] - near["time"][0], 0.8)
        self.assertAlmostEqual(sum(near["time"]) / 2, 0.5, delta=0.01)
        self.browser.wheel(*middle, -300, shift=True)
        self.assertLess(self.shown()["addresses"][1], near["addresses"][1])
        before = self.shown()
        self.browser.mouse(*middle, (middle[0] + 0.1 * w, middle[1]))
        self.assertLess(self.shown()["time"][0], before["time"][0])
        self.press("0")
        shown = self.shown()
        i = next(i for i in plan.of(entry) if self.point(plan, entry, plan.buffers[i], shown))
        self.browser.mouse(*self.point(plan, entry, plan.buffers[i]), "click")
        self.assertEqual(self.pinned()["In the plan"], f"b{i}")
        before = self.shown()["addresses"]
        self.browser.mouse(*self.point(plan, entry, plan.buffers[i]), "double")
        after = self.shown()["addresses"]
        self.assertLess(after[1] - after[0], before[1] - before[0])
        self.browser.click("#unpin")
        self.assertIn("At the peak", self.pinned()[""])

    def test_kinds_can_be_hidden(self):
        plan, entry = self.small()
        i = max((i for i in plan.of(entry) if plan.buffers[i]["kind"] == "weights"), key=lambda i: plan.buffers[i]["bytes"])
        point = self.point(plan, entry, plan.buffers[i])
        self.browser.mouse(*point)
        self.check_tip(plan.buffers[i])
        self.browser.click("#legend [data-kind='0']")
        self.assertEqual(self.browser.attribute("#legend [data-kind='0']", "aria-pressed"), "false")
        self.browser.mouse(*point)
        self.assertEqual(self.browser.text("#tip"), "")

    def rows(self):
        return self.browser.script(
            "return [...document.querySelectorAll('.rows tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")

    def test_table(self):
        plan, entry = self.small()
        self.browser.click("#show-table")
        largest = sorted(plan.of(entry), key=lambda i: (-plan.buffers[i]["bytes"], plan.buffers[i]["first"], plan.buffers[i]["at"]))
        rows = self.rows()
        self.assertEqual(len(rows), 200)
        for row, i in zip(rows, largest):
            b = plan.buffers[i]
            self.assertEqual(row, [b["name"], b["kind"], b["shape"], f"{b['bytes']:,}", size_text(b["bytes"]), f"{b['at']:,}",
                                   f"{b['first']:,}", "always" if b["last"] == math.inf else f"{b['last']:,}", b["where"]])
        self.assertIn(f"1 to 200 of {len(largest):,}", self.browser.text("#range"))
        self.browser.click("#page-on")
        self.assertEqual(self.rows()[0][0], plan.buffers[largest[200]]["name"])
        # Sorted by name, once up and once down.
        names = sorted(plan.buffers[i]["name"] for i in plan.of(entry))
        self.browser.click(".rows th:first-child button")
        self.assertEqual(self.browser.attribute(".rows th:first-child", "aria-sort"), "ascending")
        self.assertEqual([row[0] for row in self.rows()], names[:200])
        self.browser.click(".rows th:first-child button")
        self.assertEqual(self.browser.attribute(".rows th:first-child", "aria-sort"), "descending")
        self.assertEqual([row[0] for row in self.rows()], names[::-1][:200])
        # Filters: what lives at the peak, and the search.
        self.browser.click("#peak-only")
        self.assertIn(f" of {len(plan.live(entry, plan.peak(entry)[0])):,}", self.browser.text("#range"))
        self.browser.click("#peak-only")
        self.search("wpe")
        names = [plan.buffers[i]["name"] for i in plan.of(entry) if "wpe" in plan.buffers[i]["name"] + plan.buffers[i]["scope"]]
        self.assertEqual(sorted(row[0] for row in self.rows()), sorted(names))
        self.browser.click(".rows tbody button")
        self.assertEqual(self.pinned()[""], self.rows()[0][0])
        self.browser.keys(ESCAPE)
        # Instructions.
        self.browser.click("#rows-steps")
        steps = plan.steps(entry)
        self.assertEqual([row[0] for row in self.rows()], [step["name"] or step["kind"] for step in steps[:200]])

    def check_kinds_differ(self):
        """Colours stay apart for people with each kind of colour blindness (Machado et al., 2009, severity 1), and from the
        background: distances in CIELAB."""
        colors = self.browser.script("""
            const probe = document.body.appendChild(document.createElement("span"));
            const read = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
            const kinds = "weights gradients optimizer activations workspace communication inputs state".split(" ");
            const out = [...kinds.map((kind) => read(`kind-${kind}`)), read("sheet")];
            probe.remove();
            return out;""")
        rgb = [[linear(float(x)) for x in re.findall(r"[\d.]+", color)[:3]] for color in colors]
        for seen in SEEING.values():
            labs = [lab([min(max(sum(a * x for a, x in zip(row, color)), 0), 1) for row in seen]) for color in rgb]
            for one, other in itertools.combinations(labs[:-1], 2):
                self.assertGreater(math.dist(one, other), 17)
        labs = [lab(color) for color in rgb]
        for one in labs[:-1]:
            self.assertGreater(math.dist(one, labs[-1]), 20)

    def test_both_schemes_and_three_sizes(self):
        for scheme, size in itertools.product(("light", "dark"), SIZES):
            self.browser.look(*size, scheme)
            self.browser.open(self.page)
            paper = self.browser.script("return getComputedStyle(document.body).backgroundColor")
            self.assertEqual(min(map(int, re.findall(r"\d+", paper))) > 128, scheme == "light")
            self.check_kinds_differ()
            # Nothing sticks out to the side, and the map has room.
            self.assertLessEqual(self.browser.script("return document.documentElement.scrollWidth"), size[0])
            x, y, w, h = self.shown()["map"]
            self.assertGreater(w, 250)
            self.assertGreater(h, 120)
            # The map has the colours of its kinds.
            drawn = self.browser.script("""
                const plot = document.querySelector("#plot"), bytes = plot.getContext("2d").getImageData(0, 0, plot.width, plot.height).data;
                const colors = new Set();
                for (let i = 0; i < bytes.length; i += 4) colors.add(`rgb(${bytes[i]}, ${bytes[i + 1]}, ${bytes[i + 2]})`);
                return [...document.querySelectorAll("#legend button .swatch")].map((e) => colors.has(getComputedStyle(e).backgroundColor));""")
            self.assertGreaterEqual(drawn.count(True), 4)
            self.browser.click("#theme")
            paper = self.browser.script("return getComputedStyle(document.body).backgroundColor")
            self.assertEqual(min(map(int, re.findall(r"\d+", paper))) > 128, scheme == "dark")

    def test_names_are_only_names(self):
        """Whatever a plan says, it is shown and not done."""
        self.browser.look(1600, 1400, "dark")
        evil = "</script><script>window.done = 1</script><!--<script><img src=x onerror='window.done = 2'>&lt;b&gt; \x01 \\ \" \u2028 \u00e9"
        name = '"' + evil.replace("\\", "\\\\").replace('"', '\\"').replace("\x01", "\\x01") + '"'
        (self.folder / "evil.plan").write_bytes("\n".join([
            "plan 1", f"model {name}", f"target {name}", f"tool {name}", "workers 1", "streams 1", "space m0 device bytes 256 load 256",
            f"buffer b0 {name} weights f32[64] in m0 at 0 bytes 256 align 64 live 0..max scope {name} where {name}",
            f"segment s0 {name} events 0 {{",
            f"  0: kernel k0 (update b0+0:256) stream 0 signature 0x0000000000000001 name {name} where {name}", "}",
            f"entry e0 {name} {{", "  call s0 slot 0", "}", f"kernel k0 {name} tiles 1", "  | </script>",
            f"remark order on {name}: {name}", ""]).encode())
        self.dump(self.folder / "evil.plan")
        self.assertEqual(self.browser.script("return document.querySelector('h1').textContent"), evil)
        self.press("]")
        facts = self.pinned()
        self.assertEqual((facts[""], facts["Source"], facts["Scope"]), (evil, evil, evil))
        self.assertIn(evil, self.browser.script("return document.querySelector('#panel .remark').textContent"))
        x, y, w, h = self.shown()["map"]
        corner = self.corner()
        self.browser.mouse(corner[0] + x + w / 2, corner[1] + y + h / 2)
        self.assertIn(evil, self.browser.script("return document.querySelector('#tip').textContent"))
        self.browser.click("#show-table")
        self.assertEqual(self.rows()[0][0], evil)
        self.assertEqual(self.browser.script("return [window.done ?? 0, document.querySelectorAll('img, #plan ~ script ~ *').length]"), [0, 0])
        self.assertEqual(self.browser.script("return document.querySelectorAll('script').length"), 2)

    def test_a_plan_without_anything(self):
        self.browser.look(1180, 700, "light")
        (self.folder / "empty.plan").write_text("plan 1\nworkers 1\nstreams 1\n")
        self.dump(self.folder / "empty.plan")
        self.press("]+-0pt")
        self.assertEqual(self.browser.text("#range"), "no rows")

    def test_what_cannot_be_a_page_is_refused(self):
        for content in (b"", b"\x00" * 100, b"plan 1\nbuffer", b"\x7fELF" + bytes(100)):
            (self.folder / "broken.plan").write_bytes(content)
            self.refused_in_one_sentence(e2e.PLIM_DUMP, "broken.plan", "--html", "page.html", says="broken.plan")
        self.assertFalse((self.folder / "page.html").exists())
        (self.folder / "empty.plan").write_text("plan 1\nworkers 1\nstreams 1\n")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, "empty.plan", "--html", "no/such/page.html", says="no/such/page.html")


# Linear light as seen by people without one kind of cones; the first sees all.
SEEING = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(value):
    value /= 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def lab(rgb):
    r, g, b = rgb
    x, y, z = ((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047, 0.2126 * r + 0.7152 * g + 0.0722 * b,
               (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883)
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


if __name__ == "__main__":
    unittest.main()
