#!/usr/bin/env python3
"""Writes runtime/unicode_class.def: which characters are letters and which are numbers.

Published tokenizers split text by \\p{L} and \\p{N} as the regular expressions of the `tokenizers`
package know them, so that package is asked rather than Python's own tables. Needs: pip install tokenizers.

    tests/compare/unicode_classes.py > runtime/unicode_class.def
"""
import tokenizers
from tokenizers import Regex, pre_tokenizers

CHARACTERS = [chr(c) for c in range(0x110000) if not 0xd800 <= c <= 0xdfff]


def matched(pattern):
    """All code points the pattern matches alone."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found = set()
    for begin in range(0, len(CHARACTERS), 4096):
        for piece, _ in split.pre_tokenize_str("".join(CHARACTERS[begin:begin + 4096])):
            found.update(map(ord, piece))
    return found


def ranges(points, name):
    out = []
    for p in sorted(points):
        if out and out[-1][1] == p - 1:
            out[-1][1] = p
        else:
            out.append([p, p, name])
    return out


def main():
    rows = sorted(ranges(matched(r"\p{L}"), "LETTER") + ranges(matched(r"\p{N}"), "NUMBER"))
    print("// Written by tests/compare/unicode_classes.py: letters and numbers by code point, sorted.")
    print("// Source: the regular expressions of tokenizers", tokenizers.__version__)
    print("// clang-format off")
    for begin in range(0, len(rows), 4):
        print(" ".join(f"R(0x{a:04x}, 0x{b:04x}, {name})" for a, b, name in rows[begin:begin + 4]))


main()
