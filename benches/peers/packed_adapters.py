"""Adapters over folders that Firebox packed in bitsandbytes' layout: trained by PEFT and opened by Firebox,
and the other way round. Both must find the same loss on a text, with the adapter and without.

    python benches/peers/packed_adapters.py FIREBOX MODEL

FIREBOX is the program, MODEL a Hugging Face directory. Needs torch, transformers, PEFT and bitsandbytes.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = "The patients were treated with insulin and their blood glucose was measured every hour for two days."
N_STEPS = 4
# Sums in another order; and what an adapter has to change at least to be seen in that.
CLOSE, SEEN = 1e-3, 1e-2


def loss(net, ids):
    with torch.no_grad():
        return net.eval()(ids, labels=ids).loss.item()


def load(packed):
    return AutoModelForCausalLM.from_pretrained(packed, dtype=torch.float32, device_map="cpu")


def train_with_peft(packed, out, ids):
    """Saves an adapter; returns the loss with it."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    net = get_peft_model(load(packed), config).train()
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        net(ids, labels=ids).loss.backward()
        optimizer.step()
    net.save_pretrained(out)
    return loss(net, ids)


def main():
    firebox, model = (str(Path(path).resolve()) for path in sys.argv[1:])
    ids = AutoTokenizer.from_pretrained(model)(TEXT, return_tensors="pt")["input_ids"]
    good = True

    with tempfile.TemporaryDirectory() as work:
        text, lines = Path(work) / "text.txt", Path(work) / "texts.jsonl"
        text.write_text(TEXT)
        lines.write_text((json.dumps({"text": TEXT}) + "\n") * 20)

        def run(*words):
            words = [firebox, *map(str, words), "--json"]
            return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)

        def firebox_loss(packed, *adapter):
            return run("eval", "perplexity", "--model", packed, *adapter, "--text", text)["nll"]

        def check(case, base, ours, *theirs):
            same = all(abs(ours - their) <= CLOSE for their in theirs)
            seen = base is None or abs(ours - base) >= SEEN
            verdict = "same" if same and seen else "DIFFERENT" if seen else "NOT TRAINED"
            print(f"{case:32} firebox {ours:.5f}, PEFT", *(f"{x:.5f}" for x in theirs), verdict, flush=True)
            return same and seen

        for form in ("nf4", "nf4-dq"):
            packed, from_peft, from_firebox = (Path(work) / f"{form}{end}" for end in ("", "-peft", "-firebox"))
            run("quantize", "--model", model, "--format", form, "--layout", "bitsandbytes", "--out", packed)
            base = firebox_loss(packed)
            good &= check(f"{form}, no adapter", None, base, loss(load(packed), ids))

            trained = train_with_peft(packed, from_peft, ids)
            opened = loss(PeftModel.from_pretrained(load(packed), from_peft), ids)
            ours = firebox_loss(packed, "--adapter", from_peft)
            good &= check(f"{form}, adapter of PEFT", base, ours, trained, opened)

            run("finetune", "--model", packed, "--data", lines, "--out", from_firebox, "--rank", 4, "--alpha", 8,
                "--targets", "q_proj,down_proj", "--lr", 3e-3, "--steps", N_STEPS, "--seq", 32, "--batch", 1)
            ours = firebox_loss(packed, "--adapter", from_firebox)
            good &= check(f"{form}, adapter of Firebox", base, ours,
                          loss(PeftModel.from_pretrained(load(packed), from_firebox), ids))
    sys.exit(0 if good else 1)


main()
