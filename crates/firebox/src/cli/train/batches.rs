//! The batches of a run: rows in memory, or what a loader gives.

use std::sync::Arc;

use firebox_data::{
    Example, LoaderConfig, Prefetch, RankShard, RowLayout, TokenBlocks, TokenShards, Truncation,
    Vocabulary, WeightedSource,
};
use firebox_train::LoaderBatches;

use crate::cli::data::{self, Batches, Records, RowOptions};

use super::inputs::RunFiles;
use super::settings::{DataSettings, TrainSettings};

/// Documents that are packed at a time: best fit wastes under one per cent among so many.
const WINDOW_EXAMPLES: usize = 4096;
/// Shards are read ahead of the model by one thread.
const PREFETCH: Prefetch = Prefetch {
    n_workers: 1,
    n_chunks: 2,
};

/// Where a run's batches come from.
pub(super) struct RunBatches {
    pub(super) source: RunSource,
    /// Whether the records are conversations, in which only the answers are to be learned.
    pub(super) has_prompts: bool,
}

pub(super) enum RunSource {
    /// Blocks of texts, or a conversation a row.
    Rows(Batches),
    /// Documents side by side, or token shards.
    Loaded(Box<LoaderBatches>),
}

impl RunBatches {
    pub(super) fn open(
        files: &RunFiles,
        records: Option<&Records>,
        settings: &TrainSettings,
        shard: RankShard,
    ) -> anyhow::Result<Self> {
        let data = &settings.data;
        let order = data::order(data.shuffle, settings.seed);
        let (sources, has_prompts) = match records {
            Some(records) if !data.packed => {
                let options = RowOptions {
                    tokenizer: &files.tokenizer,
                    chat_template: files.chat_template.as_ref(),
                    separator_id: files.separator_id,
                    seq_len: data.seq_len,
                    batch_size: data.batch_size,
                    order,
                };
                let batches = data::row_batches(records, &options)?;
                return Ok(Self {
                    source: RunSource::Rows(batches),
                    has_prompts: matches!(records, Records::Chats(_)),
                });
            }
            Some(records) => {
                let examples = examples(files, records)?;
                let has_prompts = matches!(records, Records::Chats(_));
                let source = WeightedSource::new("source", 1.0, examples);
                (vec![source], has_prompts)
            }
            None => open_shards(files, data)?,
        };
        // An answer needs its question, a text only what comes before.
        let truncation = match has_prompts {
            true => Truncation::KeepStart,
            false => Truncation::Windows { overlap_tokens: 0 },
        };
        let n_examples = sources.iter().map(|source| source.examples.n_examples());
        let layout = match data.packed {
            true => RowLayout::Packed {
                window_examples: n_examples.sum::<usize>().clamp(1, WINDOW_EXAMPLES),
            },
            false => RowLayout::OnePerRow,
        };
        let config = LoaderConfig {
            batch_size: data.batch_size,
            max_len: data.seq_len,
            pad_id: files.separator_id,
            layout,
            truncation,
            order,
            shard,
            n_examples: None,
        };
        Ok(Self {
            source: RunSource::Loaded(Box::new(LoaderBatches::new(sources, config, PREFETCH)?)),
            has_prompts,
        })
    }
}

/// Each document with the token that ends it; each conversation.
fn examples(files: &RunFiles, records: &Records) -> anyhow::Result<Vec<Example>> {
    match records {
        Records::Texts(texts) => {
            let documents = data::encode_texts(&files.tokenizer, texts)?;
            let ended = documents.into_iter().map(|mut ids| {
                ids.push(files.separator_id);
                Example::from_ids(ids)
            });
            Ok(ended.collect())
        }
        Records::Chats(chats) => {
            data::encode_chats(&files.tokenizer, files.chat_template.as_ref(), chats)
        }
    }
}

/// Token shards of this tokenizer: documents where rows are packed or have a mask, otherwise blocks.
fn open_shards(
    files: &RunFiles,
    data: &DataSettings,
) -> anyhow::Result<(Vec<WeightedSource>, bool)> {
    let vocabulary = Vocabulary::of(&files.tokenizer)?;
    let (mut sources, mut has_prompts) = (Vec::new(), false);
    for (place, folder) in data.shards.iter().enumerate() {
        let shards = Arc::new(TokenShards::open(folder, &vocabulary)?);
        let has_mask = shards
            .shards()
            .iter()
            .any(|shard| shard.header().has_loss_mask);
        has_prompts |= has_mask;
        let weight = data.weights.get(place).copied().unwrap_or(1.0);
        sources.push(match data.packed || has_mask {
            true => WeightedSource::new(folder, weight, shards),
            false => WeightedSource::new(folder, weight, TokenBlocks::new(shards, data.seq_len)?),
        });
    }
    Ok((sources, has_prompts))
}
