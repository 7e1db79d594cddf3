//! How packed weights lie in a safetensors file: in Firebox's own layout or another program's.
//!
//! Of Firebox's own, a packed tensor `X.weight` is stored as one entry per part, `X.weight.codes`,
//! `X.weight.absmax` and so on; the header's metadata have `firebox_packed_version`, and the
//! config lists what was packed and how:
//!
//! ```json
//! "firebox_quantization": {
//!   "version": 1,
//!   "tensors": {"X.weight": {"format": "nf4", "shape": [576, 1536]}}
//! }
//! ```

mod layout;

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use firebox_tensor::packed::{PackedFormat, PackedMatrix};
use serde_json::{Map, Value, json};

pub use self::layout::PackedLayout;

use crate::{
    bitsandbytes,
    checkpoint::Storage,
    dtype::Dtype,
    error::{CheckpointError, ModelError, tame},
    int4_words::{self, Int4Index, Words},
    safetensors::Shards,
};

/// The config's key.
pub(crate) const CONFIG_KEY: &str = "firebox_quantization";

/// The key and the value in the safetensors header.
const HEADER_MARK: (&str, &str) = ("firebox_packed_version", "1");

/// The version that is read and written.
const VERSION: u64 = 1;

/// The packed tensors of a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct PackedIndex {
    entries: BTreeMap<String, PackedEntry>,
    layout: PackedLayout,
    /// How the words of GPTQ's and AWQ's files are read.
    words: Option<Words>,
    /// `[out, in]` of weights that are packed in the file as no format of Firebox is, and decoded.
    decoded: BTreeMap<String, [usize; 2]>,
}

/// A packed tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackedEntry {
    pub(crate) format: PackedFormat,
    /// `[out, in]`.
    pub(crate) shape: [usize; 2],
}

/// A part of a packed tensor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartLayout {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
}

impl PartLayout {
    /// The part's bytes in a file that has it as `full_name`, in the right dtype and a shape that fits.
    pub(crate) fn read(
        &self,
        full_name: &str,
        fits: impl Fn(&[usize]) -> bool,
        shards: &Shards,
        wrong: &impl Fn(String, String) -> ModelError,
    ) -> Result<Vec<u8>, CheckpointError> {
        let Self { name, dtype, shape } = self;
        let expected = || format!("a part `{name}` of {dtype} {shape:?}");
        let Some((file, entry)) = shards.find(full_name) else {
            return Err(wrong(expected(), "none".to_owned()).into());
        };
        if entry.dtype != *dtype || !fits(&entry.shape) {
            return Err(wrong(expected(), format!("{} {:?}", entry.dtype, entry.shape)).into());
        }
        let bytes = file.unchanged_bytes()?[entry.range.clone()].to_vec();
        file.release(entry.range.clone());
        Ok(bytes)
    }
}

/// A packed tensor that is not what it should be.
pub(crate) fn damaged(path: &Path, name: &str, expected: &str, found: &str) -> ModelError {
    ModelError::PackedEntry {
        path: path.to_owned(),
        name: tame(name),
        expected: expected.to_owned(),
        found: tame(found),
    }
}

impl PackedIndex {
    /// Of no tensors yet.
    pub(crate) fn new(layout: PackedLayout) -> Self {
        Self {
            layout,
            ..Self::default()
        }
    }

    /// The packed tensors of a directory, in any layout.
    pub(crate) fn of(
        config: &Value,
        shards: &Shards,
        path: &Path,
    ) -> Result<Self, CheckpointError> {
        let own = Self::read(config, path)?;
        let method = config[bitsandbytes::CONFIG_KEY]["quant_method"].as_str();
        match method {
            None => Ok(own),
            Some("bitsandbytes") => Ok(Self {
                entries: bitsandbytes::index(shards, path)?,
                ..Self::new(PackedLayout::Bitsandbytes)
            }),
            Some(method @ ("gptq" | "awq")) => {
                let config = &config[bitsandbytes::CONFIG_KEY];
                let index = Int4Index::of(method, config, shards, path)?;
                let layout = match index.words {
                    Words::Awq => PackedLayout::Awq,
                    Words::GptqV1 | Words::GptqV2 => PackedLayout::Gptq,
                };
                Ok(Self {
                    entries: index.entries,
                    layout,
                    words: Some(index.words),
                    decoded: index.decoded,
                })
            }
            Some(other) => Err(ModelError::QuantMethod {
                path: path.to_owned(),
                found: tame(other),
            }
            .into()),
        }
    }

