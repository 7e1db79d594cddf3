#!/usr/bin/env python3
"""Writes the weights of a GGUF file again in another format.

    python mk_gguf.py IN.gguf OUT.gguf {f32,f16,q8_0}

Every tensor is dequantized first, so the f32 file holds exactly the numbers that the input stands for.
Norms (one axis) stay f32, as llama.cpp keeps them. The metadata is copied.
"""

import argparse

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

# Our name -> (tensor type, `general.file_type` as llama.cpp numbers it).
FORMATS = {
    "f32": (GGMLQuantizationType.F32, 0),
    "f16": (GGMLQuantizationType.F16, 1),
    "q8_0": (GGMLQuantizationType.Q8_0, 7),
}
# Written by GGUFWriter itself, or different in the new file.
OWN_KEYS = ("general.architecture", "general.file_type", "general.quantization_version")


def copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in OWN_KEYS:
            continue
        kind = field.types[0]
        item_kind = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, item_kind)


def write_tensor(writer: GGUFWriter, name: str, weight: np.ndarray, kind: GGMLQuantizationType) -> None:
    if weight.ndim == 1 or kind == GGMLQuantizationType.F32:
        writer.add_tensor(name, weight)
    elif kind == GGMLQuantizationType.F16:
        writer.add_tensor(name, weight.astype(np.float16))
    else:
        writer.add_tensor(name, quantize(weight, kind), raw_dtype=kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("format", choices=FORMATS)
    arguments = parser.parse_args()

    kind, file_type = FORMATS[arguments.format]
    reader = GGUFReader(arguments.source)
    writer = GGUFWriter(arguments.out, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]  # GGUF lists the fastest axis first
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        write_tensor(writer, tensor.name, weight, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
