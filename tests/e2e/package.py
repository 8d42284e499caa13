"""The Debian package: built by cpack, laid out as Debian wants it, and used where it was unpacked."""
import gzip
import os
import re
import subprocess

import e2e


class Package(e2e.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tree = e2e.tempfile.TemporaryDirectory(prefix="plim-e2e-")
        cls.addClassCleanup(cls.tree.cleanup)
        cls.deb = cls.pack("one")
        cls.root = e2e.pathlib.Path(cls.tree.name) / "root"
        e2e.run("dpkg", "-x", cls.deb, cls.root)

    @classmethod
    def pack(cls, name, *options):
        folder = e2e.pathlib.Path(cls.tree.name) / name
        done = e2e.run("cpack", "-G", "DEB", "-B", folder, *options, cwd=e2e.BUILD,
                       env=dict(os.environ, SOURCE_DATE_EPOCH="1795262400"))
        assert done.returncode == 0, done.stdout + done.stderr
        deb, = folder.glob("*.deb")
        return deb

    def field(self, name):
        return self.good("dpkg-deb", "--field", self.deb, name).stdout.strip()

    def test_it_says_what_it_is_and_needs(self):
        self.assertEqual(self.field("Package"), "plimsoll")
        self.assertRegex(self.deb.name, r"^plimsoll_\d+\.\d+\.\d+_amd64\.deb$")
        needs = self.field("Depends")
        for word in ("gcc | c-compiler", "binutils", "libc6-dev", "libc6 (", "libllvm19", "libglpk"):
            self.assertIn(word, needs)
        self.assertRegex(self.field("Description"), r"^\S.*\n \S")

    def test_the_same_tree_gives_the_same_files(self):
        # Looking for the libraries it needs takes most of the time, and is no part of the files.
        again = self.pack("two", "-D", "CPACK_DEBIAN_PACKAGE_SHLIBDEPS=OFF")
        files = [subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
                 for deb in (self.deb, again)]
        self.assertEqual(files[0] == files[1], True)

    def test_owners_and_modes(self):
        for line in self.good("dpkg-deb", "--contents", self.deb).stdout.splitlines():
            mode, owner = line.split()[:2]
            self.assertEqual(owner, "root/root", line)
            self.assertRegex(mode, r"^(drwxr-xr-x|-rw-r--r--|-rwxr-xr-x|lrwxrwxrwx)$", line)

    def test_pages_changelog_and_copyright(self):
        doc = self.root / "usr/share/doc/plimsoll"
        version = self.field("Version")
        changes = gzip.decompress((doc / "changelog.gz").read_bytes()).decode()
        self.assertRegex(changes, rf"^plimsoll \({re.escape(version)}\) ")
        self.assertIn("/usr/share/common-licenses/Apache-2.0", (doc / "copyright").read_text())
        pages = sorted(p.name for p in (self.root / "usr/share/man").rglob("*.*"))
        self.assertEqual(pages, ["plim-dump.1.gz", "plim-opt.1.gz", "plimc.1.gz", "plimsoll-program.7.gz"])

    def test_programs_are_stripped_and_find_no_folder_of_the_build(self):
        for tool in ("plimc", "plim-opt", "plim-dump"):
            path = self.root / "usr/bin" / tool
            self.assertNotIn(".symtab", self.good("readelf", "-SW", path).stdout)
            self.assertNotIn("RPATH", self.good("readelf", "-d", path).stdout.replace("RUNPATH", "RPATH"))
            self.assertNotIn(str(e2e.BUILD).encode(), path.read_bytes())

    def test_it_works_where_it_was_unpacked(self):
        usr = self.root / "usr"
        self.good(usr / "bin/plimc", usr / "share/plimsoll/models/mlp.plim", "--config", "tiny", "--quiet", "-o", "mlp")
        self.assertIn("mlp", self.good(usr / "bin/plim-dump", "mlp").stdout)
        self.good("./mlp", "info", "--json")


if __name__ == "__main__":
    e2e.unittest.main()
