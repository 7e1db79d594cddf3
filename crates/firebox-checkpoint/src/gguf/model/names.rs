//! The architectures, and the Hugging Face names of their tensors.

use rayon::prelude::*;

use super::meta::Meta;
use crate::error::ModelError;

/// A model architecture that is read from GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    /// Llama and what follows it to the letter, such as SmolLM2.
    Llama,
    /// Qwen2: biases on Q, K and V, and no permutation of rows.
    Qwen2,
}

/// Which projection's rows are interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permuted {
    Query,
    Key,
}

/// Where a GGUF tensor belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The Hugging Face name.
    pub(super) name: String,
    pub(super) permuted: Option<Permuted>,
}

/// Name in the file, Hugging Face name.
const TOP_NAMES: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"), // Absent when it is tied to the embedding.
];

/// The same within a layer, without `.weight` or `.bias`.
const LAYER_NAMES: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

impl Architecture {
    const ALL: [Self; 2] = [Self::Llama, Self::Qwen2];

    /// The architecture of a file.
    pub(super) fn of(meta: &Meta<'_>) -> Result<Self, ModelError> {
        const KEY: &str = "general.architecture";
        let found = meta.str(KEY)?.ok_or_else(|| meta.missing(KEY))?;
        let known = || {
            Self::ALL
                .map(|known| format!("`{}`", known.name()))
                .join(" or ")
        };
        Self::ALL
            .into_iter()
            .find(|known| known.name() == found)
            .ok_or_else(|| {
                let (path, found) = (meta.path.to_owned(), crate::error::tame(found));
                ModelError::Architecture {
                    path,
                    known: known(),
                    found,
                }
            })
    }

    /// The architecture that GGUF and Hugging Face's `model_type` name so.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The name in GGUF and the `model_type` of Hugging Face.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }

    /// The class of Hugging Face's transformers.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
        }
    }

    /// The name in GGUF of a tensor with a Hugging Face name, and whether its rows are interleaved
    /// there; `None` if there is none.
    pub(super) fn gguf_name(self, name: &str) -> Option<(String, Option<Permuted>)> {
        let gguf = match TOP_NAMES.iter().find(|(_, top)| *top == name) {
            Some((gguf, _)) => (*gguf).to_owned(),
            None => {
                let (number, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
                let (stem, suffix) = rest.rsplit_once('.')?;
                let (gguf, _) = LAYER_NAMES.iter().find(|(_, layer)| *layer == stem)?;
                format!("blk.{number}.{gguf}.{suffix}")
            }
        };
        let place = self.place(&gguf).filter(|place| place.name == name)?;
        Some((gguf, place.permuted))
    }

    /// Where a tensor belongs; `None` if nowhere.
    pub(super) fn place(self, gguf_name: &str) -> Option<Place> {
        if let Some((_, name)) = TOP_NAMES.iter().find(|(top, _)| *top == gguf_name) {
            return Some(Place {
                name: (*name).to_owned(),
                permuted: None,
            });
        }
        let (layer, rest) = gguf_name.strip_prefix("blk.")?.split_once('.')?;
        let number: u32 = layer.parse().ok()?;
        if number.to_string() != layer {
            return None; // Not `007`: two tensors could claim one place.
        }
        let (stem, suffix) = rest.split_once('.')?;
        if !matches!(suffix, "weight" | "bias") {
            return None;
        }
        let (_, name) = LAYER_NAMES.iter().find(|(gguf, _)| *gguf == stem)?;
        let permuted = match (self, stem) {
            (Self::Llama, "attn_q") => Some(Permuted::Query),
            (Self::Llama, "attn_k") => Some(Permuted::Key),
            _ => None,
        };
        Some(Place {
            name: format!("model.layers.{number}.{name}.{suffix}"),
            permuted,
        })
    }
}

