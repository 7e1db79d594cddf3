//! From `--data` to batches.

use std::path::PathBuf;

use firebox_data::{
    Batch, BatchSource, BlockConfig, ChatTemplate, Example, Message, Order, PaddedConfig, Record,
    Selection, TextRecord, Tokenizer, split_held_out,
};

use super::args::{DataArgs, Globals, TrainingArgs};
use super::exit::UserError;
use super::model::{ModelFiles, fetch};
use super::output;

/// Batches that a trainer can ask for by number.
pub(crate) struct Batches {
    source: Box<dyn BatchSource>,
    pub(crate) n_records: usize,
}

impl Batches {
    pub(crate) fn new(source: impl BatchSource + 'static, n_records: usize) -> Self {
        Self {
            source: Box::new(source),
            n_records,
        }
    }

    /// Tokens of one pass over all batches.
    pub(crate) fn n_tokens(&self) -> usize {
        self.source.statistics().n_tokens
    }
}

impl firebox_train::BatchSource for Batches {
    type Batch = Batch;

    fn batch(&mut self, index: usize) -> Result<Batch, firebox_train::BatchError> {
        Ok(self.source.batch(index as u64))
    }
}

/// What `--data` and the options behind it name.
pub(crate) enum Records {
    Texts(Vec<TextRecord>),
    Chats(Vec<Vec<Message>>),
}

/// Where records are. A glob is for the reader, who lists its files; everything else is fetched or must
/// be there.
pub(crate) fn locate(globals: &Globals, source: &str) -> anyhow::Result<PathBuf> {
    match source.contains(['*', '?', '[']) {
        true => Ok(PathBuf::from(source)),
        false => fetch(globals, source),
    }
}

/// Reads every record that the options keep; `limit` is applied later, after held-out records.
pub(crate) fn read(globals: &Globals, args: &DataArgs) -> anyhow::Result<Records> {
    let path = locate(globals, &args.data)?;
    let selection = selection(args)?;
    let (mut texts, mut chats) = (Vec::new(), Vec::new());
    let mut reader = firebox_data::read_records(&path)?;
    for record in reader.by_ref() {
        match record? {
            Record::Text(text) if selection.keeps(&text) => texts.push(text),
            Record::Text(_) => {}
            Record::Chat(messages) => chats.push(messages),
        }
    }
    note(reader.n_skipped(), "records without a text were left out");
    if !chats.is_empty() && args.years.is_some() {
        let text = format!(
            "read data `{}`: expected texts with years for --years, found conversations",
            args.data
        );
        return Err(UserError(text).into());
    }
    match (texts.is_empty(), chats.is_empty()) {
        (false, true) => Ok(Records::Texts(texts)),
        (true, false) => Ok(Records::Chats(chats)),
        (true, true) => Err(UserError(format!(
            "read data `{}`: expected at least one record that the options keep, found none (hint: are --years, --longer-than and --shorter-than right?)",
            args.data
        ))
        .into()),
        (false, false) => Err(UserError(format!(
            "read data `{}`: expected either texts or conversations, found both (hint: put them into two files)",
            args.data
        ))
        .into()),
    }
}

/// Says on stderr what was left out; nothing where nothing was.
fn note(n: impl TryInto<u64>, what: &str) {
    let n = n.try_into().unwrap_or(u64::MAX);
    if n > 0 {
        output::note(format_args!("{n} {what}"));
    }
}

pub(crate) fn selection(args: &DataArgs) -> anyhow::Result<Selection> {
    let (min_year, max_year) = match &args.years {
        None => (None, None),
        Some(years) => parse_years(years)?,
    };
    Ok(Selection {
        min_year,
        max_year,
        min_chars: args.longer_than.map(|n| n.saturating_add(1)),
        max_chars: args.shorter_than.map(|n| n.saturating_sub(1)),
        ..Selection::default()
    })
}

fn parse_years(text: &str) -> anyhow::Result<(Option<u16>, Option<u16>)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.trim().parse(), to.trim().parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok((Some(from), Some(to))),
        _ => Err(UserError(format!(
            "--years: expected a range such as 1977-1979, found `{text}`"
        ))
        .into()),
    }
}

/// What batches of rows are made with besides the records.
pub(crate) struct RowOptions<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) chat_template: Option<&'a ChatTemplate>,
    /// Between documents, and on padding.
    pub(crate) separator_id: u32,
    pub(crate) seq_len: usize,
    pub(crate) batch_size: usize,
    pub(crate) order: Order,
}

/// The batches that a model and options on the command line ask for.
pub(crate) fn batches(
    files: &ModelFiles,
    records: &Records,
    args: &TrainingArgs,
) -> anyhow::Result<Batches> {
    check_sizes(files, args)?;
    let options = RowOptions {
        tokenizer: &files.tokenizer,
        chat_template: files.chat_template.as_ref(),
        separator_id: separator(files),
        seq_len: args.seq,
        batch_size: args.batch,
        order: order(args.shuffle, args.seed),
    };
    row_batches(records, &options)
}

pub(crate) fn order(shuffle: bool, seed: u64) -> Order {
    match shuffle {
        true => Order::Shuffled { seed },
        false => Order::InOrder,
    }
}

