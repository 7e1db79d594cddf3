"""A small Llama whose rows are whole blocks of 256, as GGUF's K formats want them."""

import json
import shutil
from pathlib import Path

# Rounds over three texts, until it knows them. Weights as they begin predict all tokens alike, and errors
# would not show in that.
N_STEPS = 90
# Of another base and another context than usual: a reader who overlooks either is far off.
LLAMA_3_ROPE = {
    "rope_type": "llama3", "rope_theta": 50_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def llama_beside(model, **sizes):
    """A Llama of random weights with MODEL's vocabulary."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    large = json.loads((Path(model) / "config.json").read_text())
    ids = {name: large[name] for name in ("vocab_size", "bos_token_id", "eos_token_id")}
    return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **sizes, **ids))


def save_beside(model, net, out):
    """A Hugging Face folder with MODEL's tokenizer."""
    net.save_pretrained(out)
    for path in Path(model).glob("*token*.json"):
        shutil.copy(path, out)


def write_small_llama(model, out, texts):
    """Writes a Hugging Face folder: two layers of width 256, MODEL's tokenizer, trained on `texts`, lists of
    token ids."""
    import torch

    net = llama_beside(
        model, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, rms_norm_eps=1e-5, rope_parameters=LLAMA_3_ROPE)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(N_STEPS):
        text = torch.tensor([texts[step % len(texts)]])
        optimizer.zero_grad()
        net(text, labels=text).loss.backward()
        optimizer.step()
    save_beside(model, net, out)
