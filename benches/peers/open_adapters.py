"""Adapters of every kind, trained by Firebox, opened by PEFT: the same loss on a text?

    python benches/peers/open_adapters.py FIREBOX MODEL TEXTS.jsonl

FIREBOX is the program, MODEL a Hugging Face directory, TEXTS a file to train on for four steps.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

KINDS = {"lora": "", "rslora": "rank_stabilized = true", "dora": "dora = true", "pissa": 'init = "pissa"', "whole": 'modules_to_save = ["norm"]'}
TEXT = "The patients were treated with insulin and their blood glucose was measured every hour for two days."
CONFIG = """[model]
from = "{model}"
[adapter]
rank = 4
alpha = 8.0
targets = ["q_proj", "down_proj"]
{kind}
[data]
source = "{texts}"
seq_len = 64
batch_size = 1
limit = 50
[train]
n_steps = 4
schedule = {{ peak = 3e-3 }}
"""


def main():
    firebox, model, texts = (str(Path(path).resolve()) for path in sys.argv[1:])
    ids = AutoTokenizer.from_pretrained(model)(TEXT, return_tensors="pt")["input_ids"]
    load = lambda: AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    loss = lambda net: net(ids, labels=ids).loss.item()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        (Path(folder) / "text.txt").write_text(TEXT)
        run = lambda *words: json.loads(subprocess.run([firebox, *words, "--json"], cwd=folder, check=True, stdout=subprocess.PIPE).stdout)
        print(f"base {loss(load()):.6f}")
        for name, kind in KINDS.items():
            (Path(folder) / f"{name}.toml").write_text(CONFIG.format(model=model, kind=kind, texts=texts))
            run("train", "--config", f"{name}.toml")
            adapter = f"runs/{name}/adapter"
            ours = run("eval", "perplexity", "--model", model, "--adapter", adapter, "--text", "text.txt")["nll"]
            theirs = loss(PeftModel.from_pretrained(load(), Path(folder) / adapter).eval())
            print(f"{name:8s} firebox {ours:.6f}, PEFT {theirs:.6f}", flush=True)
            assert abs(ours - theirs) < 1e-4, name


main()