/// Texts become blocks cut from one stream, conversations padded rows with loss on the answers.
pub(crate) fn row_batches(records: &Records, options: &RowOptions<'_>) -> anyhow::Result<Batches> {
    match records {
        Records::Texts(texts) => {
            let config = BlockConfig {
                separator_id: options.separator_id,
                block_len: options.seq_len,
                batch_size: options.batch_size,
                order: options.order,
            };
            let ids = encode_texts(options.tokenizer, texts)?;
            let blocks = firebox_data::block_batches(ids, &config)?;
            note(
                blocks.n_dropped_tokens(),
                "tokens at the end fill no whole block and were left out",
            );
            Ok(Batches::new(blocks, texts.len()))
        }
        Records::Chats(chats) => {
            let config = PaddedConfig {
                batch_size: options.batch_size,
                max_len: options.seq_len,
                pad_id: options.separator_id,
                order: options.order,
            };
            let examples = encode_chats(options.tokenizer, options.chat_template, chats)?;
            let rows = firebox_data::padded_batches(examples, &config)?;
            note(
                rows.n_truncated(),
                "conversations are longer than a row and were cut",
            );
            note(
                rows.n_without_loss(),
                "conversations have no answer within a row and were left out",
            );
            Ok(Batches::new(rows, chats.len()))
        }
    }
}

/// Texts that stand alone.
pub(crate) fn encode_texts(
    tokenizer: &Tokenizer,
    texts: &[TextRecord],
) -> anyhow::Result<Vec<Vec<u32>>> {
    let texts: Vec<String> = texts.iter().map(TextRecord::training_text).collect();
    Ok(tokenizer.encode_documents(&texts)?)
}

/// How much of some texts is read.
pub(crate) struct ReadLimits {
    /// Texts.
    pub(crate) texts: usize,
    /// Tokens of all texts.
    pub(crate) tokens: usize,
    /// Tokens of one text.
    pub(crate) seq: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            texts: usize::MAX,
            tokens: usize::MAX,
            seq: usize::MAX,
        }
    }
}

/// Token ids of the first texts of a source, each on its own; conversations as the model's template
/// writes them.
pub(crate) fn read_ids(
    globals: &Globals,
    files: &ModelFiles,
    source: &str,
    limits: ReadLimits,
) -> anyhow::Result<Vec<Vec<u32>>> {
    let (mut texts, mut n_left) = (Vec::new(), limits.tokens);
    for record in firebox_data::read_records(&locate(globals, source)?)? {
        if texts.len() >= limits.texts || n_left == 0 {
            break;
        }
        let mut ids = match record? {
            Record::Text(text) => files.tokenizer.encode_document(&text.training_text())?,
            Record::Chat(messages) => {
                let template = needed(files.chat_template.as_ref())?;
                files
                    .tokenizer
                    .encode(&template.render(&messages, false)?)?
            }
        };
        ids.truncate(limits.seq.min(n_left));
        n_left -= ids.len();
        texts.push(ids);
    }
    texts.retain(|ids| !ids.is_empty());
    Ok(texts)
}

/// What would otherwise fail only when the first batch reaches the model.
pub(crate) fn check_sizes(files: &ModelFiles, args: &TrainingArgs) -> anyhow::Result<()> {
    let context = files.checkpoint.config()["max_position_embeddings"]
        .as_u64()
        .unwrap_or(u64::MAX);
    let wrong = match (args.batch, args.seq) {
        (0, _) => "--batch: expected at least 1, found `0`".to_owned(),
        (_, 0 | 1) => format!(
            "--seq: expected at least 2 tokens (one predicts the next), found `{}`",
            args.seq
        ),
        (_, seq) if seq as u64 > context => {
            format!(
                "--seq: expected at most the model's context of {context} tokens, found `{seq}`"
            )
        }
        _ => return Ok(()),
    };
    Err(UserError(wrong).into())
}

impl Records {
    /// Takes `n` records out, spread evenly: those to train on, and those held out.
    pub(crate) fn hold_out(self, n: usize) -> (Self, Self) {
        match self {
            Self::Texts(texts) => {
                let split = split_held_out(texts, n);
                (Self::Texts(split.training), Self::Texts(split.held_out))
            }
            Self::Chats(chats) => {
                let split = split_held_out(chats, n);
                (Self::Chats(split.training), Self::Chats(split.held_out))
            }
        }
    }

    /// Rows to be scored, each record alone and at most `max_len` tokens of it: all of a text, the
    /// answers of a conversation. Rows without loss are left out.
    pub(crate) fn scored_rows(
        &self,
        tokenizer: &Tokenizer,
        template: Option<&ChatTemplate>,
        max_len: usize,
    ) -> anyhow::Result<Vec<Example>> {
        let mut rows = match self {
            Self::Chats(chats) => encode_chats(tokenizer, template, chats)?,
            Self::Texts(texts) => {
                let ids = encode_texts(tokenizer, texts)?;
                ids.into_iter().map(Example::from_ids).collect()
            }
        };
        for row in &mut rows {
            row.input_ids.truncate(max_len);
            row.labels.truncate(max_len);
        }
        rows.retain(|row| row.n_loss_tokens() > 0);
        Ok(rows)
    }
}

/// Conversations with loss on the assistant's turns.
pub(crate) fn encode_chats(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    chats: &[Vec<Message>],
) -> anyhow::Result<Vec<Example>> {
    let template = needed(template)?;
    chats
        .iter()
        .map(|messages| Ok(firebox_data::encode_chat(tokenizer, template, messages)?))
        .collect()
}

fn needed(template: Option<&ChatTemplate>) -> Result<&ChatTemplate, UserError> {
    template.ok_or_else(|| {
        let text = "encode conversations: expected a model with a chat template, found none (hint: an \
                    instruct model has one; or give texts)";
        UserError(text.into())
    })
}

/// The token between documents: `<|endoftext|>` where the vocabulary has it, or the end token.
pub(crate) fn separator(files: &ModelFiles) -> u32 {
    let end = files.tokenizer.token_to_id("<|endoftext|>");
    end.or_else(|| files.eos_ids().first().copied())
        .unwrap_or(0)
}
