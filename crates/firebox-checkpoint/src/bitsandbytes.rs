//! How bitsandbytes' packed weights lie in a safetensors file, as transformers saves and loads them.
//!
//! Of a weight in 4 bits, `X.weight` are the codes, two a byte; beside it lie `X.weight.absmax`,
//! `X.weight.quant_map` (the codebook), and as JSON in bytes `X.weight.quant_state.bitsandbytes__nf4`.
//! Double quantization adds `X.weight.nested_absmax` and `X.weight.nested_quant_map`. Of a weight in 8
//! bits, `X.weight` are signed bytes, `X.SCB` the largest magnitude of each row, and
//! `X.weight_format` says that rows are in order.
//!
//! Source: `bitsandbytes/functional.py` (`QuantState.as_dict`) and `bitsandbytes/nn/modules.py`.

use std::{collections::BTreeMap, path::Path};

use firebox_tensor::packed::{
    NF4_BLOCK_SIZE, NF4_CODEBOOK, PackedFormat, PackedMatrix, dynamic_codebook,
};
use serde_json::{Value, json};

use crate::{
    dtype::Dtype,
    error::{CheckpointError, ModelError, tame},
    packed_layout::{PackedEntry, PartLayout, damaged},
    safetensors::Shards,
};

/// The config's key, of this and other methods of transformers.
pub(crate) const CONFIG_KEY: &str = "quantization_config";

/// Room for the JSON of a weight's state; what is left are spaces.
const STATE_BYTES: usize = 192;
/// Blocks of codes that share a scale of the second level.
const NESTED_BLOCK_SIZE: usize = 256;
const STATE: &str = "quant_state.bitsandbytes__nf4";

/// What the file lists for a packed weight; `None` for a format that bitsandbytes has not, or a shape
/// that does not fit it.
pub(crate) fn parts(name: &str, entry: &PackedEntry) -> Option<Vec<PartLayout>> {
    let [n_rows, n_cols] = entry.shape;
    let n = n_rows
        .checked_mul(n_cols)
        .filter(|n| *n <= isize::MAX as usize / 4)?;
    let n_blocks = n.div_ceil(NF4_BLOCK_SIZE);
    let part = |name: String, dtype, shape| PartLayout { name, dtype, shape };
    let of_state = |suffix: &str, dtype, shape| part(format!("{name}.{suffix}"), dtype, shape);
    if entry.format == PackedFormat::Int8Rowwise {
        let module = name.strip_suffix(".weight")?;
        return Some(vec![
            part(name.to_owned(), Dtype::I8, vec![n_rows, n_cols]),
            part(format!("{module}.SCB"), Dtype::F32, vec![n_rows]),
            part(format!("{module}.weight_format"), Dtype::U8, vec![]),
        ]);
    }
    let absmax_dtype = match entry.format {
        PackedFormat::Nf4 => Dtype::F32,
        PackedFormat::Nf4DoubleQuant => Dtype::U8,
        _ => return None,
    };
    let mut parts = vec![
        part(name.to_owned(), Dtype::U8, vec![n.div_ceil(2), 1]),
        of_state("absmax", absmax_dtype, vec![n_blocks]),
        of_state("quant_map", Dtype::F32, vec![NF4_CODEBOOK.len()]),
        of_state(STATE, Dtype::U8, vec![STATE_BYTES]),
    ];
    if entry.format == PackedFormat::Nf4DoubleQuant {
        let nested = n_blocks.div_ceil(NESTED_BLOCK_SIZE);
        parts.push(of_state("nested_absmax", Dtype::F32, vec![nested]));
        parts.push(of_state("nested_quant_map", Dtype::F32, vec![256]));
    }
    Some(parts)
}

