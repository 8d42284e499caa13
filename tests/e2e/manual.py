"""Manual pages say what the tools' --help says: the same flags, with the same names for their values."""
import re

import e2e
from installed import help_lines

PAGES = e2e.SOURCE / "docs" / "man"
WIDTH = 26 # of a flag and its value in the help


def plain(text):
    """A line of a page without fonts and escapes."""
    return re.sub(r"\\f.|\\&", "", text).replace("\\-", "-").replace('"', "").strip()


def tags(page, heading=None):
    """What stands under .TP, in the page's order; under one .SH only."""
    found, section, lines = [], None, page.read_text().splitlines()
    for i, line in enumerate(lines):
        if line.startswith(".SH "):
            section = plain(line[4:])
        if line == ".TP" and heading in (None, section):
            found.append(plain(re.sub(r"^\.B[RI]? ", "", lines[i + 1])))
    return found


class Manual(e2e.TestCase):
    def check(self, page, *command):
        """Each line of the help has its tag and each tag its line."""
        lines, _ = help_lines(*command)
        left = tags(PAGES / page, "OPTIONS")
        self.assertEqual(len(left), len(set(left)), "a flag twice")
        for line in lines:
            tag = next((t for t in left if line.startswith(t + " ") and
                        (len(t) > WIDTH or line[:WIDTH].rstrip() == t)), None)
            self.assertIsNotNone(tag, f"docs/man/{page} lacks: {line}")
            left.remove(tag)
        self.assertEqual(left, [], f"docs/man/{page} has more than --help")

    def test_plimc(self):
        self.check("plimc.1", e2e.PLIMC)

    def test_plim_opt(self):
        self.check("plim-opt.1", e2e.BUILD / "tools" / "plim-opt")

    def test_plim_dump(self):
        self.check("plim-dump.1", e2e.PLIM_DUMP)

    def test_programs(self):
        program = self.compile(e2e.GRAPHS / "mlp.graph")
        self.check("plimsoll-program.7", program)
        head = self.good(program, "--help").stdout.split("\n\n")[0]
        commands = re.findall(r"^  (\w+)", head, re.M)
        self.assertEqual(tags(PAGES / "plimsoll-program.7", "COMMANDS"), commands)

    def test_pages_are_well_formed(self):
        for page in PAGES.iterdir():
            done = self.good("groff", "-ww", "-man", "-Tutf8", "-z", page)
            self.assertEqual(done.stderr, "", page)
            # "name - what it is", as apropos reads it.
            name = page.read_text().split(".SH NAME\n")[1].splitlines()[0]
            self.assertRegex(plain(name), rf"^{page.stem} - \w")


if __name__ == "__main__":
    e2e.unittest.main()
