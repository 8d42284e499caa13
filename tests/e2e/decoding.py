"""Greedy text of gpt2 and llama, token by token over the cache, is what the whole forward pass says of each
growing prefix: for prompts of one token, of some, and of more than the first variant takes."""
import json
import random
import re
import struct

import e2e

# The last logits of a prefix, without a cache.
FULL = """
  entry full(tokens: i32[1, context], length: i32) { return sample(logits(tokens)[.., length - 1]) }
}
"""
CONTEXT, NEW = 136, 5
PROMPTS = ("a", "so it goes", "All is computed again for every prefix. " * 4)
SMALL = {
    "gpt2": ("layers=2", "width=32", "heads=4"),
    "llama": ("layers=2", "width=32", "heads=4", "groups=2", "ffn=48", "stretch=4", "old_context=64"),
}


def write_i32(path, shape, values):
    """A .npy file (version 1.0)."""
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}"
    header = header.ljust(127 - 10) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}i", *values))


class Decoding(e2e.TestCase):
    def write_weights(self, source, options):
        """Random weights, large enough that prefixes matter."""
        text = self.good(e2e.PLIMC, source, "--emit", "graph", "-o", "-", *options).stdout
        numbers = random.Random(7)
        header, data = {}, b""
        for name, shape, rest in re.findall(r'^state @(\S+): f32\[([\d,]+)\] \{kind = "param"(.*)\}', text, re.M):
            file = re.search(r'file = "([^"]+)"', rest)
            dims = [int(d) for d in shape.split(",")]
            count = 1
            for d in dims:
                count *= d
            values = [numbers.gauss(1.0 if len(dims) == 1 else 0.0, 0.25) for _ in range(count)]
            header[file.group(1) if file else name] = {"dtype": "F32", "shape": dims,
                                                       "data_offsets": [len(data), len(data) + 4 * count]}
            data += struct.pack(f"<{count}f", *values)
        head = json.dumps(header).encode()
        (self.folder / "w.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)

    def generated(self, program, prompt):
        self.good(program, "generate", "--weights", "w.safetensors", "--prompt", prompt, "--tokens", str(NEW),
                  "--temperature", "0", "--log", "log")
        return [json.loads(line)["token"] for line in (self.folder / "log").read_text().splitlines()]

    def said_of(self, program, prefix):
        write_i32(self.folder / "tokens.npy", [1, CONTEXT], prefix + [0] * (CONTEXT - len(prefix)))
        write_i32(self.folder / "length.npy", [], [len(prefix)])
        self.good(program, "run", "full", "--weights", "w.safetensors", "--in", "tokens=tokens.npy",
                  "--in", "length=length.npy", "--set", "temperature=0", "--out", "0=next.npy")
        return struct.unpack("<i", (self.folder / "next.npy").read_bytes()[-4:])[0]

    def check(self, name):
        source = self.folder / f"{name}.plim"
        text = (e2e.SOURCE / "models" / f"{name}.plim").read_text().rstrip()
        source.write_text(text[:-1] + FULL)
        options = ["--config", "tiny", "--entry", "prefill,decode,full"]
        for size in (f"context={CONTEXT}", "batch=2") + SMALL[name]:
            options += ["-D", size]
        program = self.compile(source, *options, out=name)
        self.write_weights(source, options)
        seen = set()
        for prompt in PROMPTS:
            tokens = list(prompt.encode())[:CONTEXT - NEW]
            got = self.generated(program, bytes(tokens).decode())
            self.assertEqual(len(got), NEW)
            for token in got:
                self.assertEqual(token, self.said_of(program, tokens), (name, prompt, got))
                tokens.append(token)
            seen.update(got)
        # A model that says the same whatever it reads would prove nothing.
        self.assertGreater(len(seen), 2)

    def test_gpt2(self):
        self.check("gpt2")

    def test_llama(self):
        self.check("llama")


if __name__ == "__main__":
    e2e.unittest.main()
