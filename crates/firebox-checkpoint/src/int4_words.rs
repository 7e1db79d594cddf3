//! INT4 weights as GPTQ's programs (AutoGPTQ, GPTQModel) and AWQ's (AutoAWQ, `gemm`) lay them out in
//! a safetensors file: eight codes of 4 bits in a word, the weight transposed.
//!
//! | part | GPTQ | AWQ |
//! |---|---|---|
//! | `X.qweight` I32 | `[in / 8, out]`, eight neighbours along the input | `[in, out / 8]`, eight along the output in the order 0, 2, 4, 6, 1, 3, 5, 7 |
//! | `X.qzeros` I32 | `[n_groups, out / 8]`, eight along the output | the same, in the order above |
//! | `X.scales` F16, in some files BF16 or F32 | `[n_groups, out]` | the same |
//! | `X.g_idx` I32 | `[in]`, the group of each input | none |
//!
//! The lowest four bits are the first. A weight is `scale (code - zero)`. GPTQ's first version
//! (`checkpoint_format` `gptq`) stores zero points less 1, and the second (`gptq_v2`) as they are. The
//! first has no safe place for a zero point of 0: it wraps to 15, which some kernels add up to 0 and
//! some to 16, and GPTQModel's addition carries into the neighbour. So symmetric weights, whose zero
//! points are 8, are written in the first version, which every loader reads, and others in the second.
//! Read are both, 15 as 0: a quantizer's zero points are codes, and 16 is none.
//!
//! A GPTQ weight that was quantized in the order of its inputs' size (`desc_act`) has groups of inputs
//! that are not neighbours. Firebox's formats have no such groups: it is decoded to f32.
//!
//! Source: Frantar et al. (2022), <https://arxiv.org/abs/2210.17323>; Lin et al. (2023),
//! <https://arxiv.org/abs/2306.00978>; `auto_gptq/nn_modules/qlinear/qlinear_cuda.py`,
//! `gptqmodel/utils/model.py` and `awq/modules/linear/gemm.py` for the files.

mod arrays;
mod config;

use std::{collections::BTreeMap, path::Path};

use firebox_tensor::packed::{Int4Groups, PackedFormat, PackedMatrix};
use half::f16;
use serde_json::Value;

pub(crate) use self::config::config_json;

use self::{
    arrays::{Arrays, SYMMETRIC_ZERO},
    config::ConfigReader,
};
use crate::{
    dtype::Dtype,
    encoding,
    error::{CheckpointError, ModelError, tame},
    packed_layout::{PackedEntry, PartLayout, damaged},
    safetensors::Shards,
};

/// What the words of a weight hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Eight codes along the input, zero points less 1.
    GptqV1,
    /// Eight codes along the input.
    GptqV2,
    /// Eight codes along the output.
    Awq,
}

/// The packed weights of a checkpoint.
#[derive(Debug)]
pub(crate) struct Int4Index {
    pub(crate) words: Words,
    /// Whether the order of groups cannot be known without a `g_idx`.
    needs_groups: bool,
    pub(crate) entries: BTreeMap<String, PackedEntry>,
    /// `[out, in]` of weights that no format of Firebox holds.
    pub(crate) decoded: BTreeMap<String, [usize; 2]>,
}

/// Sizes of a weight.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    n_out: usize,
    n_in: usize,
    n_groups: usize,
}

impl Sizes {
    /// `None` where the parts of a weight have no place for the entry.
    fn of_entry(entry: &PackedEntry) -> Option<Self> {
        let [n_out, n_in] = entry.shape;
        let PackedFormat::Int4(groups) = entry.format else {
            return None;
        };
        let n = n_out.checked_mul(n_in)?;
        let fits = n > 0 && n <= isize::MAX as usize / 4;
        let whole = n_out.is_multiple_of(8) && n_in.is_multiple_of(groups.size());
        (fits && whole).then(|| Self {
            n_out,
            n_in,
            n_groups: n_in / groups.size(),
        })
    }

