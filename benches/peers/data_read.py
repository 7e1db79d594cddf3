#!/usr/bin/env python3
"""Reads and filters as `examples/filter_jsonl.rs` of firebox-data does, with polars, DuckDB and datasets;
reads MEDLINE XML with pubmed_parser (lxml).

    python data_read.py TASK FILE [FILE..]     TASK: polars, duckdb, datasets, pubmed_parser
    python data_read.py make pubmed.jsonl out.jsonl 500     repeats a file up to 500 MB

Two threads (polars and DuckDB; datasets: two processes for the filter), the files' pages in memory.
Each task prints one JSON object a run, with wall-clock seconds; the first run is warm-up.
"""

import json
import os
import sys
import time

N_THREADS, N_RUNS, MIN_CHARS, WORD = 2, 5, 1000, "patient"
os.environ.setdefault("POLARS_MAX_THREADS", str(N_THREADS))
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")


def polars(paths):
    import polars

    text = polars.col("text")
    keep = (text.str.len_chars() > MIN_CHARS) & text.str.contains(WORD, literal=True)
    return polars.scan_ndjson(paths).filter(keep).select(polars.len()).collect().item()


def duckdb(paths):
    import duckdb

    query = f"SELECT count(*) FROM read_json(?, format='newline_delimited') WHERE length(text) > {MIN_CHARS} AND contains(text, '{WORD}')"
    with duckdb.connect(config={"threads": N_THREADS}) as connection:
        return connection.execute(query, [paths]).fetchone()[0]


def datasets(paths):
    import tempfile

    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        data = datasets.load_dataset("json", data_files=paths, split="train", cache_dir=cache)
        keep = lambda row: len(row["text"]) > MIN_CHARS and WORD in row["text"]  # noqa: E731
        return len(data.filter(keep, num_proc=N_THREADS))


def pubmed_parser(paths):
    import pubmed_parser

    return sum(
        bool(article["abstract"])
        for path in paths
        for article in pubmed_parser.parse_medline_xml(path, year_info_only=True, nlm_category=False)
    )


def make(source, target, n_megabytes):
    lines = open(source, "rb").read()
    with open(target, "wb") as out:
        while out.tell() < int(n_megabytes) * 10**6:
            out.write(lines)


def main():
    task, *arguments = sys.argv[1:]
    if task == "make":
        return make(*arguments)
    run = {"polars": polars, "duckdb": duckdb, "datasets": datasets, "pubmed_parser": pubmed_parser}[task]
    n_runs = N_RUNS if task in ("polars", "duckdb") else 1
    n_bytes = sum(os.path.getsize(path) for path in arguments)
    for number in range(n_runs + (n_runs > 1)):
        start = time.perf_counter()
        n_kept = run(arguments)
        seconds = time.perf_counter() - start
        print(json.dumps({"task": task, "run": number, "n_kept": n_kept, "seconds": round(seconds, 4), "mb_per_s": round(n_bytes / 1e6 / seconds, 1)}))


if __name__ == "__main__":
    main()