/// The bytes of [`parts`], in their order.
pub(crate) fn bytes(matrix: &PackedMatrix) -> Vec<Vec<u8>> {
    let part = |name: &str| -> Vec<u8> {
        let found = matrix.parts().into_iter().find(|part| part.name == name);
        found.map(|part| part.bytes.to_vec()).unwrap_or_default()
    };
    let floats =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let mut state = json!({
        "quant_type": "nf4",
        "blocksize": NF4_BLOCK_SIZE,
        "dtype": "float32",
        "shape": [matrix.n_rows(), matrix.n_cols()],
    });
    match matrix.format() {
        PackedFormat::Int8Rowwise => vec![part("codes"), part("absmax"), vec![0]],
        PackedFormat::Nf4DoubleQuant => {
            let offset = part("absmax_offset")
                .first_chunk()
                .copied()
                .unwrap_or_default();
            state["nested_blocksize"] = json!(NESTED_BLOCK_SIZE);
            state["nested_dtype"] = json!("float32");
            state["nested_offset"] = json!(f64::from(f32::from_le_bytes(offset)));
            vec![
                part("codes"),
                part("absmax_codes"),
                floats(&NF4_CODEBOOK),
                padded(&state),
                part("absmax_absmax"),
                floats(dynamic_codebook()),
            ]
        }
        _ => vec![
            part("codes"),
            part("absmax"),
            floats(&NF4_CODEBOOK),
            padded(&state),
        ],
    }
}

fn padded(state: &Value) -> Vec<u8> {
    let mut text = state.to_string().into_bytes();
    text.resize(STATE_BYTES.max(text.len()), b' ');
    text
}

/// What transformers wants in a config whose weights are packed so. `kept` are the modules whose
/// weights are not.
pub(crate) fn config_json<'a>(
    formats: impl Iterator<Item = &'a PackedFormat>,
    kept: &[String],
) -> Value {
    let (mut eight, mut nested) = (false, false);
    for format in formats {
        eight |= *format == PackedFormat::Int8Rowwise;
        nested |= *format == PackedFormat::Nf4DoubleQuant;
    }
    json!({
        "quant_method": "bitsandbytes",
        "load_in_4bit": !eight,
        "load_in_8bit": eight,
        "_load_in_4bit": !eight,
        "_load_in_8bit": eight,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": nested,
        "bnb_4bit_compute_dtype": "float32",
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_enable_fp32_cpu_offload": false,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_skip_modules": kept,
        // bitsandbytes' own: columns with larger inputs are not rounded to 8 bits.
        "llm_int8_threshold": 6.0,
    })
}

/// The packed weights of a checkpoint whose config names bitsandbytes.
pub(crate) fn index(
    shards: &Shards,
    path: &Path,
) -> Result<BTreeMap<String, PackedEntry>, CheckpointError> {
    let mut entries = BTreeMap::new();
    for name in shards.names() {
        if let Some((weight, kind)) = name.rsplit_once(".quant_state.bitsandbytes__") {
            let entry = four_bits(weight, kind, shards, path)?;
            entries.insert(weight.to_owned(), entry);
        } else if let Some(module) = name.strip_suffix(".SCB") {
            let weight = format!("{module}.weight");
            let shape = shards.entry(&weight).map(|entry| entry.shape.clone());
            let shape = shape.and_then(|shape| <[usize; 2]>::try_from(shape).ok());
            let shape =
                shape.ok_or_else(|| damaged(path, &weight, "a matrix of 8 bits", "none"))?;
            let format = PackedFormat::Int8Rowwise;
            entries.insert(weight, PackedEntry { format, shape });
        }
    }
    Ok(entries)
}

/// Format and shape by the state of a weight.
fn four_bits(
    weight: &str,
    kind: &str,
    shards: &Shards,
    path: &Path,
) -> Result<PackedEntry, CheckpointError> {
    let other = |expected: &'static str, found: &str| ModelError::Bitsandbytes {
        path: path.to_owned(),
        name: tame(weight),
        expected,
        found: tame(found),
    };
    if kind != "nf4" {
        return Err(other("the data type nf4", kind).into());
    }
    let state = state(weight, shards, path)?;
    if state["blocksize"] != json!(NF4_BLOCK_SIZE) {
        return Err(other("blocks of 64", &state["blocksize"].to_string()).into());
    }
    let sizes = state["shape"].as_array().and_then(|sizes| {
        let sizes = sizes.iter().map(|size| size.as_u64()?.try_into().ok());
        sizes.collect::<Option<Vec<usize>>>()
    });
    let shape = sizes
        .and_then(|sizes| <[usize; 2]>::try_from(sizes).ok())
        .ok_or_else(|| {
            damaged(
                path,
                weight,
                "a shape `[out, in]`",
                &state["shape"].to_string(),
            )
        })?;
    let format = match state["nested_blocksize"].is_null() {
        true => PackedFormat::Nf4,
        false => PackedFormat::Nf4DoubleQuant,
    };
    Ok(PackedEntry { format, shape })
}