    /// What a config lists.
    fn read(config: &Value, path: &Path) -> Result<Self, ModelError> {
        let Some(listed) = config.get(CONFIG_KEY) else {
            return Ok(Self::default());
        };
        if listed["version"] != json!(VERSION) {
            let (path, found) = (path.to_owned(), tame(&listed["version"].to_string()));
            return Err(ModelError::PackedVersion {
                path,
                expected: VERSION,
                found,
            });
        }
        let error = |name: &str, expected: &str, found: &Value| {
            damaged(path, name, expected, &found.to_string())
        };
        let tensors = &listed["tensors"];
        let tensors = tensors
            .as_object()
            .ok_or_else(|| error("", "a map of tensors", tensors))?;
        let mut entries = BTreeMap::new();
        for (name, entry) in tensors {
            let format: PackedFormat = entry["format"]
                .as_str()
                .and_then(|format| format.parse().ok())
                .ok_or_else(|| error(name, &known_formats(), &entry["format"]))?;
            let sizes: Option<Vec<usize>> = entry["shape"].as_array().and_then(|sizes| {
                sizes
                    .iter()
                    .map(|size| size.as_u64()?.try_into().ok())
                    .collect()
            });
            let shape = sizes
                .and_then(|sizes| <[usize; 2]>::try_from(sizes).ok())
                .ok_or_else(|| error(name, "a shape `[out, in]`", &entry["shape"]))?;
            entries.insert(name.clone(), PackedEntry { format, shape });
        }
        Ok(Self {
            entries,
            ..Self::default()
        })
    }

