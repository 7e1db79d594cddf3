//! Low-rank adapters beside the weights, another for each sequence of a batch.
//!
//! The weights are multiplied for all rows at once; then the rows of each adapter are gathered, and
//! their side path is added.
//!
//! Source: Chen et al. (2023), section 4, <https://arxiv.org/abs/2310.18547>.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use firebox_checkpoint::{Adapter, AdapterConfig};
use firebox_tensor::host::{MatmulScratch, PanelFormat, PanelMatrix, Start};

use super::HostSegment;
use super::linear::Projection;
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::lora::{FileFactors, check_all_taken, check_kind};

/// A LoRA adapter laid out for this CPU: for every model of the sizes that it was loaded for.
#[derive(Debug)]
pub struct HostAdapter {
    id: u64,
    /// Of the model.
    sizes: [usize; 5],
    /// By layer and [`Place`].
    layers: Vec<[Vec<SidePath>; 4]>,
}

/// One of the products of a decoder layer, in the order of [`Projection::of_layer`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Qkv,
    O,
    GateUp,
    Down,
}

/// Beside one linear layer.
///
/// Source: Hu et al. (2021), section 4.1, <https://arxiv.org/abs/2106.09685>.
#[derive(Debug)]
struct SidePath {
    /// `[rank, in]`.
    a: PanelMatrix,
    /// `[out, rank]`, scaled.
    b: PanelMatrix,
    /// Its first column among those of the product.
    first: usize,
}

/// The rows of a pass that adapters change, one group for each adapter.
#[derive(Debug)]
pub(super) struct AdaptedRows<'a>(Vec<Group<'a>>);

#[derive(Debug)]
struct Group<'a> {
    adapter: &'a HostAdapter,
    rows: Vec<usize>,
}

/// Buffers of the side paths.
#[derive(Debug, Default)]
pub(super) struct SideBuffers {
    /// `[rows, in]`.
    x: Vec<f32>,
    /// `[rows, rank]`.
    narrow: Vec<f32>,
    /// `[rows, out]`.
    y: Vec<f32>,
    scratch: MatmulScratch,
}

impl HostAdapter {
    /// Whether the adapter is factors alone: neither DoRA nor modules that were trained whole.
    pub fn is_plain(config: &AdapterConfig) -> bool {
        let whole = config.modules_to_save.as_deref().unwrap_or_default();
        !config.use_dora && whole.is_empty()
    }

    /// Lays out an adapter for models of these sizes.
    ///
    /// # Errors
    /// As [`Llama::load_adapter`](crate::Llama::load_adapter), and when it is not
    /// [plain](Self::is_plain).
    pub fn new(config: &LlamaConfig, adapter: &Adapter) -> Result<Self, ModelError> {
        static N_LOADED: AtomicU64 = AtomicU64::new(0);
        check_kind(&adapter.config)?;
        if !Self::is_plain(&adapter.config) {
            return Err(ModelError::Lora {
                what: "expected two factors a layer, found DoRA or modules that were trained whole"
                    .into(),
                hint: "`firebox merge` makes one model of it and its base".into(),
            });
        }
        let projections = Projection::of_layer(config);
        let (mut n_taken, mut names) = (0, Vec::new());
        let mut layers = Vec::with_capacity(config.n_layers);
        for i in 0..config.n_layers {
            let mut layer = [const { Vec::new() }; 4];
            for (projection, paths) in projections.iter().zip(&mut layer) {
                let mut first = 0;
                for (part, d_out) in &projection.parts {
                    let name = format!("model.layers.{i}.{part}");
                    let shape = [*d_out, projection.d_in];
                    if let Some(factors) = FileFactors::of(adapter, &name, shape)? {
                        paths.push(SidePath::new(&factors, shape, first));
                        n_taken += 2;
                    }
                    first += d_out;
                    names.push(name);
                }
            }
            layers.push(layer);
        }
        check_all_taken(adapter, n_taken, names.into_iter())?;
        Ok(Self {
            id: N_LOADED.fetch_add(1, Relaxed) + 1,
            sizes: sizes(config),
            layers,
        })
    }

