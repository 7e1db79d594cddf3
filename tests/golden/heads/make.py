"""A tiny Llama with a classification head, computed with transformers and PEFT, written beside this file.

Run: python make.py   (made with torch 2.15.0, transformers 5.24.0, PEFT 0.21.2, CPU, one thread)

model/ is LlamaForSequenceClassification as transformers saves it; lora/ an adapter beside it as PEFT saves it.
golden.json holds documents of unequal lengths, the logits of each, the loss of every task, and the losses of
six AdamW steps for every part of the weights that may train.
"""

import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForSequenceClassification

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).resolve().parent
LABELS = ["liver", "kidney", "brain"]
SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False, attn_implementation="eager", pad_token_id=0, id2label=dict(enumerate(LABELS)), label2id={name: i for i, name in enumerate(LABELS)}, problem_type="single_label_classification")
LENGTHS = [12, 5, 1, 9]


def model(problem_type="single_label_classification"):
    torch.manual_seed(7)
    made = LlamaForSequenceClassification(LlamaConfig(**{**SIZES, "problem_type": problem_type}))
    for p in made.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.15)
    return made.float().eval()


def freeze(made, part):
    layers = {"head": [], "last_layer": ["layers.1.", "model.norm."], "all": [""]}[part]
    for name, p in made.named_parameters():
        p.requires_grad = "score" in name or any(layer in name for layer in layers)
    return made


def losses(made, inputs, labels):
    trained = [p for p in made.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    found = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = made(**inputs, labels=labels).loss
        found.append(loss.item())
        loss.backward()
        optimizer.step()
    return {"n_trained": sum(p.numel() for p in trained), "losses": found}


def main():
    base = model()
    shutil.rmtree(HERE / "model", ignore_errors=True)
    base.save_pretrained(HERE / "model")
    torch.manual_seed(11)
    documents = [torch.randint(1, 64, (n,)) for n in LENGTHS]
    ids = torch.nn.utils.rnn.pad_sequence(documents, batch_first=True)
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    classes = torch.tensor([2, 0, 1, 2])
    values = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    out = {"documents": [d.tolist() for d in documents], "classes": classes.tolist(), "values": values.tolist()}
    out["logits"] = base(**inputs).logits.detach().tolist()
    out["loss"] = {
        "classification": base(**inputs, labels=classes).loss.item(),
        "multi_label": model("multi_label_classification")(**inputs, labels=values).loss.item(),
        "regression": model("regression")(**inputs, labels=values).loss.item(),
    }
    out["parts"] = {part: losses(freeze(model(), part), inputs, classes) for part in ["head", "last_layer", "all"]}
    torch.manual_seed(13)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], task_type="SEQ_CLS")
    adapted = get_peft_model(model(), config)
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
            if "modules_to_save" in name:
                p.add_(0.02 * torch.randn_like(p))
    shutil.rmtree(HERE / "lora", ignore_errors=True)
    adapted.save_pretrained(HERE / "lora")
    (HERE / "lora" / "README.md").unlink(missing_ok=True)
    out["lora_logits"] = adapted(**inputs).logits.detach().tolist()
    out["parts"]["lora"] = losses(adapted, inputs, classes)
    (HERE / "golden.json").write_text(json.dumps(out) + "\n")


main()
