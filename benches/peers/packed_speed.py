"""Packed models beside llama.cpp, and packing beside bitsandbytes, by turns on one machine.

    python packed_speed.py FIREBOX WORK [ROUNDS]

WORK is what setup.sh prepared. SmolLM2 in each of GGUF's formats for rows of 32, and a random Llama 1024 wide
in the K formats: prefill of 512 tokens and decoding of 128 after them in both programs, 2 threads. A Markdown table of
medians over ROUNDS (5 unless given), with the smallest and the largest ratio of a round.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from small_llama import llama_beside, save_beside

PROMPT, NEW, THREADS = 512, 128, "2"
SHAPE = (8192, 2048)
OF_32 = ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1")
OF_256 = ("q4_k", "q5_k", "q6_k")


def output(*args, **options):
    return subprocess.run([str(arg) for arg in args], check=True, capture_output=True, text=True, **options).stdout


def write_wide_llama(model, out):
    net = llama_beside(
        model, hidden_size=1024, intermediate_size=2816, num_hidden_layers=8, num_attention_heads=16,
        num_key_value_heads=4, max_position_embeddings=2048)
    save_beside(model, net, out)


def in_llama(work, path):
    def rate(n_prompt, n_new, depth):
        command = [work / "llama/bin/llama-bench", "-m", path, "-t", THREADS, "-p", n_prompt, "-n", n_new, "-d", depth,
                   "-r", 1, "-o", "json"]
        found = output(*command, env=os.environ | {"LD_LIBRARY_PATH": str(work / "llama/bin")})
        return json.loads(found)[0]["avg_ts"]

    return [rate(PROMPT, 0, 0), rate(0, NEW, PROMPT)]


def in_firebox(firebox, path):
    found = json.loads(output(firebox, "bench", "decode", "--model", path, "--weights", "blocks", "--threads", THREADS,
                              "--prompt-tokens", PROMPT, "--new-tokens", NEW, "--runs", "1", "--json"))
    return [found["prefill_tokens_per_s"], found["decode_tokens_per_s"]]


def cells(theirs, ours):
    ratios = sorted(b / a for a, b in zip(theirs, ours))
    median = statistics.median
    return f"{median(theirs):.0f} | {median(ours):.0f} | {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def packed_by_bitsandbytes(kind):
    import torch
    from bitsandbytes.functional import quantize_4bit

    torch.set_num_threads(int(THREADS))
    weight = torch.randn(SHAPE)
    start = time.perf_counter()
    quantize_4bit(weight, blocksize=64, quant_type=kind)
    return weight.numel() / (time.perf_counter() - start) / 1e6


def packed_by_firebox(firebox, kind):
    found = json.loads(output(firebox, "bench", "linear", "--format", kind, "--out", SHAPE[0], "--in",
                              SHAPE[1], "--seconds", "1", "--threads", THREADS, "--json"))
    return found["packed_per_s"] / 1e6


def main(firebox, work, rounds):
    out = work / "packed-speed"
    out.mkdir(exist_ok=True)
    smollm2, wide = work / "models/smollm2-f32", out / "wide"
    if not wide.exists():
        write_wide_llama(smollm2, wide)
    files = {form: (smollm2, out / f"{form}.gguf") for form in OF_32}
    files |= {form: (wide, out / f"{form}.gguf") for form in OF_256}
    for form, (model, path) in files.items():
        if not path.exists():
            output(firebox, "quantize", "--model", model, "--format", form, "--tensor",
                   f"model.embed_tokens.weight={form}", "--out", path)
    found = {form: ([], []) for form in files}
    for _ in range(rounds):
        for form, (_, path) in files.items():
            found[form][0].append(in_llama(work, path))
            found[form][1].append(in_firebox(firebox, path))
    print(f"{os.cpu_count()} CPUs, {output('sh', '-c', 'lscpu | grep Model.name').split(':')[1].strip()}, {THREADS} "
          f"threads, {rounds} rounds; tokens a second.\n")
    print("| format | model | prefill: llama.cpp | Firebox | ratio | decode: llama.cpp | Firebox | ratio |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for form, (model, _) in files.items():
        theirs, ours = (list(zip(*runs)) for runs in found[form])
        print(f"| {form} | {model.name} | {cells(theirs[0], ours[0])} | {cells(theirs[1], ours[1])} |")
    print("\n| packing, M weights a second | bitsandbytes | Firebox | ratio |\n|---|--:|--:|--:|")
    for kind in ("nf4", "fp4"):
        runs = [(packed_by_bitsandbytes(kind), packed_by_firebox(firebox, kind)) for _ in range(rounds)]
        print(f"| {kind} | {cells(*zip(*runs))} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), int(sys.argv[3]) if len(sys.argv) > 3 else 5)