    /// A number that no other adapter of this process has; never 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Bytes of the factors in memory.
    pub fn n_bytes(&self) -> usize {
        let paths = self.layers.iter().flatten().flatten();
        paths.map(|path| path.a.n_bytes() + path.b.n_bytes()).sum()
    }

    /// # Errors
    /// [`ModelError::Lora`] when it was loaded for a model of other sizes.
    pub fn check(&self, config: &LlamaConfig) -> Result<(), ModelError> {
        match self.sizes == sizes(config) {
            true => Ok(()),
            false => Err(ModelError::Lora {
                what: "expected an adapter of this model, found one of a model of other sizes"
                    .into(),
                hint: "load it for this model".into(),
            }),
        }
    }
}

/// All that the shapes of the factors come from.
fn sizes(config: &LlamaConfig) -> [usize; 5] {
    [
        config.n_layers,
        config.d_model,
        config.n_heads * config.head_dim,
        config.n_kv_heads * config.head_dim,
        config.d_ff,
    ]
}

impl SidePath {
    fn new(factors: &FileFactors<'_>, [d_out, d_in]: [usize; 2], first: usize) -> Self {
        let rank = factors.a.shape[0];
        let scaling = factors.scaling as f32;
        let scaled: Vec<f32> = factors.b.data.iter().map(|b| b * scaling).collect();
        Self {
            a: PanelMatrix::from_dense(PanelFormat::F32, &factors.a.data, rank, d_in),
            b: PanelMatrix::from_dense(PanelFormat::F32, &scaled, d_out, rank),
            first,
        }
    }
}

impl<'a> AdaptedRows<'a> {
    /// Rows without an adapter are in no group.
    pub(super) fn group(segments: &[HostSegment<'a>], of_model: Option<&'a HostAdapter>) -> Self {
        let (mut groups, mut first) = (Vec::<Group<'a>>::new(), 0);
        for segment in segments {
            let rows = first..first + segment.ids.len();
            first = rows.end;
            let Some(adapter) = segment.adapter.or(of_model) else {
                continue;
            };
            let same = |group: &&mut Group<'a>| std::ptr::eq(group.adapter, adapter);
            match groups.iter_mut().find(same) {
                Some(group) => group.rows.extend(rows),
                None => groups.push(Group {
                    adapter,
                    rows: rows.collect(),
                }),
            }
        }
        Self(groups)
    }

    /// `y += scaling · (x Aᵀ) Bᵀ` with the factors of each row's adapter: `[rows, in]` to `[rows, out]`.
    pub(super) fn add(
        &self,
        (layer, place): (usize, Place),
        x: &[f32],
        y: &mut [f32],
        buffers: &mut SideBuffers,
    ) {
        for group in &self.0 {
            group.add(&group.adapter.layers[layer][place as usize], x, y, buffers);
        }
    }
}

impl Group<'_> {
    fn add(&self, paths: &[SidePath], x: &[f32], y: &mut [f32], buffers: &mut SideBuffers) {
        let Some(d_in) = paths.first().map(|path| path.a.shape()[1]) else {
            return;
        };
        let stride = y.len() / (x.len() / d_in);
        let SideBuffers {
            x: gathered,
            narrow,
            y: added,
            scratch,
        } = buffers;
        gathered.clear();
        for row in &self.rows {
            gathered.extend_from_slice(&x[row * d_in..][..d_in]);
        }
        for path in paths {
            let [d_out, rank] = path.b.shape();
            narrow.resize(self.rows.len() * rank, 0.0);
            added.resize(self.rows.len() * d_out, 0.0);
            path.a.matmul(gathered, narrow, Start::Zero, scratch);
            path.b.matmul(narrow, added, Start::Zero, scratch);
            for (row, added) in self.rows.iter().zip(added.chunks_exact(d_out)) {
                let y = &mut y[row * stride + path.first..][..d_out];
                for (y, added) in y.iter_mut().zip(added) {
                    *y += added;
                }
            }
        }
    }
}
