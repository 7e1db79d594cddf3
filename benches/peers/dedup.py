#!/usr/bin/env python3
"""Near-duplicates with datasketch and rensa, beside `cargo run --release -p firebox-data --example near_duplicates`.

    python dedup.py FILE.jsonl [--firebox EXAMPLE] [--runs 3] [--threads 2] [--documents N]

Timed is all from the texts, one string each, to the list of documents that stay. Both peers get what
Firebox works with by default: n-grams of five words (lower case, cut at white space, which is less work
than Firebox's simplification), 112 permutations, 14 bands of 8. Their paths are the fastest they document:

- datasketch: `MinHash.generator` over encoded n-grams, then `MinHashLSH`, insert and query.
- rensa: `digest_matrix_from_token_sets`, then `query_duplicate_flags_matrix_one_shot`; `rho` is its pipeline
  that looks at a sample of the n-grams only (of another order, and so another result); `words` leaves the
  n-grams out and compares single words, as the example in its README does.

rensa's flags say which documents have a candidate; the list of those that stay is not made, and not timed.
With --firebox, the example runs before and after the peers. One JSON object on stdout.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

N_GRAM, N_BANDS, N_ROWS, SEED = 5, 14, 8, 1
N_PERMUTATIONS = N_BANDS * N_ROWS


def read_texts(path: str, limit: int | None) -> list[str]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file][:limit]


def n_grams(text: str) -> list[str]:
    words = text.lower().split()
    if len(words) <= N_GRAM:
        return [" ".join(words)] if words else []
    return [" ".join(words[i : i + N_GRAM]) for i in range(len(words) - N_GRAM + 1)]


def datasketch_kept(texts: list[str]) -> int:
    from datasketch import MinHash, MinHashLSH

    encoded = ([n_gram.encode() for n_gram in n_grams(text)] for text in texts)
    lsh = MinHashLSH(num_perm=N_PERMUTATIONS, params=(N_BANDS, N_ROWS))
    kept = 0
    for i, signature in enumerate(MinHash.generator(encoded, num_perm=N_PERMUTATIONS, seed=SEED)):
        if not lsh.query(signature):
            kept += 1
        lsh.insert(i, signature, check_duplication=False)
    return kept


def rensa_flagged(sets: list[list[str]], sketch: str) -> int:
    from rensa import RMinHash, RMinHashLSH

    matrix = getattr(RMinHash, sketch)(sets, num_perm=N_PERMUTATIONS, seed=SEED)
    lsh = RMinHashLSH(threshold=0.72, num_perm=N_PERMUTATIONS, num_bands=N_BANDS)
    return sum(lsh.query_duplicate_flags_matrix_one_shot(matrix))


def rensa(texts: list[str]) -> int:
    return rensa_flagged([n_grams(text) for text in texts], "digest_matrix_from_token_sets")


def rensa_rho(texts: list[str]) -> int:
    return rensa_flagged([n_grams(text) for text in texts], "digest_matrix_from_token_sets_rho")


def rensa_words(texts: list[str]) -> int:
    return rensa_flagged([text.split() for text in texts], "digest_matrix_from_token_sets")


def rensa_rho_words(texts: list[str]) -> int:
    return rensa_flagged([text.split() for text in texts], "digest_matrix_from_token_sets_rho")


def python_n_grams(texts: list[str]) -> int:
    """What the n-grams alone take, so that a reader can leave them out."""
    return sum(len(n_grams(text)) for text in texts)


def measure(work, texts: list[str], n_runs: int) -> dict:
    seconds = []
    for _ in range(n_runs):
        start = time.perf_counter()
        result = work(texts)
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(f"{work.__name__}: {median:.3f} s, {len(texts) / median:.0f} documents/s", file=sys.stderr)
    return {
        "documents_per_s": len(texts) / median,
        "seconds": seconds,
        "result": result,
    }


def run_firebox(arguments) -> str:
    command = [arguments.firebox, arguments.data, str(arguments.threads), "5"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--firebox", help="the built example near_duplicates")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--documents", type=int, help="the first so many only")
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)

    texts = read_texts(arguments.data, arguments.documents)
    results = {"n_documents": len(texts), "threads": arguments.threads, "firebox": []}
    if arguments.firebox:
        results["firebox"].append(run_firebox(arguments))
    for work in (rensa, rensa_rho, rensa_words, rensa_rho_words, python_n_grams):
        results[work.__name__] = measure(work, texts, arguments.runs)
    results["datasketch"] = measure(datasketch_kept, texts, 1)
    if arguments.firebox:
        results["firebox"].append(run_firebox(arguments))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