    /// By the shapes of `qweight` and `scales`.
    fn of_file(
        words: Words,
        module: &str,
        shards: &Shards,
        path: &Path,
    ) -> Result<Self, ModelError> {
        let shape = |part: &str| {
            let found = shards.entry(&format!("{module}.{part}"));
            let found = found.map(|entry| entry.shape.clone()).unwrap_or_default();
            let shape = <[usize; 2]>::try_from(found.clone());
            shape.map_err(|_| {
                let expected = format!("a matrix `{part}`");
                damaged(path, module, &expected, &format!("{found:?}"))
            })
        };
        let ([n_rows, n_columns], [n_groups, _]) = (shape("qweight")?, shape("scales")?);
        let sizes = match words {
            Words::Awq => n_columns.checked_mul(8).map(|n_out| [n_out, n_rows]),
            _ => n_rows.checked_mul(8).map(|n_in| [n_columns, n_in]),
        };
        let fits = |[n_out, n_in]: &[usize; 2]| {
            let n = n_out.checked_mul(*n_in).unwrap_or(usize::MAX);
            n > 0 && n <= isize::MAX as usize / 4 && n_out.is_multiple_of(8)
        };
        let [n_out, n_in] = sizes.filter(fits).ok_or_else(|| {
            let expected = "a `qweight` of outputs that are a multiple of 8";
            damaged(
                path,
                module,
                expected,
                &format!("{:?}", [n_rows, n_columns]),
            )
        })?;
        let sizes = Self {
            n_out,
            n_in,
            n_groups,
        };
        match sizes.group_size().and_then(Int4Groups::asymmetric) {
            Some(_) => Ok(sizes),
            None => Err(ModelError::Int4Words {
                path: path.to_owned(),
                what: format!("tensor `{}`", tame(module)),
                expected: "inputs in groups of 32, 64 or 128".to_owned(),
                found: format!("{n_in} inputs in {n_groups} groups"),
            }),
        }
    }

    fn group_size(self) -> Option<usize> {
        self.n_in
            .is_multiple_of(self.n_groups)
            .then(|| self.n_in / self.n_groups)
    }

    /// The parts but for `g_idx`.
    fn parts(self, words: Words, module: &str) -> [PartLayout; 3] {
        let Self {
            n_out,
            n_in,
            n_groups,
        } = self;
        let part = |suffix: &str, dtype, shape: [usize; 2]| PartLayout {
            name: format!("{module}.{suffix}"),
            dtype,
            shape: shape.to_vec(),
        };
        let weight = match words {
            Words::Awq => [n_in, n_out / 8],
            Words::GptqV1 | Words::GptqV2 => [n_in / 8, n_out],
        };
        [
            part("qweight", Dtype::I32, weight),
            part("qzeros", Dtype::I32, [n_groups, n_out / 8]),
            part("scales", Dtype::F16, [n_groups, n_out]),
        ]
    }
}

impl Words {
    /// In which the weights of a format are written.
    pub(crate) fn gptq(groups: Int4Groups) -> Self {
        match groups.is_symmetric() {
            true => Self::GptqV1,
            false => Self::GptqV2,
        }
    }

    /// Whether loaders look for a packed weight of that name.
    pub(crate) fn has_place(self, name: &str) -> bool {
        let head = name == "lm_head.weight" && self == Self::Awq;
        name.ends_with(".weight") && !name.ends_with("embed_tokens.weight") && !head
    }

    /// What the file lists for a packed weight; `None` for one that has no place.
    pub(crate) fn parts(self, name: &str, entry: &PackedEntry) -> Option<Vec<PartLayout>> {
        let module = name.strip_suffix(".weight")?;
        let sizes = Sizes::of_entry(entry).filter(|_| self.has_place(name))?;
        let mut parts = Vec::from(sizes.parts(self, module));
        if self != Self::Awq {
            parts.push(group_index(module, sizes.n_in));
        }
        Some(parts)
    }