/// Rows in Hugging Face's order.
///
/// llama.cpp rotates neighbouring pairs of a head, Hugging Face rotates its two halves against each
/// other, so for the `llama` architecture the rows of Q and K lie interleaved in the file: row
/// `2 i + j` of a head is row `j * head_dim / 2 + i` here.
///
/// `values` are the elements of the rows, or their bytes.
pub(super) fn undo_rope_permutation<T>(values: &[T], n_rows: usize, n_heads: usize) -> Vec<T>
where
    T: Copy + Default + Send + Sync,
{
    let n_columns = values.len() / n_rows.max(1);
    if n_columns == 0 {
        return values.to_vec();
    }
    let head_dim = n_rows / n_heads;
    let half = head_dim / 2;
    let mut ordered = vec![T::default(); values.len()];
    ordered
        .par_chunks_mut(n_columns)
        .enumerate()
        .for_each(|(row, out)| {
            let (head, within) = (row / head_dim, row % head_dim);
            let source = head * head_dim + 2 * (within % half) + within / half;
            out.copy_from_slice(&values[source * n_columns..][..n_columns]);
        });
    ordered
}

/// Rows in llama.cpp's order: the opposite of [`undo_rope_permutation`].
pub(super) fn rope_permutation<T: Copy>(values: &[T], n_rows: usize, n_heads: usize) -> Vec<T> {
    let n_columns = values.len() / n_rows.max(1);
    let head_dim = n_rows / n_heads;
    let half = head_dim / 2;
    let rows = (0..n_rows).flat_map(|row| {
        let (head, within) = (row / head_dim, row % head_dim);
        let source = head * head_dim + within % 2 * half + within / 2;
        &values[source * n_columns..][..n_columns]
    });
    rows.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(architecture: Architecture, gguf: &str, expected: Option<(&str, Option<Permuted>)>) {
        let expected = expected.map(|(name, permuted)| Place {
            name: name.to_owned(),
            permuted,
        });
        assert_eq!(architecture.place(gguf), expected);
    }

    #[test]
    fn names_are_those_of_hugging_face() {
        use Architecture::{Llama, Qwen2};
        check(
            Llama,
            "token_embd.weight",
            Some(("model.embed_tokens.weight", None)),
        );
        let query = "model.layers.7.self_attn.q_proj.weight";
        check(
            Llama,
            "blk.7.attn_q.weight",
            Some((query, Some(Permuted::Query))),
        );
        check(Qwen2, "blk.7.attn_q.weight", Some((query, None)));
        check(
            Qwen2,
            "blk.0.attn_v.bias",
            Some(("model.layers.0.self_attn.v_proj.bias", None)),
        );
        for gguf in [
            "token_embd.weight",
            "blk.7.attn_q.weight",
            "blk.0.attn_v.bias",
        ] {
            let place = Llama.place(gguf).unwrap();
            let back = Llama.gguf_name(&place.name);
            assert_eq!(back, Some((gguf.to_owned(), place.permuted)));
        }
        assert_eq!(Llama.gguf_name("model.layers.0.mlp.experts.weight"), None);
        assert_eq!(Llama.gguf_name("model.layers.07.mlp.up_proj.weight"), None);
    }

    #[test]
    fn strangers_have_no_place() {
        for name in [
            "blk.07.attn_q.weight",
            "blk.0.attn_q",
            "blk.0.attn_q.scale",
            "blk.x.attn_q.weight",
            "",
            "blk.",
        ] {
            check(Architecture::Llama, name, None);
        }
    }

    #[test]
    fn interleaved_rows_come_back_as_two_halves() {
        let rows: Vec<f32> = (0..8).flat_map(|row| [row as f32; 3]).collect();
        let ordered = undo_rope_permutation(&rows, 8, 2);
        let firsts: Vec<f32> = ordered.chunks(3).map(|row| row[0]).collect();
        assert_eq!(firsts, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        assert_eq!(rope_permutation(&ordered, 8, 2), rows);
    }
}
