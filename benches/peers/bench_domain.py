#!/usr/bin/env python3
"""Fine-tunes with PEFT on PubMed abstracts of 1977 to 1979; the recipe that `firebox loop --model --data` follows.

    python bench_domain.py MODEL_DIR MEDLINE.xml.gz HELD_OUT.json

HELD_OUT.json has `pmids` (never trained on) and `token_ids` (the first 20 are scored).
48 steps of 4 x 128 tokens, LoRA r=8 on q_proj and v_proj, AdamW at 1e-3 without decay of the rate.
One JSON object on stdout.
"""

import argparse
import gzip
import json
import time
import xml.etree.ElementTree as ElementTree

import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

YEARS = ("1977", "1978", "1979")
N_DOCUMENTS, N_SCORED, N_STEPS, BATCH, SEQ = 400, 20, 48, 4, 128
SEPARATOR_ID = 0


def abstracts(path: str):
    """(PMID, year, title, text) of every record that has an abstract."""
    with gzip.open(path) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag != "PubmedArticle":
                continue
            parts = element.findall(".//Abstract/AbstractText")
            if parts:
                title = "".join(element.find(".//ArticleTitle").itertext())
                text = " ".join("".join(part.itertext()) for part in parts)
                yield element.findtext(".//PMID"), element.findtext(".//PubDate/Year"), title, text
            element.clear()


def training_rows(path: str, held_out: set, tokenizer) -> torch.Tensor:
    """The documents, a separator after each, cut into rows: `[n_rows, SEQ]`."""
    ids, n_documents = [], 0
    for pmid, year, title, text in abstracts(path):
        if year in YEARS and pmid not in held_out and 600 < len(text) < 1500:
            ids += tokenizer(f"{title}\n{text}", add_special_tokens=False)["input_ids"] + [SEPARATOR_ID]
            n_documents += 1
            if n_documents == N_DOCUMENTS:
                break
    return torch.tensor(ids[: len(ids) // SEQ * SEQ]).view(-1, SEQ)


@torch.no_grad()
def mean_nll(model, sequences: list) -> float:
    model.eval()
    total = n_tokens = 0
    for ids in sequences:
        row = torch.tensor([ids])
        total += model(input_ids=row, labels=row).loss.item() * (len(ids) - 1)
        n_tokens += len(ids) - 1
    model.train()
    return total / n_tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("medline")
    parser.add_argument("held_out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    arguments = parser.parse_args()

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    with open(arguments.held_out, encoding="utf-8") as file:
        held_out = json.load(file)
    scored = held_out["token_ids"][:N_SCORED]
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    rows = training_rows(arguments.medline, set(held_out["pmids"]), tokenizer)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32),
        LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], lora_dropout=0.0,
                   task_type="CAUSAL_LM"))

    before = mean_nll(model, scored)
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-3)
    start = time.perf_counter()
    for step in range(arguments.steps):
        batch = rows[BATCH * step : BATCH * (step + 1)]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    print(json.dumps({
        "steps": arguments.steps,
        "tokens_per_s": arguments.steps * BATCH * SEQ / seconds,
        "held_out_nll_before": before,
        "held_out_nll_after": mean_nll(model, scored),
    }))


if __name__ == "__main__":
    main()
