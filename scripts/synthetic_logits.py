#!/usr/bin/env python3
"""Writes router logits like those of a trained layer, the same every time: synthetic_logits.py OUT
[SEQUENCES TOKENS EXPERTS]. A logit is what its expert is liked by all (0.5), by its block of 32
tokens (1.0) and by its token (1.0), each times a standard normal number. `masked` gives the
sequences mask ratios from 0 to 1."""
import array
import json
import random
import struct
import sys


def main():
    out = sys.argv[1]
    sequences, tokens, experts = (int(n) for n in sys.argv[2:5] or (8, 128, 64))
    draw = random.Random(20260401)
    liked = [draw.gauss(0, 0.5) for _ in range(experts)]
    logits, masked = array.array("f"), bytearray()
    for sequence in range(sequences):
        ratio = (sequence + 0.5) / sequences
        for token in range(tokens):
            if token % 32 == 0:
                block = [like + draw.gauss(0, 1) for like in liked]
            logits.extend(like + draw.gauss(0, 1) for like in block)
            masked.append(draw.random() < ratio)
    if sys.byteorder == "big":
        logits.byteswap()
    data = logits.tobytes() + bytes(masked)
    end = 4 * len(logits)
    header = json.dumps({
        "logits": {"dtype": "F32", "shape": [sequences, tokens, experts], "data_offsets": [0, end]},
        "masked": {"dtype": "U8", "shape": [sequences, tokens], "data_offsets": [end, len(data)]},
    }).encode()
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


if __name__ == "__main__":
    main()
