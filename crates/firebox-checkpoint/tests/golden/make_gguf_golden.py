#!/usr/bin/env python3
"""Golden files for the GGUF reader. Made with gguf 0.19.0 and numpy 2.4.6:

    python make_gguf_golden.py      (writes beside itself)

gguf_blocks.safetensors   For each encoding T: `T.blocks`, random blocks with finite scales, and
                          `T.values`, what the `gguf` package decodes them to.
tiny_llama.gguf           A llama of 2 layers, its tensors in Q4_1, Q4_0, Q5_0, Q5_1, Q8_0, BF16, F16
                          and F32, with a byte-level BPE tokenizer.
tiny_llama.safetensors    The same weights in float32 as Hugging Face has them. They are quantized
                          *before* the rows of Q and K are interleaved, the other way round than the
                          reader goes: blocks lie within rows, so both must agree.
tiny_llama.json           The config, tokenizer and side files that belong to it.
tiny_qwen2.gguf           A qwen2 of one layer in F32, with biases and no permutation.
tiny_qwen2.safetensors    The same as Hugging Face has it.
"""

import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, GGUFWriter, TokenType
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(20241124)
META = {"made_by": "make_gguf_golden.py", "gguf": "0.19.0", "numpy": "2.4.6", "seed": "20241124"}

# Byte offsets of the f16 scales in one block.
SCALES = {T.F32: [], T.F16: [], T.BF16: [], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2],
          T.Q8_0: [0], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}


def block_golden():
    out = {}
    for kind, scales in SCALES.items():
        block, size = GGML_QUANT_SIZES[kind]
        n = 512 if block == 1 else 24 if block == 32 else 6
        if block == 1:
            x = (RNG.standard_normal(n) * 10.0 ** RNG.integers(-6, 4, n)).astype(np.float32)
            raw = quantize(x, kind).view(np.uint8).reshape(-1)
        else:
            raw = RNG.integers(0, 256, (n, size), dtype=np.uint8)
            for at in scales:
                # Ordinary, negative, zero, subnormal and large scales.
                d = (RNG.standard_normal(n) * 0.05).astype(np.float16)
                d[:4] = [0.0, 3e-7, -2.5, 60.0]
                raw[:, at:at + 2] = d.view(np.uint8).reshape(n, 2)
            raw = raw.reshape(-1)
        values = dequantize(raw.view({T.F32: np.float32, T.F16: np.float16}.get(kind, np.uint8)), kind)
        out[f"{kind.name}.blocks"] = raw
        out[f"{kind.name}.values"] = values.astype(np.float32).reshape(-1)
    save_file(out, HERE / "gguf_blocks.safetensors", META)


def interleave(w, heads):
    """As llama.cpp's converter does it for the `llama` architecture."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def byte_tokens():
    """The printable characters that stand for the bytes in a byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]


def tokenizer():
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld"]
    tokens = special + byte_tokens() + [m.replace(" ", "") for m in merges] + ["<think>"]
    types = [TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 4) + [TokenType.USER_DEFINED]
    return tokens, types, merges


TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def add_tokenizer(w, pre):
    tokens, types, merges = tokenizer()
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_pad_token_id(2)
    w.add_chat_template(TEMPLATE)
    return tokens, merges


