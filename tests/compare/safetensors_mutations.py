#!/usr/bin/env python3
"""Damaged safetensors files, our verdict beside that of the format's own library.

    PLIM_BUILD=build/release tests/compare/safetensors_mutations.py [--files 1000] [--seed 1] [--record FILE]

Needs the package safetensors, and numpy under it. Each file is made from a good one by one mutation of a kind (header
bytes, lengths, offsets, types, duplicate keys, holes, overlaps, truncation, huge numbers, deep JSON, ...). Both readers
open it. What the library refuses we must refuse; what we refuse and it takes is listed by kind: the limits are
ours (docs/weights.md). --record writes some files of each kind with the library's verdict, for the unit test.
Exit status 1 where we took a file that it refuses.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import safetensors

BUILD = pathlib.Path(os.environ["PLIM_BUILD"]).resolve()
DTYPES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8,
          "I64": 8, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1}
HUGE = [2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**65, 10**30, -1, -2**63]


def good_tensors(r):
    tensors, at = [], 0
    for i in range(r.randint(1, 4)):
        dtype = r.choice(list(DTYPES))
        shape = [r.choice([0, 1, 2, 3, 5]) for _ in range(r.randint(0, 3))]
        size = DTYPES[dtype]
        for n in shape:
            size *= n
        tensors.append([f"t.{i}", {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}])
        at += size
    return tensors, at


def dump(tensors, metadata=None):
    """Pairs, so that keys may stand twice."""
    parts = [] if metadata is None else ['"__metadata__":' + json.dumps(metadata)]
    parts += [json.dumps(name) + ":" + (entry if isinstance(entry, str) else json.dumps(entry))
              for name, entry in tensors]
    return ("{" + ",".join(parts) + "}").encode()


def pack(header, data, length=None, align=False):
    if align:
        header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header) if length is None else length & (2**64 - 1)) + header + bytes(data)


def mutate_byte(r, t, n):
    header = bytearray(dump(t, {"a": "b"}))
    for _ in range(r.randint(1, 3)):
        header[r.randrange(len(header))] = r.randrange(256)
    return pack(bytes(header), n)


def mutate_insert(r, t, n):
    header = bytearray(dump(t))
    at = r.randrange(len(header) + 1)
    header[at:at] = r.choice([b",", b"{", b"}", b'"', b" ", b"\n", b"\0", b"[", b"0", b"-", b"\\", b"\xff", b"1e3", b"//", b"null"])
    return pack(bytes(header), n)


def mutate_delete(r, t, n):
    header = bytearray(dump(t))
    at = r.randrange(len(header))
    del header[at:at + r.randint(1, 6)]
    return pack(bytes(header), n)


def mutate_length(r, t, n):
    header = dump(t)
    return pack(header, n, r.choice([0, 1, len(header) - 1, len(header) + 1, len(header) + n, len(header) + n + 1] + HUGE))


def mutate_truncate(r, t, n):
    whole = pack(dump(t), n)
    return whole[:r.randrange(len(whole))]


def mutate_append(r, t, n):
    return pack(dump(t), n) + bytes(r.randint(1, 9))


def mutate_offset(r, t, n):
    entry = r.choice(t)[1]
    entry["data_offsets"][r.randrange(2)] += r.choice([-8, -4, -1, 1, 4, 8])
    return pack(dump(t), n)


def mutate_huge_offset(r, t, n):
    entry = r.choice(t)[1]
    entry["data_offsets"][r.randrange(2)] = r.choice(HUGE)
    return pack(dump(t), n)


def mutate_huge_shape(r, t, n):
    entry = r.choice(t)[1]
    entry["shape"] = entry["shape"] + [r.choice(HUGE)] if r.random() < .5 else [r.choice(HUGE), r.choice(HUGE)]
    return pack(dump(t), n)


def mutate_shape(r, t, n):
    entry = r.choice(t)[1]
    entry["shape"] = r.choice([entry["shape"] + [2], entry["shape"][1:], [1] + entry["shape"], entry["shape"] + [1.0],
                               entry["shape"] + ["1"], None, {}, "1", 3, [[1]], [True], [1] * 9])
    return pack(dump(t), n)


def mutate_dtype(r, t, n):
    entry = r.choice(t)[1]
    entry["dtype"] = r.choice(["F33", "f32", "", "F32 ", None, 3, ["F32"], "C64", "F4", "F6_E2M3", "F8_E8M0"] + list(DTYPES))
    return pack(dump(t), n)


def mutate_numbers(r, t, n):
    entry = r.choice(t)
    text = json.dumps(entry[1])
    digits = [i for i, c in enumerate(text) if c.isdigit() and text[i - 1] in "[ "]
    at = r.choice(digits) if digits else 0
    entry[1] = text[:at] + r.choice(["0", "-", "+", "00", "1e0", "0x", "-0", " "]) + text[at:]
    return pack(dump(t), n)


def mutate_duplicate_tensor(r, t, n):
    t.append(json.loads(json.dumps(r.choice(t))))
    return pack(dump(t), n)


def mutate_duplicate_field(r, t, n):
    entry = r.choice(t)
    field = r.choice(["dtype", "shape", "data_offsets"])
    entry[1] = json.dumps(entry[1])[:-1] + f', "{field}": {json.dumps(entry[1][field])}}}'
    return pack(dump(t), n)


def mutate_escaped_duplicate(r, t, n):
    copy = json.loads(json.dumps(r.choice(t)))
    text = dump(t)[:-1] + b',"' + "".join(f"\\u{ord(c):04x}" for c in copy[0]).encode() + b'":' + json.dumps(copy[1]).encode() + b"}"
    return pack(text, n)


def mutate_field(r, t, n):
    entry = r.choice(t)[1]
    if r.random() < .5:
        entry.pop(r.choice(list(entry)))
    else:
        entry[r.choice(["extra", "", "Dtype"])] = r.choice([1, "x", None, [1]])
    return pack(dump(t), n)


def mutate_hole(r, t, n):
    gap = r.randint(1, 8)
    first = r.randrange(len(t))
    for _, entry in t[first:]:
        entry["data_offsets"] = [x + gap for x in entry["data_offsets"]]
    return pack(dump(t), n + gap)


def mutate_overlap(r, t, n):
    entry = r.choice(t)[1]
    size = entry["data_offsets"][1] - entry["data_offsets"][0]
    begin = r.randrange(max(1, n - size + 1))
    entry["data_offsets"] = [begin, begin + size]
    return pack(dump(t), n)


def mutate_reversed(r, t, n):
    entry = r.choice(t)[1]
    entry["data_offsets"] = entry["data_offsets"][::-1]
    return pack(dump(t), n)


def mutate_order(r, t, n):
    r.shuffle(t)
    return pack(dump(t), n, align=True)


def mutate_metadata(r, t, n):
    return pack(dump(t, r.choice([None, {}, {"a": "b", "c": ""}, {"a": 1}, {"a": None}, [], "x", 1, {"a": {"b": "c"}},
                                  {"a": ["b"]}, {"": "\u00e9\u0000"}, {"a": "\U0001f600"}])), n)


def mutate_deep(r, t, n):
    depth = r.choice([3, 60, 127, 128, 129, 1000, 20000])
    t.append(["deep", "[" * depth + "]" * depth if r.random() < .5 else '{"a":' * depth + "1" + "}" * depth])
    return pack(dump(t), n)


def mutate_surround(r, t, n):
    header = dump(t)
    return pack(r.choice([b" " + header, b"\n" + header, header + b" ", header + b"\0", header + b"x", header + header,
                          b"\xef\xbb\xbf" + header, b"[" + header + b"]", b"", b"{", b"null", header + b"\t\r\n "]), n)


def mutate_name(r, t, n):
    t[0][0] = r.choice(["", "a\0b", "\u00e9", "a" * 1023, "a" * 3000, "../x", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
                        "a\nb", "__metadata__", '"', "\\"])
    return pack(dump(t), n)


def mutate_surrogate(r, t, n):
    text = dump(t)[:-1] + b',"' + r.choice([rb"\ud800", rb"\udc00\ud800", rb"\ud83d\ude00", rb"\ud83dx", rb"\u12", rb"\x41", rb"\/"])
    return pack(text + b'":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', n)


KINDS = {name[7:]: f for name, f in list(globals().items()) if name.startswith("mutate_")}


def library_takes(path):
    try:
        with safetensors.safe_open(path, framework="np") as f:
            list(f.keys())
        return True
    except Exception:  # Whatever it raises is a refusal; a panic of its core is none of our business
        return False
    except BaseException:
        return False


def ours_take(reader, paths):
    done = subprocess.run([reader, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths)
    return [line == "good" for line in lines]


def record(out, cases):
    """A C table: header and data bytes as a string, the library's verdict."""
    with open(out, "w") as f:
        for kind, raw, verdict in cases:
            text = "".join(chr(c) if 32 <= c < 127 and c not in b'"\\?' else f"\\{c:03o}" for c in raw)
            pieces = []
            while text:
                cut = min(len(text), 80)
                while cut < len(text) and "\\" in text[max(0, cut - 3):cut]:
                    cut += 1
                pieces.append(text[:cut])
                text = text[cut:]
            f.write(f"    {{\"{kind}\", {len(raw)}, {'true' if verdict else 'false'},\n")
            f.write("".join(f"     \"{p}\"\n" for p in pieces or [""]) + "    },\n")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--files", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--record")
    o = arguments.parse_args()
    r = random.Random(o.seed)
    names = sorted(KINDS)
    table = collections.defaultdict(collections.Counter)
    wrong, kept = [], []
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for i in range(o.files):
            kind = names[i % len(names)]
            tensors, size = good_tensors(r)
            raw = KINDS[kind](r, tensors, size)
            path = pathlib.Path(folder) / f"{i}.safetensors"
            path.write_bytes(raw)
            cases.append((kind, path, raw))
        ours = ours_take(BUILD / "tests/compare/safetensors_verdict", [path for _, path, _ in cases])
        for (kind, path, raw), mine in zip(cases, ours):
            theirs = library_takes(path)
            table[kind][(mine, theirs)] += 1
            if mine and not theirs:
                wrong.append((kind, raw))
            # Three of a kind are enough for the unit test, and none that we are stricter about.
            if mine == theirs and len(raw) < 600 and sum(k == kind for k, _, _ in kept) < 3:
                kept.append((kind, raw, theirs))
    print(f"safetensors {safetensors.__version__}, {o.files} files, seed {o.seed}")
    print(f"| {'mutation':<18} | both take | both refuse | only we refuse | only we take |\n|---|---|---|---|---|")
    for kind in names:
        c = table[kind]
        print(f"| {kind:<18} | {c[True, True]} | {c[False, False]} | {c[False, True]} | {c[True, False]} |")
    c = sum(table.values(), collections.Counter())
    print(f"| {'all':<18} | {c[True, True]} | {c[False, False]} | {c[False, True]} | {c[True, False]} |")
    for kind, raw in wrong[:10]:
        print(f"only we take ({kind}): {raw[:300]!r}")
    if o.record:
        record(o.record, kept)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
