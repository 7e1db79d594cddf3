//! How bitsandbytes' packed weights lie in a safetensors file, as transformers saves and loads them.
//!
//! Of a weight in 4 bits, `X.weight` are the codes, two a byte; beside it lie `X.weight.absmax`,
//! `X.weight.quant_map` (the codebook), and as JSON in bytes `X.weight.quant_state.bitsandbytes__nf4`, or
//! `…__fp4`. A folder may have both: transformers goes by each weight's state. Double quantization adds
//! `X.weight.nested_absmax` and `X.weight.nested_quant_map`. Of a weight in 8 bits, `X.weight` are signed
//! bytes, `X.SCB` the largest magnitude of each row, and `X.weight_format` says that rows are in order.
//!
//! Source: `bitsandbytes/functional.py` (`QuantState.as_dict`) and `bitsandbytes/nn/modules.py`.

use std::{collections::BTreeMap, path::Path};

use firebox_tensor::packed::{
    FP4_CODEBOOK, NF4_BLOCK_SIZE, NF4_CODEBOOK, PackedFormat, PackedMatrix, dynamic_codebook,
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
/// What the state of 4 bits is called, but for the data type behind it.
const STATE: &str = ".quant_state.bitsandbytes__";

/// A format of 4 bits, as bitsandbytes has it.
struct FourBits {
    /// The data type's name.
    kind: &'static str,
    codebook: &'static [f32; 16],
    /// Whether scales are quantized as well.
    nested: bool,
}

impl FourBits {
    fn of(format: PackedFormat) -> Option<Self> {
        let (kind, codebook, nested) = match format {
            PackedFormat::Nf4 => ("nf4", &NF4_CODEBOOK, false),
            PackedFormat::Nf4DoubleQuant => ("nf4", &NF4_CODEBOOK, true),
            PackedFormat::Fp4 => ("fp4", &FP4_CODEBOOK, false),
            PackedFormat::Fp4DoubleQuant => ("fp4", &FP4_CODEBOOK, true),
            _ => return None,
        };
        Some(Self {
            kind,
            codebook,
            nested,
        })
    }

    /// The format of a data type; `None` for one that is not known.
    fn format(kind: &str, nested: bool) -> Option<PackedFormat> {
        let mut formats = PackedFormat::ALL.into_iter();
        formats.find(|format| {
            Self::of(*format).is_some_and(|four| four.kind == kind && four.nested == nested)
        })
    }
}

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
    let four = FourBits::of(entry.format)?;
    let absmax_dtype = match four.nested {
        false => Dtype::F32,
        true => Dtype::U8,
    };
    let mut parts = vec![
        part(name.to_owned(), Dtype::U8, vec![n.div_ceil(2), 1]),
        of_state("absmax", absmax_dtype, vec![n_blocks]),
        of_state("quant_map", Dtype::F32, vec![four.codebook.len()]),
        part(
            format!("{name}{STATE}{}", four.kind),
            Dtype::U8,
            vec![STATE_BYTES],
        ),
    ];
    if four.nested {
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
    let Some(four) = FourBits::of(matrix.format()) else {
        return vec![part("codes"), part("absmax"), vec![0]];
    };
    let mut state = json!({
        "quant_type": four.kind,
        "blocksize": NF4_BLOCK_SIZE,
        "dtype": "float32",
        "shape": [matrix.n_rows(), matrix.n_cols()],
    });
    if !four.nested {
        let codebook = floats(four.codebook);
        return vec![part("codes"), part("absmax"), codebook, padded(&state)];
    }
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
        floats(four.codebook),
        padded(&state),
        part("absmax_absmax"),
        floats(dynamic_codebook()),
    ]
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
    let (mut eight, mut nested, mut kinds) = (false, false, Vec::new());
    for format in formats {
        eight |= *format == PackedFormat::Int8Rowwise;
        if let Some(four) = FourBits::of(*format) {
            nested |= four.nested;
            kinds.push(four.kind);
        }
    }
    // Of a folder of both, the state of each weight says which it is.
    let all_fp4 = !kinds.is_empty() && kinds.iter().all(|kind| *kind == "fp4");
    json!({
        "quant_method": "bitsandbytes",
        "load_in_4bit": !eight,
        "load_in_8bit": eight,
        "_load_in_4bit": !eight,
        "_load_in_8bit": eight,
        "bnb_4bit_quant_type": if all_fp4 { "fp4" } else { "nf4" },
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
        if let Some((weight, kind)) = name.rsplit_once(STATE) {
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
    if FourBits::format(kind, false).is_none() {
        return Err(other("the data type nf4 or fp4", kind).into());
    }
    let state = state(weight, kind, shards, path)?;
    if let Some(found) = state["quant_type"].as_str().filter(|found| *found != kind) {
        let expected = format!("a `quant_type` {kind}, as the state's name says");
        return Err(damaged(path, weight, &expected, found).into());
    }
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
    let nested = &state["nested_blocksize"];
    if !nested.is_null() && *nested != json!(NESTED_BLOCK_SIZE) {
        return Err(other("scales in blocks of 256", &nested.to_string()).into());
    }
    let format = FourBits::format(kind, !nested.is_null())
        .ok_or_else(|| other("the data type nf4 or fp4", kind))?;
    Ok(PackedEntry { format, shape })
}

/// The JSON beside a weight of 4 bits.
fn state(weight: &str, kind: &str, shards: &Shards, path: &Path) -> Result<Value, CheckpointError> {
    let name = format!("{weight}{STATE}{kind}");
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
    if let Some((weight, _)) = name.rsplit_once(STATE) {
        return of(weight);
    }
    let suffixes = ["absmax", "quant_map", "nested_absmax", "nested_quant_map"];
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
        let fits = |found: &[usize]| n(found) == n(&part.shape) || part.name.contains(STATE);
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
    let four = FourBits::of(entry.format);
    if let Some(four) = &four
        && !(is_codebook("quant_map", four.codebook)
            && is_codebook("nested_quant_map", dynamic_codebook()))
    {
        let expected = format!("the codebook of {}", four.kind);
        return Err(wrong(expected, "another".to_owned()).into());
    }
    let nested = four.as_ref().is_some_and(|four| four.nested);
    let offset = match four.filter(|four| four.nested) {
        Some(four) => {
            let offset = state(name, four.kind, shards, path)?["nested_offset"].clone();
            let value = offset
                .as_f64()
                .ok_or_else(|| wrong("a `nested_offset`".to_owned(), offset.to_string()))?;
            (value as f32).to_le_bytes().to_vec()
        }
        None => Vec::new(),
    };
    let module = name.strip_suffix(".weight").unwrap_or(name);
    entry.assemble(name, path, |part| match part {
        "codes" => read.remove(name),
        "absmax" if entry.format == PackedFormat::Int8Rowwise => {
            read.remove(&format!("{module}.SCB"))
        }
        "absmax" => read.remove(&format!("{name}.absmax")),
        "absmax_codes" if nested => read.remove(&format!("{name}.absmax")),
        "absmax_absmax" => read.remove(&format!("{name}.nested_absmax")),
        "absmax_offset" => Some(offset.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