    /// Says in a config what is packed, in place of what it says of another model. `plain` are the
    /// tensors that are not.
    pub(crate) fn write_config<'a>(
        &self,
        config: &mut Map<String, Value>,
        plain: impl Iterator<Item = &'a str>,
    ) {
        config.shift_remove(CONFIG_KEY);
        config.shift_remove(bitsandbytes::CONFIG_KEY);
        if self.entries.is_empty() {
            return;
        }
        if self.layout == PackedLayout::Firebox {
            config.insert(CONFIG_KEY.to_owned(), self.to_json());
            return;
        }
        let kept = plain.filter_map(|name| name.strip_suffix("_proj.weight"));
        let mut kept: Vec<String> = kept.map(|name| format!("{name}_proj")).collect();
        let first = self.entries.values().next().map(|entry| entry.format);
        let value = match first.map(|first| (first, self.layout.words(first))) {
            Some((PackedFormat::Int4(groups), Some(words))) => {
                let packs_head = self.entries.contains_key("lm_head.weight");
                int4_words::config_json(words, groups, kept, packs_head)
            }
            _ => {
                kept.push("lm_head".to_owned());
                let formats = self.entries.values().map(|entry| &entry.format);
                bitsandbytes::config_json(formats, &kept)
            }
        };
        config.insert(bitsandbytes::CONFIG_KEY.to_owned(), value);
    }

    fn to_json(&self) -> Value {
        let tensors: Map<String, Value> = self
            .entries
            .iter()
            .map(|(name, entry)| {
                let listed = json!({"format": entry.format.name(), "shape": entry.shape});
                (name.clone(), listed)
            })
            .collect();
        json!({"version": VERSION, "tensors": tensors})
    }

    pub(crate) fn insert(&mut self, name: &str, entry: PackedEntry) {
        self.entries.insert(name.to_owned(), entry);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&PackedEntry> {
        self.entries.get(name)
    }

    /// Of the weights that are packed in the file.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.entries.keys().chain(self.decoded.keys())
    }

    /// `[out, in]` of a weight that is packed in the file.
    pub(crate) fn shape(&self, name: &str) -> Option<[usize; 2]> {
        let packed = self.entries.get(name).map(|entry| entry.shape);
        packed.or_else(|| self.decoded.get(name).copied())
    }

    /// As what a weight that is packed in the file is handed out.
    pub(crate) fn storage(&self, name: &str) -> Option<Storage> {
        let packed = self.entries.get(name);
        let packed = packed.map(|entry| Storage::Packed(entry.format));
        let decoded = || self.decoded.get(name);
        packed.or_else(|| decoded().map(|_| Storage::Plain(Dtype::F32)))
    }

    /// Whether a file's entry is a part of a packed tensor.
    pub(crate) fn has_part(&self, name: &str) -> bool {
        match self.layout {
            PackedLayout::Firebox => name
                .rsplit_once('.')
                .is_some_and(|(whole, _)| self.entries.contains_key(whole)),
            PackedLayout::Bitsandbytes => bitsandbytes::is_part(&self.entries, name),
            PackedLayout::Gptq | PackedLayout::Awq => {
                int4_words::weight_of(name).is_some_and(|weight| self.shape(&weight).is_some())
            }
        }
    }

    /// What a tensor of `format` would have to be beside those that are there, where it cannot lie beside
    /// them.
    pub(crate) fn clash(&self, format: PackedFormat) -> Option<String> {
        let layout = self.layout;
        let has_8_bits = |format: PackedFormat| format == PackedFormat::Int8Rowwise;
        let mut others = self.entries.values().map(|entry| entry.format);
        match layout {
            PackedLayout::Firebox => None,
            PackedLayout::Bitsandbytes => others
                .find(|other| has_8_bits(*other) != has_8_bits(format))
                .map(|other| {
                    format!("a format beside {other}: transformers loads 4 bits or 8, not both")
                }),
            PackedLayout::Gptq | PackedLayout::Awq => others
                .find(|other| *other != format)
                .map(|other| format!("{other} as before, for {layout} has one format")),
        }
    }

    /// Names, types and shapes of what a file has for a packed tensor; `None` if the layout has no
    /// place for its format, or the format does not fit the shape.
    pub(crate) fn parts(&self, name: &str, entry: &PackedEntry) -> Option<Vec<PartLayout>> {
        match self.layout {
            PackedLayout::Firebox => {
                let mut parts = entry.parts()?;
                for part in &mut parts {
                    part.name = format!("{name}.{}", part.name);
                }
                Some(parts)
            }
            PackedLayout::Bitsandbytes => bitsandbytes::parts(name, entry),
            PackedLayout::Gptq | PackedLayout::Awq => {
                self.layout.words(entry.format)?.parts(name, entry)
            }
        }
    }

    /// What would have a place, for an entry that has no [`Self::parts`].
    pub(crate) fn expected(&self, name: &str, entry: &PackedEntry) -> String {
        let (layout, format) = (self.layout, entry.format);
        let formats = layout.formats();
        if !formats.contains(&format) {
            let names: Vec<&str> = formats.into_iter().map(PackedFormat::name).collect();
            return format!("{}, as {layout} has", names.join(", "));
        }
        if entry.parts().is_none() {
            let columns = format.row_multiple();
            return format!("rows of whole blocks of {format}, {columns} columns each");
        }
        match layout.words(format) {
            Some(words) if !words.has_place(name) => {
                format!("the weight of a projection, as {layout} packs them")
            }
            Some(_) => format!("a multiple of 8 rows, as {layout} packs them"),
            None => "a size that can be addressed".to_owned(),
        }
    }

    /// The bytes of [`Self::parts`], in their order.
    pub(crate) fn bytes<'a>(&self, matrix: &'a PackedMatrix) -> Vec<Cow<'a, [u8]>> {
        match self.layout {
            PackedLayout::Firebox => {
                let parts = matrix.parts().into_iter();
                parts.map(|part| Cow::Borrowed(part.bytes)).collect()
            }
            PackedLayout::Bitsandbytes => {
                let parts = bitsandbytes::bytes(matrix).into_iter();
                parts.map(Cow::Owned).collect()
            }
            PackedLayout::Gptq | PackedLayout::Awq => {
                let words = self.layout.words(matrix.format());
                let parts = words.map(|words| words.bytes(matrix)).unwrap_or_default();
                parts.into_iter().map(Cow::Owned).collect()
            }
        }
    }

    /// What a file's header says of the layout.
    pub(crate) fn header_mark(&self) -> Option<(&'static str, &'static str)> {
        let marked = !self.entries.is_empty() && self.layout == PackedLayout::Firebox;
        marked.then_some(HEADER_MARK)
    }

    /// Reads a packed tensor.
    pub(crate) fn load(
        &self,
        name: &str,
        shards: &Shards,
        path: &Path,
    ) -> Result<Option<PackedMatrix>, CheckpointError> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let matrix = match (self.layout, self.words) {
            (PackedLayout::Bitsandbytes, _) => bitsandbytes::load(name, entry, shards, path),
            (_, Some(words)) => int4_words::load(words, name, entry, shards, path),
            (_, None) => entry.load(name, shards, path),
        };
        matrix.map(Some)
    }

    /// The values of a weight that is packed in the file as no format of Firebox is.
    pub(crate) fn decode(
        &self,
        name: &str,
        shards: &Shards,
        path: &Path,
    ) -> Result<Option<Vec<f32>>, CheckpointError> {
        match (self.decoded.contains_key(name), self.words) {
            (true, Some(words)) => int4_words::decode(words, name, shards, path).map(Some),
            _ => Ok(None),
        }
    }
}