    /// The bytes of [`Self::parts`], in their order.
    pub(crate) fn bytes(self, matrix: &PackedMatrix) -> Vec<Vec<u8>> {
        let mut bytes = self.encode(matrix).to_vec();
        if self != Self::Awq {
            let size = matrix.format().row_multiple();
            let groups = (0..matrix.n_cols()).map(|input| (input / size) as i32);
            bytes.push(groups.flat_map(i32::to_le_bytes).collect());
        }
        bytes
    }
}

fn group_index(module: &str, n_in: usize) -> PartLayout {
    PartLayout {
        name: format!("{module}.g_idx"),
        dtype: Dtype::I32,
        shape: vec![n_in],
    }
}

/// The weight to which a tensor of the file belongs, if it is a part of one.
pub(crate) fn weight_of(name: &str) -> Option<String> {
    let (module, part) = name.rsplit_once('.')?;
    let is_part = matches!(part, "qweight" | "qzeros" | "scales" | "g_idx");
    is_part.then(|| format!("{module}.weight"))
}

impl Int4Index {
    /// The packed weights of a checkpoint whose config names `method`, which is `gptq` or `awq`. Looks
    /// at the zero points and groups of each.
    pub(crate) fn of(
        method: &str,
        config: &Value,
        shards: &Shards,
        path: &Path,
    ) -> Result<Self, CheckpointError> {
        let reader = ConfigReader { path, config };
        let words = reader.words(method)?;
        let mut index = Self {
            words,
            needs_groups: words != Words::Awq && reader.is_reordered(),
            entries: BTreeMap::new(),
            decoded: BTreeMap::new(),
        };
        for name in shards.names() {
            if let Some(module) = name.strip_suffix(".qweight") {
                index.add(module, shards, path)?;
            }
        }
        Ok(index)
    }

    fn add(&mut self, module: &str, shards: &Shards, path: &Path) -> Result<(), CheckpointError> {
        let sizes = Sizes::of_file(self.words, module, shards, path)?;
        let name = format!("{module}.weight");
        let shape = [sizes.n_out, sizes.n_in];
        if self.needs_groups && shards.entry(&group_index(module, 0).name).is_none() {
            let expected = "a `g_idx`, as `desc_act` says";
            return Err(damaged(path, module, expected, "none").into());
        }
        let scattered = scattered_groups(self.words, sizes, module, shards, path)?.is_some();
        let in_f16 = |x: &f32| f16::from_f32(*x).to_f32() == *x;
        if scattered
            || !scales(self.words, sizes, module, shards, path)?
                .iter()
                .all(in_f16)
        {
            self.decoded.insert(name, shape);
            return Ok(());
        }
        let [_, zeros, _] = sizes.parts(self.words, module);
        let zeros = read(&zeros, module, shards, path)?;
        let zeros = self.words.zero_points(&zeros);
        let size = sizes.n_in / sizes.n_groups;
        let groups = match zeros.iter().all(|zero| *zero == SYMMETRIC_ZERO) {
            true => Int4Groups::symmetric(size),
            false => Int4Groups::asymmetric(size),
        };
        if let Some(format) = groups.map(PackedFormat::Int4) {
            self.entries.insert(name, PackedEntry { format, shape });
        }
        Ok(())
    }
}

/// Reads a weight that a format of Firebox holds.
pub(crate) fn load(
    words: Words,
    name: &str,
    entry: &PackedEntry,
    shards: &Shards,
    path: &Path,
) -> Result<PackedMatrix, CheckpointError> {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    let sizes = Sizes::of_entry(entry).ok_or_else(|| {
        let expected = format!("a shape that fits `{}`", entry.format);
        damaged(path, name, &expected, &format!("{:?}", entry.shape))
    })?;
    let arrays = arrays(words, sizes, module, shards, path)?;
    let mut zeros = Some(arrays.paired_zeros(sizes.n_groups));
    let scales = arrays.scales.iter().map(|x| f16::from_f32(*x));
    let mut scales = Some(scales.flat_map(f16::to_le_bytes).collect());
    let mut codes = Some(arrays.codes);
    entry.assemble(name, path, |part| match part {
        "codes" => codes.take(),
        "scales" => scales.take(),
        "zeros" => zeros.take(),
        _ => None,
    })
}

