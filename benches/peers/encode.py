#!/usr/bin/env python3
"""Encodes a corpus with tokenizers, tiktoken, kitoken and Firebox by turns, on one vocabulary.

    python encode.py TOKENIZER.json EN.txt ZH.txt --firebox ENCODE_CORPUS [--peers ENCODE_PEERS] [--threads 2]

EN.txt has a document a line; ZH.txt is cut into documents of 600 characters (its first 1.1 and last 6 million).
ENCODE_CORPUS is Firebox's example of this name, ENCODE_PEERS the program of `encode_rust/` (kitoken and the Rust
crate tokenizers); both built with `cargo build --release`. tiktoken gets the vocabulary and merges of TOKENIZER.json
as ranks, so that nothing is downloaded; its split pattern is the tokenizer's as near as one pattern can say it.
One line a contender and corpus, then the ratios. Ends with status 1 if Firebox's ids are not those of tokenizers.
"""

import argparse
import array
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

N_RUNS = 3
BATCH = 2000


def corpora(english: str, chinese: str) -> dict:
    lines = pathlib.Path(english).read_text(encoding="utf-8").split("\n")
    text = pathlib.Path(chinese).read_text(encoding="utf-8")
    text = text[:1_100_000] + text[-6_000_000:]
    pieces = [text[i : i + 600] for i in range(0, len(text), 600)]
    mixed = lines + pieces
    random.Random(0).shuffle(mixed)
    return {"english": lines[:17000], "chinese": pieces, "mixed": mixed}


def tiktoken_encoding(definition: dict):
    """The same tokens; a merge's rank is its position, and the bytes come before all merges."""
    import tiktoken

    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in visible]
    byte_of = {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(hidden)}
    ranks = {bytes([b]): b for b in range(256)}
    for merge in definition["model"]["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(bytes(byte_of[c] for c in left + right), len(ranks))
    return tiktoken.Encoding(
        "same-vocabulary", pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        mergeable_ranks=ranks, special_tokens={})


def timed(encode, documents: list) -> tuple[list, array.array]:
    """Seconds of each run, and the ids of the last one."""
    seconds, ids = [], array.array("I")
    for _ in range(N_RUNS):
        ids, total = array.array("I"), 0.0
        for i in range(0, len(documents), BATCH):
            batch = documents[i : i + BATCH]
            start = time.perf_counter()
            encoded = encode(batch)
            total += time.perf_counter() - start
            for row in encoded:
                ids.extend(row.ids if hasattr(row, "ids") else row)
        seconds.append(total)
    return seconds, ids


def run(program: str, *arguments: str, threads: int) -> dict:
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    output = subprocess.run([program, *arguments], check=True, capture_output=True, text=True, env=environment)
    return json.loads(output.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer")
    parser.add_argument("english")
    parser.add_argument("chinese")
    parser.add_argument("--firebox", required=True)
    parser.add_argument("--peers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="take every n-th document only")
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(arguments.tokenizer)
    definition = json.loads(pathlib.Path(arguments.tokenizer).read_text(encoding="utf-8"))
    tiktoken = tiktoken_encoding(definition)
    all_equal = True
    for name, documents in corpora(arguments.english, arguments.chinese).items():
        documents = documents[:: arguments.every]
        n_bytes = sum(len(d.encode()) for d in documents)
        print(f"{name}: {n_bytes / 1e6:.1f} MB, {len(documents)} documents, {arguments.threads} threads")
        best, expected = {}, None

        def report(contender: str, seconds: list, n_ids: int, is_equal) -> None:
            best[contender] = n_bytes / 1e6 / min(seconds)
            runs = ", ".join(f"{n_bytes / 1e6 / s:.1f}" for s in seconds)
            ids = "" if is_equal is None else ", ids equal" if is_equal else ", other ids"
            print(f"  {contender}: {runs} MB/s, {n_ids} ids{ids}", flush=True)

        for contender, encode in (
            ("tokenizers encode_batch", lambda b: tokenizer.encode_batch(b, add_special_tokens=False)),
            ("tokenizers encode_batch_fast", lambda b: tokenizer.encode_batch_fast(b, add_special_tokens=False)),
            ("tiktoken", lambda b: tiktoken.encode_ordinary_batch(b, num_threads=arguments.threads)),
        ):
            seconds, ids = timed(encode, documents)
            is_tiktoken = contender == "tiktoken"
            report(contender, seconds, len(ids), None if is_tiktoken else expected is None or ids == expected)
            expected = expected or ids
        with tempfile.TemporaryDirectory() as folder:
            path, ids_path = f"{folder}/documents.jsonl", f"{folder}/ids.bin"
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(d, ensure_ascii=False) + "\n" for d in documents)
            programs = [("firebox", [arguments.firebox])]
            if arguments.peers:
                programs += [("kitoken", [arguments.peers, "kitoken"]), ("tokenizers crate", [arguments.peers, "tokenizers"])]
            for contender, program in programs:
                result = run(*program, arguments.tokenizer, path, ids_path, threads=arguments.threads)
                ids = array.array("I", pathlib.Path(ids_path).read_bytes())
                report(contender, result["seconds"], len(ids), ids == expected)
                all_equal &= contender != "firebox" or ids == expected
        for contender, speed in best.items():
            if contender != "firebox":
                print(f"  firebox / {contender}: {best['firebox'] / speed:.2f}")
    sys.exit(0 if all_equal else 1)


if __name__ == "__main__":
    main()