fn known_formats() -> String {
    PackedFormat::ALL
        .map(|format| format!("`{format}`"))
        .join(", ")
}

impl PackedEntry {
    /// The parts and their sizes; `None` if the format does not fit the shape, or the sizes overflow.
    pub(crate) fn parts(&self) -> Option<Vec<PartLayout>> {
        let [n_rows, n_cols] = self.shape;
        let n = n_rows
            .checked_mul(n_cols)
            .filter(|n| *n <= isize::MAX as usize / 4)?;
        let n_blocks = n.div_ceil(64);
        let part = |name: &str, dtype, shape| PartLayout {
            name: name.to_owned(),
            dtype,
            shape,
        };
        let block_len = self.format.row_multiple();
        let blocks = |block_bytes: usize| {
            let row_bytes = (n_cols / block_len).checked_mul(block_bytes)?;
            n_cols
                .is_multiple_of(block_len)
                .then(|| vec![part("blocks", Dtype::U8, vec![n_rows, row_bytes])])
        };
        match self.format {
            PackedFormat::Nf4 | PackedFormat::Fp4 => Some(vec![
                part("codes", Dtype::U8, vec![n.div_ceil(2)]),
                part("absmax", Dtype::F32, vec![n_blocks]),
            ]),
            PackedFormat::Nf4DoubleQuant | PackedFormat::Fp4DoubleQuant => Some(vec![
                part("codes", Dtype::U8, vec![n.div_ceil(2)]),
                part("absmax_codes", Dtype::U8, vec![n_blocks]),
                part("absmax_absmax", Dtype::F32, vec![n_blocks.div_ceil(256)]),
                part("absmax_offset", Dtype::F32, vec![1]),
            ]),
            PackedFormat::Int8Rowwise => Some(vec![
                part("codes", Dtype::I8, vec![n_rows, n_cols]),
                part("absmax", Dtype::F32, vec![n_rows]),
            ]),
            PackedFormat::Q8_0
            | PackedFormat::Q4_0
            | PackedFormat::Q4_1
            | PackedFormat::Q4K
            | PackedFormat::Q5_0
            | PackedFormat::Q5_1
            | PackedFormat::Q5K
            | PackedFormat::Q6K => blocks(self.format.ggml_block_bytes()?),
            PackedFormat::Int4(groups) => {
                let n_groups = n_cols / groups.size();
                let mut parts = vec![
                    part("codes", Dtype::U8, vec![n_rows, n_cols / 2]),
                    part("scales", Dtype::F16, vec![n_rows, n_groups]),
                ];
                if !groups.is_symmetric() {
                    parts.push(part("zeros", Dtype::U8, vec![n_rows, n_groups.div_ceil(2)]));
                }
                n_cols.is_multiple_of(groups.size()).then_some(parts)
            }
        }
    }

