"""Adapters of every kind on a tiny Llama, computed with PEFT, written beside this file.

Run: python make.py   (made with torch 2.15.0, transformers 5.24.0, PEFT 0.21.2, CPU, one thread)

base/ is the model; KIND/ an adapter whose factors are all random, as PEFT saves it; golden.json holds the
logits with it, the losses of six AdamW steps from there, the logits of two of them at once, and the
same of PiSSA, whose file is converted to an ordinary adapter.
"""

import json
import pathlib
import shutil
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).resolve().parent
SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False, attn_implementation="eager")
WEIGHTS = [0.7, 0.4]
KINDS = {
    "lora": {},
    "rslora": dict(use_rslora=True),
    "dora": dict(use_dora=True),
    "whole": dict(modules_to_save=["lm_head"]),
}


def base():
    torch.manual_seed(7)
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    for p in model.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.15)
    return model.float().eval()


def pissa(ids):
    """Begins as the principal part of each weight; is saved as its difference to the base."""
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM", init_lora_weights="pissa")
    adapted = get_peft_model(base(), config)
    layer = adapted.base_model.model.model.layers[0].self_attn.q_proj
    part = 1.5 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    with tempfile.TemporaryDirectory() as first:
        adapted.peft_config["default"].init_lora_weights = True
        adapted.save_pretrained(first)
        adapted.peft_config["default"].init_lora_weights = "pissa"
        found = {"part": [round(x, 6) for x in part.flatten().tolist()], "losses": steps(adapted, ids)}
        shutil.rmtree(HERE / "pissa", ignore_errors=True)
        adapted.save_pretrained(HERE / "pissa", path_initial_model_for_weight_conversion=first)
    (HERE / "pissa" / "README.md").unlink(missing_ok=True)
    found["logits"] = [round(x, 6) for x in adapted(ids).logits[0].flatten().tolist()]
    return found


def steps(adapted, ids):
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = adapted(ids, labels=ids).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def main():
    model = base()
    shutil.rmtree(HERE / "base", ignore_errors=True)
    model.save_pretrained(HERE / "base")
    torch.manual_seed(11)
    ids = torch.randint(0, 64, (3, 12))
    out = {"ids": ids.tolist(), "kinds": {}}
    for kind, settings in KINDS.items():
        torch.manual_seed(13)
        config = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM", **settings)
        adapted = get_peft_model(base(), config)
        with torch.no_grad():
            for name, p in adapted.named_parameters():
                if "lora_B" in name:
                    p.normal_(std=0.1)
                if "magnitude" in name:
                    p.mul_(1 + 0.1 * torch.rand_like(p))
                if "modules_to_save" in name:
                    p.add_(0.02 * torch.randn_like(p))
        shutil.rmtree(HERE / kind, ignore_errors=True)
        adapted.save_pretrained(HERE / kind)
        (HERE / kind / "README.md").unlink(missing_ok=True)
        logits = adapted(ids).logits[0].detach()
        trained = [p for p in adapted.parameters() if p.requires_grad]
        out["kinds"][kind] = {"n_trained": sum(p.numel() for p in trained), "logits": [round(x, 6) for x in logits.flatten().tolist()], "losses": steps(adapted, ids)}
    out["pissa"] = pissa(ids)
    # Two adapters on one base, as one: what each does, times its weight.
    model = PeftModel.from_pretrained(base(), HERE / "lora", adapter_name="lora")
    model.load_adapter(HERE / "rslora", adapter_name="rslora")
    model.add_weighted_adapter(["lora", "rslora"], WEIGHTS, adapter_name="both", combination_type="cat")
    model.set_adapter("both")
    logits = model(ids).logits[0].detach()
    out["weighted"] = {"weights": WEIGHTS, "logits": [round(x, 6) for x in logits.flatten().tolist()]}
    (HERE / "golden.json").write_text(json.dumps(out) + "\n")


main()
