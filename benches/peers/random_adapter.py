"""PEFT adapters of SmolLM2-135M with random factors, for servers that only have to carry them."""

import array
import json
import random

N_LAYERS, D_MODEL, D_KV, D_FF = 30, 576, 192, 1536
# Inputs and outputs of the layers that an adapter has factors for.
SHAPES = {
    "self_attn.q_proj": (D_MODEL, D_MODEL), "self_attn.k_proj": (D_MODEL, D_KV), "self_attn.v_proj": (D_MODEL, D_KV),
    "self_attn.o_proj": (D_MODEL, D_MODEL), "mlp.gate_proj": (D_MODEL, D_FF), "mlp.up_proj": (D_MODEL, D_FF),
    "mlp.down_proj": (D_FF, D_MODEL),
}


def write_adapter(folder, seed, rank=8, targets=("q_proj", "v_proj")):
    """Writes `adapter_config.json` and `adapter_model.safetensors`, each at once."""
    rng = random.Random(seed)
    header, data, end = {}, [], 0
    for layer in range(N_LAYERS):
        for name, (n_in, n_out) in SHAPES.items():
            if name.split(".")[1] not in targets:
                continue
            for factor, shape, size in (("A", (rank, n_in), n_in ** -0.5), ("B", (n_out, rank), 0.02)):
                values = array.array("f", (rng.uniform(-size, size) for _ in range(shape[0] * shape[1])))
                data.append(values.tobytes())
                begin, end = end, end + len(data[-1])
                header[f"base_model.model.model.layers.{layer}.{name}.lora_{factor}.weight"] = {
                    "dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(targets), "bias": "none",
              "task_type": "CAUSAL_LM", "base_model_name_or_path": "smollm2"}
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "adapter_model.safetensors", len(head).to_bytes(8, "little") + head + b"".join(data))
    replace(folder / "adapter_config.json", json.dumps(config).encode())


def replace(path, data):
    new = path.with_name(f".{path.name}")
    new.write_bytes(data)
    new.rename(path)
