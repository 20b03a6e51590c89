"""Megatron data sets from the format's description alone, to check the C++ reader and writer.

indexed_dataset.py read PREFIX          prints each document's ids on a line
indexed_dataset.py write PREFIX CODE    documents [1 2][3] | [4] | (empty) | [5 6 7], brackets = sequences
"""

import struct
import sys

FORMATS = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 8: "H"}
DOCUMENTS = [[[1, 2], [3]], [[4]], [], [[5, 6, 7]]]


def read(prefix):
    index = open(prefix + ".idx", "rb").read()
    tokens = open(prefix + ".bin", "rb").read()
    magic, version, code, sequences, entries = struct.unpack_from("<9sQBQQ", index, 0)
    assert magic == b"MMIDIDX\0\0" and version == 1, (magic, version)
    place = 34
    lengths = struct.unpack_from(f"<{sequences}i", index, place)
    place += 4 * sequences
    offsets = struct.unpack_from(f"<{sequences}q", index, place)
    place += 8 * sequences
    documents = struct.unpack_from(f"<{entries}q", index, place)
    assert place + 8 * entries == len(index)
    for first, last in zip(documents, documents[1:]):
        ids = []
        for s in range(first, last):
            ids += struct.unpack_from(f"<{lengths[s]}{FORMATS[code]}", tokens, offsets[s])
        print(*ids)
    print("type", code, "bytes", len(tokens))


def write(prefix, code):
    sequences = [s for document in DOCUMENTS for s in document]
    width = struct.calcsize("<" + FORMATS[code])
    offsets = [sum(map(len, sequences[:i])) * width for i in range(len(sequences))]
    ends = [sum(map(len, DOCUMENTS[:i])) for i in range(len(DOCUMENTS) + 1)]
    with open(prefix + ".bin", "wb") as file:
        for s in sequences:
            file.write(struct.pack(f"<{len(s)}{FORMATS[code]}", *s))
    with open(prefix + ".idx", "wb") as file:
        file.write(struct.pack("<9sQBQQ", b"MMIDIDX", 1, code, len(sequences), len(ends)))
        file.write(struct.pack(f"<{len(sequences)}i", *map(len, sequences)))
        file.write(struct.pack(f"<{len(offsets)}q", *offsets))
        file.write(struct.pack(f"<{len(ends)}q", *ends))


if sys.argv[1] == "read":
    read(sys.argv[2])
else:
    write(sys.argv[2], int(sys.argv[3]))
