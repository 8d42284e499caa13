"""What a person waits for on the page of plim-dump --html: that it opens, and answers. It goes by the clock, so nothing else
should run beside it.
"""
import random
import time
import unittest

import e2e
from page_case import PageCase, Plan, size_text

OPEN_S = 2
ACT_S = 0.5


def large_plan(buffers, steps):
    """Made up: a stack of activations, kept from the way there to the way back, and what lives shortly above."""
    source, kept = random.Random(1), buffers // 2
    lines = ['plan 1', 'model "large"', 'workers 1', 'streams 2']
    sizes = [64 * source.randint(1, 4000) for _ in range(buffers)]
    at, rows, users = 0, [], [[] for _ in range(steps)]
    for i in range(buffers):
        if i < kept:
            first = i * (steps // 2 - 1) // kept
            last, offset, at = steps - 1 - first, at, at + sizes[i]
        else:
            first = (i - kept) * (steps - 3) // (buffers - kept)
            last = first + source.randint(0, 2)
            offset = 64 * 4000 * (kept + i % 8)
        rows.append(f'buffer b{i} h.{i % 48}.value.{i} {"activations" if i < kept else "workspace"} bool[{sizes[i]}] in m0 '
                    f'at {offset} bytes {sizes[i]} align 64 entry e0 live {first}..{last} scope "h.{i % 48}" where "large.plim:{i % 97 + 1}:3"')
        users[first].append(f"write b{i}+0:{sizes[i]}")
        users[last].append(f"read b{i}+0:{sizes[i]}")
    lines += [f"space m0 device bytes {64 * 4000 * (kept + 8)} load {at}", *rows, "segment s0 train.body events 0 {"]
    lines += [f'  {i}: kernel k0 ({", ".join(used) or "read b0+0:64"}) stream {i % 2} flops {source.randint(0, 10**9)} '
              f'bytes {source.randint(1, 10**8)} signature 0x0000000000000001 name "add h.{i % 48}" where "large.plim:{i % 97 + 1}:3"'
              for i, used in enumerate(users)]
    lines += ["}", "entry e0 train {", "  call s0 slot 0", "}", "kernel k0 k0 tiles 1", "  | kernel", ""]
    return "\n".join(lines)


class Times(PageCase):
    def check_opens_in_time(self, page):
        """The best of three: other programs may take the machine."""
        spent = []
        while len(spent) < 3 and (not spent or min(spent) > OPEN_S):
            begin = time.monotonic()
            self.browser.open(page)
            spent.append(time.monotonic() - begin)
        self.assertLess(min(spent), OPEN_S)

    def test_gpt2_xl(self):
        self.browser.look(1600, 1000, "light")
        path = self.folder / "xl.plan"
        self.compile_plan(path, "--config", "xl", "-D", f"layers={e2e.repeats(48)}")
        plan = Plan(path.read_text())
        self.check_opens_in_time(self.dump(path))
        entry = plan.entry("train")
        at, load = plan.peak(entry)
        self.assertIn(f"train peaks at {size_text(load)} at instruction {at:,}", self.browser.text("#summary"))
        shown = self.shown()
        i = max((i for i in plan.of(entry) if self.point(plan, entry, plan.buffers[i], shown)), key=lambda i: plan.buffers[i]["first"])
        self.browser.mouse(*self.point(plan, entry, plan.buffers[i]))
        self.check_tip(plan.buffers[i])

    def spent(self, act):
        """Seconds until what a script does is painted."""
        return self.browser.post("/execute/async", args=[], script=f"""
            const done = arguments[0], plot = document.querySelector("#plot"), begin = performance.now();
            {act};
            requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));""") / 1000

    def test_large_plan_stays_quick(self):
        self.browser.look(1600, 1000, "light")
        text = large_plan(e2e.repeats(20000), e2e.repeats(15000))
        (self.folder / "large.plan").write_text(text)
        page = self.dump(self.folder / "large.plan")
        self.check_opens_in_time(page)
        # A letter of a search, a key, a move of the mouse: each some frames, not seconds.
        x, y, w, h = self.shown()["map"]
        for act in ("const s = document.querySelector('#search'); s.value = 'value.1'; s.dispatchEvent(new Event('input'))",
                    "plot.dispatchEvent(new KeyboardEvent('keydown', {key: ']', bubbles: true}))",
                    "plot.dispatchEvent(new KeyboardEvent('keydown', {key: '+', bubbles: true}))",
                    f"plot.dispatchEvent(new MouseEvent('pointermove', {{clientX: {x + w / 2}, clientY: {y + h}}}))"):
            self.assertLess(min(self.spent(act) for _ in range(3)), ACT_S, act)


if __name__ == "__main__":
    unittest.main()
