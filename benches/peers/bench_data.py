#!/usr/bin/env python3
"""The data pipeline beside what a user would pick instead, by turns, on one machine.

    python bench_data.py --data DIR --tokenizer TOKENIZER.json --programs target/release --out benches/results

DIR holds pubmed.jsonl, en.txt, zh.txt and the two MEDLINE files; what else is needed is made there. The
programs are `firebox` and the examples of firebox-data, built with
`cargo build --release --workspace --bins --examples`. Needs polars, duckdb, datasets, datasketch, rensa,
pubmed_parser, tokenizers and tiktoken. Writes DATE-CPU-data.json and .md. The machine must do nothing else.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
MEDLINE = ["pubmed20n0014.xml.gz", "pubmed21n1298.xml.gz"]
RECIPE = HERE.parent.parent / "configs" / "data" / "pubmed.toml"


def child(task: str, paths: list[str]) -> None:
    """One run of a peer after a warm-up of the library; prints seconds."""
    import data_read

    run = getattr(data_read, task)
    if task in ("polars", "duckdb"):
        run(paths)
    start = time.perf_counter()
    kept = run(paths)
    print(json.dumps({"seconds": time.perf_counter() - start, "kept": kept}))


def peer(task: str, paths: list[str]) -> float:
    command = [sys.executable, __file__, "child", task, *paths]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE).stdout
    return json.loads(output.splitlines()[-1])["seconds"]


def filter_jsonl(programs: pathlib.Path, threads: int, paths: list[str]) -> float:
    command = [str(programs / "examples" / "filter_jsonl"), str(threads), *paths]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(re.search(r"; ([0-9.]+) s,", output).group(1))


def clean(programs: pathlib.Path, threads: int, data: str, out: str, recipe: str) -> tuple[float, int]:
    """Seconds, and the peak of the memory in bytes."""
    command = [str(programs / "firebox"), "--threads", str(threads), "--json", "data", "clean", data, "--recipe", recipe, "--out", out]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"firebox data clean ended with {status}"
    return json.loads(output)["seconds"], usage.ru_maxrss * 1024


def rounds(n: int, contenders: dict) -> dict:
    """Seconds of each contender, by turns; round r begins with contender r."""
    names, seconds = list(contenders), {name: [] for name in contenders}
    for r in range(n):
        for i in range(len(names)):
            name = names[(r + i) % len(names)]
            seconds[name].append(contenders[name]())
    return seconds


def sized(path: pathlib.Path, source: pathlib.Path, n_bytes: int) -> str:
    if not path.exists() or path.stat().st_size < n_bytes:
        lines = source.read_bytes()
        with open(path, "wb") as out:
            while out.tell() < n_bytes:
                out.write(lines)
    return str(path)


def encode_runs(data: pathlib.Path, tokenizer: str, programs: pathlib.Path, peers: str | None, every: int) -> dict:
    command = [sys.executable, str(HERE / "encode.py"), tokenizer, str(data / "en.txt"), str(data / "zh.txt"), "--firebox", str(programs / "examples" / "encode_corpus"), "--every", str(every)]
    command += ["--peers", peers] if peers else []
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    corpora, name = {}, None
    for line in lines:
        if match := re.match(r"  (.+?): ([0-9., ]+) MB/s, \d+ ids(.*)", line):
            speeds = [float(x) for x in match.group(2).split(", ")]
            corpora[name][match.group(1)] = {"mb_per_s": speeds, "ids": match.group(3).strip(", ")}
        elif match := re.match(r"(\w+): [0-9.]+ MB,", line):
            name = match.group(1)
            corpora[name] = {}
    return corpora


def dedup_runs(data: pathlib.Path, programs: pathlib.Path) -> dict:
    command = [sys.executable, str(HERE / "dedup.py"), str(data / "pubmed.jsonl"), "--firebox", str(programs / "examples" / "near_duplicates")]
    results = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # Speeds and counts; the pairs below them are other people's texts.
    results["firebox"] = ["\n".join(run.splitlines()[:3]) for run in results["firebox"]]
    return results


def row(work: str, ours: str, theirs: str, ours_s: list, theirs_s: list, target: float | None) -> dict:
    """Both sides in the same unit, less is better."""
    a, b = statistics.median(ours_s), statistics.median(theirs_s)
    return {"work": work, "ours": ours, "peer": theirs, "ours_median": a, "ours_spread": [min(ours_s), max(ours_s)], "peer_median": b, "peer_spread": [min(theirs_s), max(theirs_s)], "ratio": b / a, "target": target}


def table(rows: list, facts: dict) -> str:
    lines = [f"# Data pipeline, {facts['date']}", "", f"{facts['cpu']}, {facts['cores']} cores; {facts['rounds']} rounds by turns; commit {facts['commit']}. Seconds, medians with the least and the most; a ratio of 2 is twice as fast as the peer.", "", "| work | firebox | peer | ratio | target |", "|---|--:|--:|--:|--:|"]
    for r in rows:
        show = lambda m, s: f"{m:.3f} ({s[0]:.3f}–{s[1]:.3f})"  # noqa: E731
        target = "" if r["target"] is None else f"{r['target']:.1f} {'met' if r['ratio'] >= r['target'] else 'missed'}"
        lines.append(f"| {r['work']} | {show(r['ours_median'], r['ours_spread'])} | {r['peer']} {show(r['peer_median'], r['peer_spread'])} | {r['ratio']:.2f} | {target} |")
    return "\n".join(lines + ["", *facts["notes"], ""])


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        return child(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--encode-peers", help="the program of encode_rust/")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="encode only every so-manieth document")
    parser.add_argument("--largest", type=int, default=2000, help="MB of the largest file that is cleaned")
    a = parser.parse_args()
    a.data = a.data.resolve()
    a.programs = a.programs.resolve()
    half = sized(a.data / "half.jsonl", a.data / "pubmed.jsonl", 500_000_000)
    tenth = sized(a.data / "tenth.jsonl", a.data / "pubmed.jsonl", 100_000_000)
    big = sized(a.data / f"{a.largest}mb.jsonl", a.data / "pubmed.jsonl", a.largest * 1_000_000)
    xml = [str(a.data / name) for name in MEDLINE]
    rows, notes = [], []

    read = rounds(a.rounds, {"firebox": lambda: filter_jsonl(a.programs, 2, [half]), "one thread": lambda: filter_jsonl(a.programs, 1, [half]), "polars": lambda: peer("polars", [half]), "duckdb": lambda: peer("duckdb", [half])})
    best = min(("polars", "duckdb"), key=lambda name: statistics.median(read[name]))
    rows.append(row("JSONL read + filter, 500 MB", "firebox", best, read["firebox"], read[best], 1.2))
    rows.append(row("the same, datasets", "firebox", "datasets", read["firebox"], [peer("datasets", [half])], 5))
    rows.append(row("the same on 1 thread", "firebox", "firebox, 1 thread", read["firebox"], read["one thread"], 1.8))

    medline = rounds(min(a.rounds, 3), {"firebox": lambda: filter_jsonl(a.programs, 2, xml), "pubmed_parser": lambda: peer("pubmed_parser", xml)})
    rows.append(row("MEDLINE XML, 50,788 records", "firebox", "pubmed_parser", medline["firebox"], medline["pubmed_parser"], 5))

    runs = {1: [], 2: []}
    peaks = []
    out = str(a.data / "clean.jsonl.zst")
    for _ in range(2):
        for threads in (1, 2):
            seconds, peak = clean(a.programs, threads, tenth, out, str(RECIPE))
            runs[threads].append(seconds)
    rows.append(row("data clean, 100 MB, on 1 thread", "firebox", "firebox, 1 thread", runs[2], runs[1], 1.8))
    for data in (tenth, big):
        peaks.append(clean(a.programs, 2, data, out, str(RECIPE))[1])
    notes.append(f"Peak memory of `data clean` with `configs/data/pubmed.toml`: {peaks[0] / 1e6:.0f} MB on 100 MB, {peaks[1] / 1e6:.0f} MB on {a.largest} MB (target: at most 300 MB, and flat).")

    dedup = dedup_runs(a.data, a.programs)
    ours = [float(re.search(r"\(([0-9.]+) s", run).group(1)) for run in dedup["firebox"]]
    n = dedup["n_documents"]
    for name, target in (("datasketch", 10.0), ("rensa", 1.2), ("rensa_rho", None)):
        if name in dedup:
            rows.append(row(f"near-duplicates of {n} abstracts", "firebox", name, ours, dedup[name]["seconds"], target))

    encode = encode_runs(a.data, a.tokenizer, a.programs, a.encode_peers, a.every)
    for corpus, contenders in encode.items():
        ours = [1 / x for x in contenders["firebox"]["mb_per_s"]]
        notes.append(f"Encoding of {corpus}: " + "; ".join(f"{name} {statistics.median(c['mb_per_s']):.1f} MB/s {c['ids']}".strip() for name, c in contenders.items()) + ".")
        for name, target in (("tokenizers encode_batch", 3.0), ("tiktoken", 1.2), ("kitoken", 1.2)):
            if name in contenders:
                rows.append(row(f"encoding {corpus}, a MB", "firebox", name, ours, [1 / x for x in contenders[name]["mb_per_s"]], target if corpus == "mixed" else None))

    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    facts = {"date": datetime.date.today().isoformat(), "cpu": cpu, "cores": os.cpu_count(), "rounds": a.rounds, "commit": commit, "notes": notes}
    name = f"{facts['date']}-{re.sub(r'[^a-z0-9]+', '-', cpu.lower()).strip('-')}-data"
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / f"{name}.json").write_text(json.dumps({"facts": facts, "rows": rows, "encode": encode, "dedup": dedup}, indent=1) + "\n")
    (a.out / f"{name}.md").write_text(table(rows, facts))
    print(table(rows, facts))


if __name__ == "__main__":
    main()