def llama():
    d, heads, kv, ff, layers = 32, 4, 2, 64, 2
    w = GGUFWriter(HERE / "tiny_llama.gguf", "llama")
    tokens, merges = add_tokenizer(w, "smollm")
    w.add_vocab_size(len(tokens)); w.add_context_length(64); w.add_embedding_length(d)
    w.add_block_count(layers); w.add_feed_forward_length(ff); w.add_head_count(heads)
    w.add_head_count_kv(kv); w.add_rope_freq_base(50000.0); w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(d // heads)
    # Every other type of metadata value.
    w.add_uint8("test.u8", 200); w.add_int8("test.i8", -100); w.add_uint16("test.u16", 60000)
    w.add_int16("test.i16", -30000); w.add_int32("test.i32", -2000000000)
    w.add_uint64("test.u64", 2**63 + 1); w.add_int64("test.i64", -2**62); w.add_float64("test.f64", 0.1)
    w.add_bool("test.bool", True); w.add_array("test.bools", [True, False])
    w.add_array("test.floats", [0.5, 1.5]); w.add_array("test.nested", [[1, 2], [3]])
    hf = {}

    def add(name, hf_name, kind, shape, permute=None):
        x = (RNG.standard_normal(shape) * 0.2).astype(np.float32)
        packed = quantize(x, kind)
        flat = packed if kind != T.BF16 else packed.view(np.uint8)
        hf[hf_name] = dequantize(flat, kind).astype(np.float32).reshape(shape)
        stored = interleave(packed, permute) if permute else packed
        w.add_tensor(name, np.ascontiguousarray(stored), raw_dtype=kind)

    add("token_embd.weight", "model.embed_tokens.weight", T.Q8_0, (len(tokens), d))
    for i in range(layers):
        g, h = f"blk.{i}.", f"model.layers.{i}."
        kinds = [T.Q4_1, T.Q4_0, T.Q5_0, T.Q5_1, T.Q4_1, T.Q4_0, T.Q8_0] if i == 0 else \
                [T.Q5_1, T.F16, T.BF16, T.F32, T.Q8_0, T.Q4_1, T.Q5_0]
        add(g + "attn_norm.weight", h + "input_layernorm.weight", T.F32, (d,))
        add(g + "attn_q.weight", h + "self_attn.q_proj.weight", kinds[0], (d, d), heads)
        add(g + "attn_k.weight", h + "self_attn.k_proj.weight", kinds[1], (kv * d // heads, d), kv)
        add(g + "attn_v.weight", h + "self_attn.v_proj.weight", kinds[2], (kv * d // heads, d))
        add(g + "attn_output.weight", h + "self_attn.o_proj.weight", kinds[3], (d, d))
        add(g + "ffn_norm.weight", h + "post_attention_layernorm.weight", T.F32, (d,))
        add(g + "ffn_gate.weight", h + "mlp.gate_proj.weight", kinds[4], (ff, d))
        add(g + "ffn_up.weight", h + "mlp.up_proj.weight", kinds[5], (ff, d))
        add(g + "ffn_down.weight", h + "mlp.down_proj.weight", kinds[6], (d, ff))
    add("output_norm.weight", "model.norm.weight", T.F32, (d,))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    save_file(hf, HERE / "tiny_llama.safetensors", META)

    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

    def added(i, special):
        return {"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": special}

    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>",
               "unk_token": "<|endoftext|>"}
    expected = {
        "config": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(tokens),
            "hidden_size": d, "intermediate_size": ff, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": d // heads,
            "max_position_embeddings": 64, "hidden_act": "silu", "rms_norm_eps": 1e-5,
            "rope_theta": 50000.0, "rope_scaling": None, "attention_bias": False,
            "attention_dropout": 0.0, "mlp_bias": False, "tie_word_embeddings": True,
            "initializer_range": d ** -0.5, "pretraining_tp": 1, "use_cache": True,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "torch_dtype": "float32"},
        "generation_config": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "do_sample": False},
        "special_tokens_map": special,
        "tokenizer_config": {
            "tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False,
            "clean_up_tokenization_spaces": False, "model_max_length": 64, "chat_template": TEMPLATE,
            **special},
        "tokenizer": {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [added(0, True), added(1, True), added(2, True), added(len(tokens) - 1, False)],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": True}, byte_level]},
            "post_processor": None, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                      "byte_fallback": False, "ignore_merges": False,
                      "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}},
    }
    text = json.dumps(expected, ensure_ascii=False, indent=1) + "\n"
    (HERE / "tiny_llama.json").write_text(text, encoding="utf-8")


def qwen2():
    d, heads, kv, ff = 8, 2, 1, 16
    w = GGUFWriter(HERE / "tiny_qwen2.gguf", "qwen2")
    tokens, _ = add_tokenizer(w, "qwen2")
    w.add_context_length(64); w.add_embedding_length(d); w.add_block_count(1); w.add_feed_forward_length(ff)
    w.add_head_count(heads); w.add_head_count_kv(kv); w.add_rope_freq_base(1e6); w.add_layer_norm_rms_eps(1e-6)
    hf = {}

    def add(name, hf_name, shape):
        x = RNG.standard_normal(shape).astype(np.float32)
        hf[hf_name] = x
        w.add_tensor(name, x)

    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), d))
    add("output.weight", "lm_head.weight", (len(tokens), d))
    add("output_norm.weight", "model.norm.weight", (d,))
    g, h = "blk.0.", "model.layers.0."
    for n, m, shape in [("attn_norm", "input_layernorm", (d,)), ("ffn_norm", "post_attention_layernorm", (d,)),
                        ("attn_q", "self_attn.q_proj", (d, d)), ("attn_k", "self_attn.k_proj", (d // 2, d)),
                        ("attn_v", "self_attn.v_proj", (d // 2, d)), ("attn_output", "self_attn.o_proj", (d, d)),
                        ("ffn_gate", "mlp.gate_proj", (ff, d)), ("ffn_up", "mlp.up_proj", (ff, d)),
                        ("ffn_down", "mlp.down_proj", (d, ff))]:
        add(g + n + ".weight", h + m + ".weight", shape)
        if n in ("attn_q", "attn_k", "attn_v"):
            add(g + n + ".bias", h + m + ".bias", shape[:1])
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    save_file(hf, HERE / "tiny_qwen2.safetensors", META)


block_golden()
llama()
qwen2()
