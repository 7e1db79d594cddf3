"""Writes shard_v1.tokens by the table in src/token_shards/header.rs. Run: python shard_v1.py (needs xxhash)"""
import pathlib
import struct

import xxhash

DOCUMENTS = [[1, 2, 65535], [], [7, 8]]
HAS_LOSS = [False, True, True, True, False]

tokens = b"".join(struct.pack("<H", token) for document in DOCUMENTS for token in document)
tokens += bytes(-len(tokens) % 8)
mask = struct.pack("<Q", sum(on << bit for bit, on in enumerate(HAS_LOSS)))
starts = [sum(map(len, DOCUMENTS[:n])) for n in range(len(DOCUMENTS) + 1)]
contents = tokens + mask + struct.pack("<4Q", *starts)
header = b"FBTOKENS" + struct.pack("<IIQQQQQ", 1, 2, 1, 1 << 16, 0x0123456789ABCDEF, len(DOCUMENTS), len(HAS_LOSS))
header += struct.pack("<Q", xxhash.xxh3_64_intdigest(contents)) + bytes(56)
header += struct.pack("<Q", xxhash.xxh3_64_intdigest(header))
assert len(header) == 128
pathlib.Path(__file__).with_name("shard_v1.tokens").write_bytes(header + contents)