/// Decodes a weight that no format of Firebox holds.
pub(crate) fn decode(
    words: Words,
    name: &str,
    shards: &Shards,
    path: &Path,
) -> Result<Vec<f32>, CheckpointError> {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    let sizes = Sizes::of_file(words, module, shards, path)?;
    let groups = scattered_groups(words, sizes, module, shards, path)?;
    let size = sizes.n_in / sizes.n_groups;
    let groups = groups.unwrap_or_else(|| (0..sizes.n_in).map(|input| input / size).collect());
    let arrays = arrays(words, sizes, module, shards, path)?;
    if let Some(found) = arrays.scales.iter().find(|scale| !scale.is_finite()) {
        return Err(damaged(path, name, "finite scales", &found.to_string()).into());
    }
    Ok(arrays.values(&groups))
}

fn arrays(
    words: Words,
    sizes: Sizes,
    module: &str,
    shards: &Shards,
    path: &Path,
) -> Result<Arrays, CheckpointError> {
    let [weight, zeros, _] = sizes.parts(words, module);
    let weight = read(&weight, module, shards, path)?;
    let zeros = read(&zeros, module, shards, path)?;
    let scales = scales(words, sizes, module, shards, path)?;
    Ok(words.decode(sizes.n_out, [&weight, &zeros], &scales))
}

/// `[n_groups, n_out]`. They are in f16, or in the type of the model that was quantized.
fn scales(
    words: Words,
    sizes: Sizes,
    module: &str,
    shards: &Shards,
    path: &Path,
) -> Result<Vec<f32>, CheckpointError> {
    let [_, _, mut part] = sizes.parts(words, module);
    let found = shards.entry(&part.name).map(|entry| entry.dtype);
    if let Some(dtype @ (Dtype::BF16 | Dtype::F32)) = found {
        part.dtype = dtype;
    }
    let bytes = read(&part, module, shards, path)?;
    Ok(encoding::decode(part.dtype, &bytes).unwrap_or_default())
}

fn read(
    part: &PartLayout,
    module: &str,
    shards: &Shards,
    path: &Path,
) -> Result<Vec<u8>, CheckpointError> {
    let wrong = |expected: String, found: String| damaged(path, module, &expected, &found);
    part.read(&part.name, |found| *found == part.shape, shards, &wrong)
}

/// The group of each input, where a group is not of neighbours in order. Files without a `g_idx` have
/// groups in order.
fn scattered_groups(
    words: Words,
    sizes: Sizes,
    module: &str,
    shards: &Shards,
    path: &Path,
) -> Result<Option<Vec<usize>>, CheckpointError> {
    let part = group_index(module, sizes.n_in);
    if words == Words::Awq || shards.entry(&part.name).is_none() {
        return Ok(None);
    }
    let bytes = read(&part, module, shards, path)?;
    let mut groups = Vec::with_capacity(sizes.n_in);
    for group in bytes.as_chunks().0 {
        let group = i32::from_le_bytes(*group);
        let known = usize::try_from(group).ok();
        let known = known.filter(|group| *group < sizes.n_groups);
        groups.push(known.ok_or_else(|| {
            let expected = format!("a `g_idx` of groups below {}", sizes.n_groups);
            damaged(path, module, &expected, &group.to_string())
        })?);
    }
    let size = sizes.n_in / sizes.n_groups;
    let in_order = groups
        .iter()
        .enumerate()
        .all(|(i, group)| *group == i / size);
    Ok((!in_order).then_some(groups))
}

#[cfg(test)]
mod tests;