    /// Reads the parts, each of which must have its dtype and shape.
    fn load(
        &self,
        name: &str,
        shards: &Shards,
        path: &Path,
    ) -> Result<PackedMatrix, CheckpointError> {
        let wrong = |expected: String, found: String| damaged(path, name, &expected, &found);
        let Some(layout) = self.parts() else {
            let expected = format!("a shape that fits `{}`", self.format);
            return Err(wrong(expected, format!("{:?}", self.shape)).into());
        };
        let mut parts = BTreeMap::new();
        for part in layout {
            let full_name = format!("{name}.{}", part.name);
            let bytes = part.read(&full_name, |found| *found == part.shape, shards, &wrong)?;
            parts.insert(part.name, bytes);
        }
        self.assemble(name, path, |part| parts.remove(part))
    }

    /// The weight of these parts.
    pub(crate) fn assemble(
        &self,
        name: &str,
        path: &Path,
        get: impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<PackedMatrix, CheckpointError> {
        let [n_rows, n_cols] = self.shape;
        let matrix = PackedMatrix::from_parts(self.format, n_rows, n_cols, get);
        Ok(matrix.map_err(|source| ModelError::Packed {
            name: name.to_owned(),
            path: path.to_owned(),
            source,
        })?)
    }
}

#[cfg(test)]
mod tests {
    use firebox_tensor::packed::PartDtype;

    use super::*;

    /// The dtype of a part in a safetensors file.
    fn part_dtype(dtype: PartDtype) -> Dtype {
        match dtype {
            PartDtype::U8 => Dtype::U8,
            PartDtype::I8 => Dtype::I8,
            PartDtype::F16 => Dtype::F16,
            PartDtype::F32 => Dtype::F32,
        }
    }

    #[test]
    fn layout_is_that_of_the_packed_matrix() {
        for format in PackedFormat::ALL {
            for n_blocks in [1, 2, 3, 16] {
                let shape = [5 * n_blocks - 4, n_blocks * format.row_multiple().max(32)];
                let [n_rows, n_cols] = shape;
                let weight: Vec<f32> = (0..n_rows * n_cols).map(|i| (i as f32).sin()).collect();
                let matrix = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
                let expected: Vec<PartLayout> = matrix
                    .parts()
                    .into_iter()
                    .map(|part| PartLayout {
                        name: part.name.to_owned(),
                        dtype: part_dtype(part.dtype),
                        shape: part.shape,
                    })
                    .collect();
                assert_eq!(PackedEntry { format, shape }.parts().unwrap(), expected);
            }
        }
    }

    #[test]
    fn shapes_that_cannot_be_have_no_layout() {
        let parts = |format, shape| PackedEntry { format, shape }.parts();
        assert_eq!(parts(PackedFormat::Nf4, [usize::MAX, 2]), None);
        assert_eq!(parts(PackedFormat::Q8_0, [4, 33]), None);
        assert_eq!(parts(PackedFormat::Q4K, [4, 288]), None);
    }
}
