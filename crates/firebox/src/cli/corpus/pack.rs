//! `firebox data pack`.

use std::time::Instant;

use firebox_data::{
    Block, BrokenCount, BrokenLimit, Example, FastEncoder, InputConfig, Record, ShardConfig,
    TokenShardWriter, Vocabulary, best_fit_decreasing, encode_chat, in_order,
};
use serde::Serialize;

use super::args::PackArgs;
use super::{broken_limit, reading_bar, sources, watched_blocks};
use crate::cli::args::Globals;
use crate::cli::exit::UserError;
use crate::cli::model::TokenizerFiles;
use crate::cli::output;

/// What was written, and how it packs.
#[derive(Serialize)]
struct Packed {
    out: String,
    n_documents: u64,
    n_broken: u64,
    n_without_text: u64,
    n_tokens: u64,
    n_loss_tokens: u64,
    seq: usize,
    /// Rows that best-fit decreasing needs; documents that are longer than a row are cut into several.
    n_rows: u64,
    /// Share of places that hold no token, from 0 to 1.
    padding_share: f64,
    /// The same if every document had a row of its own.
    padding_share_unpacked: f64,
    seconds: f64,
}

pub(crate) fn run(globals: &Globals, args: &PackArgs) -> anyhow::Result<()> {
    if args.seq == 0 {
        return Err(UserError("--seq: expected at least 1, found `0`".to_owned()).into());
    }
    let config = InputConfig::default();
    let sources = sources(globals, &args.input, &config)?;
    let files = TokenizerFiles::open(globals, &args.tokenizer)?;
    let start = Instant::now();
    let bar = reading_bar(&sources);
    let mut blocks = watched_blocks(&sources, &bar);
    // The first record says what the others must be.
    let first = blocks.next().transpose()?;
    let is_chat = first.as_ref().is_some_and(begins_with_chat);
    let encoder = Encoder {
        encoder: FastEncoder::from_tokenizer(&files.tokenizer),
        files: &files,
        is_chat,
        limit: broken_limit(&args.input, &config),
    };
    let config = ShardConfig {
        with_loss_mask: is_chat,
        ..ShardConfig::default()
    };
    let mut writer =
        TokenShardWriter::create(&args.out, Vocabulary::of(&files.tokenizer)?, config)?;
    let (mut lengths, mut n_loss_tokens) = (Vec::new(), 0);
    let (mut broken, mut n_without_text) = (BrokenCount::new(encoder.limit), 0);
    in_order(
        rayon::current_num_threads(),
        first.map(Ok).into_iter().chain(blocks),
        |block| encoder.encode_block(&block),
        |encoded| {
            for example in &encoded.examples {
                writer.push_example(example)?;
                n_loss_tokens += example.n_loss_tokens() as u64;
                lengths.push(example.input_ids.len());
            }
            broken.merge(encoded.broken);
            n_without_text += encoded.n_without_text;
            bar.set_message(format!("{} documents", lengths.len()));
            Ok(broken.check_limit()?)
        },
    )?;
    bar.finish_and_clear();
    broken.check_at_end()?;
    writer.finish()?;
    let packed = Packed {
        out: args.out.display().to_string(),
        n_documents: lengths.len() as u64,
        n_broken: broken.n_broken(),
        n_without_text,
        n_tokens: lengths.iter().map(|n| *n as u64).sum(),
        n_loss_tokens,
        seq: args.seq,
        seconds: start.elapsed().as_secs_f64(),
        ..rows(&lengths, args.seq)?
    };
    output::print(globals.json, &packed, || packed.text())
}

fn begins_with_chat(block: &Block) -> bool {
    let records = block.records().records;
    matches!(records.iter().flatten().next(), Some(Record::Chat(_)))
}

struct Encoder<'a> {
    encoder: FastEncoder,
    files: &'a TokenizerFiles,
    is_chat: bool,
    limit: BrokenLimit,
}

/// What a block became.
struct EncodedBlock {
    examples: Vec<Example>,
    broken: BrokenCount,
    n_without_text: u64,
}

impl Encoder<'_> {
    fn encode_block(&self, block: &Block) -> anyhow::Result<EncodedBlock> {
        let parsed = block.records();
        let mut broken = BrokenCount::new(self.limit);
        let records = parsed
            .records
            .into_iter()
            .filter_map(|record| broken.check(record));
        let examples: anyhow::Result<_> = records.map(|record| self.encode(&record)).collect();
        Ok(EncodedBlock {
            examples: examples?,
            broken,
            n_without_text: parsed.n_skipped,
        })
    }

    fn encode(&self, record: &Record) -> anyhow::Result<Example> {
        match (record, self.is_chat) {
            (Record::Text(text), false) => {
                let mut ids = Vec::new();
                self.encoder.encode_into(&text.training_text(), &mut ids)?;
                ids.extend(self.files.separator());
                Ok(Example::from_ids(ids))
            }
            (Record::Chat(messages), true) => {
                let template = self.files.chat_template.as_ref().ok_or_else(|| {
                    let text =
                        "encode conversations: expected a model with a chat template, found none";
                    UserError(text.to_owned())
                })?;
                Ok(encode_chat(&self.files.tokenizer, template, messages)?)
            }
            _ => {
                let text = "pack the records: expected either texts or conversations, found both (hint: put them into two files)";
                Err(UserError(text.to_owned()).into())
            }
        }
    }
}

/// How documents of these lengths pack; the other fields are empty.
fn rows(lengths: &[usize], seq: usize) -> anyhow::Result<Packed> {
    let pieces: Vec<usize> = lengths
        .iter()
        .flat_map(|length| {
            let rest = length % seq;
            std::iter::repeat_n(seq, length / seq).chain((rest > 0).then_some(rest))
        })
        .collect();
    let n_tokens: usize = pieces.iter().sum();
    let n_rows = best_fit_decreasing(&pieces, seq)?.len();
    let share = |n_rows: usize| match n_rows {
        0 => 0.0,
        n_rows => 1.0 - n_tokens as f64 / (n_rows * seq) as f64,
    };
    Ok(Packed {
        out: String::new(),
        n_documents: 0,
        n_broken: 0,
        n_without_text: 0,
        n_tokens: 0,
        n_loss_tokens: 0,
        seq,
        n_rows: n_rows as u64,
        padding_share: share(n_rows),
        padding_share_unpacked: share(pieces.len()),
        seconds: 0.0,
    })
}

impl Packed {
    fn text(&self) -> String {
        format!(
            "{} documents, {} broken, {} without text\n\
             {} tokens ({} with loss) written to {}\n\
             {} rows of {} tokens: {:.2} % padding packed, {:.1} % with a row for each document\n\
             {:.1} s, {:.2} million tokens/s",
            self.n_documents,
            self.n_broken,
            self.n_without_text,
            self.n_tokens,
            self.n_loss_tokens,
            self.out,
            self.n_rows,
            self.seq,
            100.0 * self.padding_share,
            100.0 * self.padding_share_unpacked,
            self.seconds,
            self.n_tokens as f64 / 1e6 / self.seconds.max(1e-9),
        )
    }
}
