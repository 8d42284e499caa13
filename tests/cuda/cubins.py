"""Cubins in objects, and those kept in the user's cache: found, damaged, foreign, refused, and trimmed."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import e2e  # noqa: E402

MODEL = e2e.SOURCE / "models" / "mlp.plim"
HEAD = struct.Struct("<8sQQQ")
CACHE_BYTES = 512 << 20


def checksum(data):
    """FNV-1a, as codegen/cubin_cache.c has it."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


class Cubins(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"
        self.entries = self.cache / "plimsoll" / "cubins"

    def environment(self, **more):
        return {**os.environ, "XDG_CACHE_HOME": str(self.cache), **more}

    def emit(self, kind="obj", target="cuda:sm_90a", **more):
        """The bytes that plimc writes."""
        self.good(e2e.PLIMC, MODEL, "--config", "tiny", "--target", target, "--emit", kind, "-o", "out", "--quiet",
                  env=self.environment(**more))
        return (self.folder / "out").read_bytes()

    def list(self):
        return sorted(self.entries.iterdir())

    def test_bf16_before_its_instructions(self):
        self.good(e2e.PLIMC, MODEL, "--config", "tiny", "--precision", "bf16", "--target", "cuda:sm_75", "--emit", "cubin",
                  "-o", "old", "--quiet", env=self.environment())
        self.assertEqual((self.folder / "old").read_bytes()[:4], b"\x7fELF")

    def test_found_again(self):
        first = self.emit()
        entries = self.list()
        self.assertGreater(len(entries), 0)
        kept = [path.read_bytes() for path in entries]
        self.assertEqual(self.emit(), first)
        self.assertEqual([path.read_bytes() for path in self.list()], kept)

        # What an entry says is taken: one with other bytes and a right checksum comes out in the object.
        path, data = entries[0], kept[0]
        magic, key_bytes, cubin_bytes, _ = HEAD.unpack_from(data)
        key = data[HEAD.size:HEAD.size + key_bytes]
        self.assertEqual(len(data), HEAD.size + key_bytes + cubin_bytes)
        marked = b"marked" + data[HEAD.size + key_bytes + 6:]
        path.write_bytes(HEAD.pack(magic, key_bytes, cubin_bytes, checksum(key + marked)) + key + marked)
        self.assertIn(marked, self.emit())

        # Damaged, cut short, or another's: not there, and written anew.
        for broken in (data[:-1] + bytes([data[-1] ^ 1]), data[:-7], b"", data + b"x", b"x" * 40,
                       data.replace(b"sm_90a", b"sm_90b", 1)):
            path.write_bytes(broken)
            self.assertEqual(self.emit(), first)
            self.assertEqual(path.read_bytes(), data)

    def test_no_cache(self):
        first = self.emit()
        for more in ({"XDG_CACHE_HOME": "/dev/null"}, {"XDG_CACHE_HOME": "relative", "HOME": "/dev/null"},
                     {"XDG_CACHE_HOME": "", "HOME": str(self.folder)}):
            self.assertEqual(self.emit(**more), first)
        self.assertTrue((self.folder / ".cache" / "plimsoll" / "cubins").is_dir())

    def test_trimmed(self):
        self.emit()
        ours = self.list()
        for i in range(3):
            path = self.entries / f"{i:016x}"
            with open(path, "wb") as out:
                out.truncate(CACHE_BYTES // 3)
            os.utime(path, (i, i))
        other = self.entries / "keep"
        other.write_bytes(b"not ours")
        self.emit()
        # The oldest goes: then a quarter of the room is free.
        self.assertEqual(self.list(), sorted(ours + [self.entries / f"{i:016x}" for i in (1, 2)] + [other]))

    def test_text(self):
        text = self.emit("cuda").decode()
        self.assertIn("__global__", text)
        self.assertIn(".target sm_90a", self.emit("ptx").decode())
        self.assertEqual(self.emit("cubin")[:4], b"\x7fELF")
        self.assertEqual(self.emit("cubin", target="cuda:sm_80")[:4], b"\x7fELF")

    def test_several(self):
        both = self.emit(target="cuda:sm_80,sm_90a")
        self.assertEqual(both, self.emit(target="cuda:sm_80,sm_90a", XDG_CACHE_HOME="/dev/null"))
        for name in (b"sm_80\0", b"sm_90a\0"):
            self.assertIn(name, both)

    def test_same_code_once(self):
        # Whole blocks: the text doesn't say how many. The third's end doesn't fill one.
        entries = "\n".join(f"  entry e{columns}(x: f32[255, {columns}]) {{ return tanh(x) }}"
                            for columns in (1024, 2048, 1020))
        (self.folder / "same.plim").write_text(f"model same() {{\n{entries}\n}}\n")
        self.good(e2e.PLIMC, self.folder / "same.plim", "--target", "cuda:sm_90a", "--emit", "obj", "-o", "out", "--quiet",
                  env=self.environment())
        data = (self.folder / "out").read_bytes()
        self.assertIn(b"\0k1 k0\n\0", data)
        self.assertNotIn(b".text.k1\0", data)
        for name in (b".text.k0\0", b".text.k2\0"):
            self.assertIn(name, data)

    def test_options_that_a_library_knows(self):
        """--no-cache is CUDA 12.9's, an error before; 12.3 lacks others."""
        stand_in = """
#include <string.h>
static int refused;
int nvrtcVersion(int *major, int *minor) { *major = 12; *minor = MINOR; return 0; }
int nvrtcCreateProgram(void **out, const char *s, const char *n, int c, const char *const *h, const char *const *i) { *out = &refused; return 0; }
int nvrtcCompileProgram(void *h, int count, const char *const *option) {
    int good = MINOR < 9;
    for (int i = 0; i < count; i++)
        if (strcmp(option[i], "--no-cache") == 0) good = !good;
    return good ? 0 : 5;
}
int nvrtcGetProgramLogSize(void *h, size_t *out) { *out = 1; return 0; }
int nvrtcGetProgramLog(void *h, char *out) { *out = 0; return 0; }
int nvrtcGetCUBINSize(void *h, size_t *out) { *out = 4; return 0; }
int nvrtcGetCUBIN(void *h, char *out) { memcpy(out, "fake", 4); return 0; }
int nvrtcGetPTXSize(void *h, size_t *out) { *out = 1; return 0; }
int nvrtcGetPTX(void *h, char *out) { *out = 0; return 0; }
int nvrtcDestroyProgram(void **h) { return 0; }
const char *nvrtcGetErrorString(int r) { return "an option is unknown"; }
"""
        lib = self.folder / "lib"
        lib.mkdir()
        (self.folder / "stand_in.c").write_text(stand_in)
        for minor in (3, 4, 8, 9):
            self.good("cc", "-shared", "-fPIC", f"-DMINOR={minor}", "-o", lib / "libnvrtc.so.13", self.folder / "stand_in.c")
            if minor == 3:
                self.refused(e2e.PLIMC, MODEL, "--config", "tiny", "--target", "cuda:sm_80", "--emit", "cubin", "-o", "out",
                             env=self.environment(CUDA_HOME=str(self.folder)), says=r"error\[P0862\]: .*older than CUDA 12\.4")
            else:
                self.assertEqual(self.emit("cubin", CUDA_HOME=str(self.folder)), b"fake")

    def test_a_library_too_old(self):
        lib = self.folder / "lib"
        lib.mkdir()
        (self.folder / "empty.c").write_text("int plim_nothing;\n")
        self.good("cc", "-shared", "-o", lib / "libnvrtc.so.13", self.folder / "empty.c")
        self.refused(e2e.PLIMC, MODEL, "--config", "tiny", "--target", "cuda:sm_80", "--emit", "obj", "-o", "out",
                     env=self.environment(CUDA_HOME=str(self.folder)), says=r"error\[P0862\]: .*older than CUDA 12")


if __name__ == "__main__":
    e2e.unittest.main()