/// The JSON beside a weight of 4 bits.
fn state(weight: &str, shards: &Shards, path: &Path) -> Result<Value, CheckpointError> {
    let name = format!("{weight}.{STATE}");
    let wrong = |found: &str| damaged(path, weight, "a `quant_state` in JSON", found);
    let (file, entry) = shards.find(&name).ok_or_else(|| wrong("none"))?;
    let bytes = &file.unchanged_bytes()?[entry.range.clone()];
    let text = bytes.trim_ascii_end();
    Ok(serde_json::from_slice(text).map_err(|error| wrong(&error.to_string()))?)
}

/// Whether a tensor of the file belongs to one of these weights, and is not the weight itself.
pub(crate) fn is_part(entries: &BTreeMap<String, PackedEntry>, name: &str) -> bool {
    let of = |weight: &str| entries.contains_key(weight);
    let module = name
        .strip_suffix(".SCB")
        .or_else(|| name.strip_suffix(".weight_format"));
    if let Some(module) = module {
        return of(&format!("{module}.weight"));
    }
    let suffixes = [
        "absmax",
        "quant_map",
        STATE,
        "nested_absmax",
        "nested_quant_map",
    ];
    suffixes.iter().any(|suffix| {
        let weight = name
            .strip_suffix(suffix)
            .and_then(|name| name.strip_suffix('.'));
        weight.is_some_and(of)
    })
}

/// Reads a weight, each of whose parts must have its dtype and size.
pub(crate) fn load(
    name: &str,
    entry: &PackedEntry,
    shards: &Shards,
    path: &Path,
) -> Result<PackedMatrix, CheckpointError> {
    let wrong = |expected: String, found: String| damaged(path, name, &expected, &found);
    let planned = parts(name, entry).ok_or_else(|| {
        wrong(
            format!("a shape that fits `{}`", entry.format),
            format!("{:?}", entry.shape),
        )
    })?;
    let mut read = BTreeMap::new();
    for part in planned {
        let n = |shape: &[usize]| shape.iter().product::<usize>();
        // The state is as long as its text; codes have an axis more in some versions.
        let fits = |found: &[usize]| n(found) == n(&part.shape) || part.name.ends_with(STATE);
        let bytes = part.read(&part.name, fits, shards, &wrong)?;
        read.insert(part.name, bytes);
    }
    let is_codebook = |suffix: &str, codebook: &[f32]| -> bool {
        let stored = read.get(&format!("{name}.{suffix}"));
        let same = |bytes: &Vec<u8>| {
            let (floats, _) = bytes.as_chunks::<4>();
            floats
                .iter()
                .map(|x| f32::from_le_bytes(*x))
                .eq(codebook.iter().copied())
        };
        stored.is_none_or(same)
    };
    if !is_codebook("quant_map", &NF4_CODEBOOK)
        || !is_codebook("nested_quant_map", dynamic_codebook())
    {
        return Err(wrong("the codebook of NF4".to_owned(), "another".to_owned()).into());
    }
    let offset = match entry.format {
        PackedFormat::Nf4DoubleQuant => {
            let offset = state(name, shards, path)?["nested_offset"].clone();
            let value = offset
                .as_f64()
                .ok_or_else(|| wrong("a `nested_offset`".to_owned(), offset.to_string()))?;
            (value as f32).to_le_bytes().to_vec()
        }
        _ => Vec::new(),
    };
    let module = name.strip_suffix(".weight").unwrap_or(name);
    let nested = entry.format == PackedFormat::Nf4DoubleQuant;
    let [n_rows, n_cols] = entry.shape;
    let matrix = PackedMatrix::from_parts(entry.format, n_rows, n_cols, |part| match part {
        "codes" => read.remove(name),
        "absmax" if entry.format == PackedFormat::Int8Rowwise => {
            read.remove(&format!("{module}.SCB"))
        }
        "absmax" => read.remove(&format!("{name}.absmax")),
        "absmax_codes" if nested => read.remove(&format!("{name}.absmax")),
        "absmax_absmax" => read.remove(&format!("{name}.nested_absmax")),
        "absmax_offset" => Some(offset.clone()),
        _ => None,
    });
    Ok(matrix.map_err(|source| ModelError::Packed {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })?)
}

#[cfg(test)]
mod tests;
