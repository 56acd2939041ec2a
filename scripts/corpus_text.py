#!/usr/bin/env python3
"""Takes the text out of the data files of Debian packages, for scripts/corpus; writes UTF-8.

corpus_text.py novels FILE.rdb   string vectors of an R lazy-load database, a novel each
corpus_text.py verses FILE       lines "Book1:1 text" of `bible -f`, the chapters apart
corpus_text.py dictionary FILE   a dictd database: Latin-1 and other strays are dropped
FILE may be - for the standard input.
"""

import re
import struct
import sys
import zlib

STRING_VECTOR = 16  # R's types of objects, in the low byte of their flags
CHARACTERS = 9
SHORTEST_NOVEL = 100_000  # bytes; what is shorter are word lists and names


def records(database):
    """The objects of a lazy-load database: u32 big-endian size, then a zlib stream of that size."""
    while len(database) > 4:
        stream = zlib.decompressobj()
        try:
            yield stream.decompress(database[4:])
        except zlib.error as error:
            sys.exit(f"corpus_text.py: not an R lazy-load database: {error}")
        database = stream.unused_data


def strings_at(record, offset):
    """The strings of the vector whose flags are at `offset`, or None if that is no vector."""
    flags, count = struct.unpack_from(">ii", record, offset)
    if flags & 0xFF != STRING_VECTOR or count < 1 or 8 * count > len(record):
        return None
    offset += 8
    strings = []
    for _ in range(count):
        if offset + 8 > len(record):
            return None
        flags, size = struct.unpack_from(">ii", record, offset)
        offset += 8
        if flags & 0xFF != CHARACTERS or size < 0 or offset + size > len(record):
            return None
        strings.append(record[offset : offset + size])
        offset += size
    return strings if sum(map(len, strings)) >= SHORTEST_NOVEL else None


def vectors(record):
    offset = 0
    while offset + 8 <= len(record):
        strings = strings_at(record, offset)
        if strings is None:
            offset += 1
            continue
        yield strings
        offset += 8 + sum(8 + len(s) for s in strings)


def paragraphs(text):
    """Without line ends of other systems, runs of blank lines, and what the editors put around it."""
    text = text.replace("\r\n", "\n").lstrip("\ufeff")
    text = re.split(r"^\*\*\* ?START OF .*\*\*\*$", text, maxsplit=1, flags=re.MULTILINE)[-1]
    text = re.split(r"^(?:\*\*\* ?END OF |End of Project Gutenberg)", text, flags=re.MULTILINE)[0]
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def novels(data):
    found = [v for record in records(data) for v in vectors(record)]
    return [paragraphs(b"\n".join(v).decode("utf-8", "replace")) for v in found]


def verses(data):
    """Chapters, a verse a line."""
    chapters = {}
    for line in data.decode("utf-8", "replace").splitlines():
        place = re.match(r"\s*(\S.*?\d+):\d+\s+(.*)", line)
        if place:
            chapters.setdefault(place[1], []).append(place[2].strip())
    return ["\n".join(lines) for lines in chapters.values()]


def dictionary(data):
    text = data.decode("utf-8", "ignore")
    return [paragraphs(text)]


def main():
    forms = {"novels": novels, "verses": verses, "dictionary": dictionary}
    if len(sys.argv) != 3 or sys.argv[1] not in forms:
        sys.exit(__doc__)
    with sys.stdin.buffer if sys.argv[2] == "-" else open(sys.argv[2], "rb") as file:
        texts = forms[sys.argv[1]](file.read())
    if not texts:
        sys.exit(f"corpus_text.py: no {sys.argv[1]} found in {sys.argv[2]}")
    sys.stdout.buffer.write(("\n\n".join(texts) + "\n").encode())


if __name__ == "__main__":
    main()
