//! What a run needs before its first step: tokenizer, batches, model.

use std::path::PathBuf;

use firebox_data::{ChatTemplate, Example, RankShard, TextRecord, Tokenizer, train_byte_level_bpe};
use firebox_model::Llama;
use firebox_tensor::burn::tensor::Device;
use firebox_train::{Setup, shared_rows};
use serde_json::json;

use crate::cli::args::{DataArgs, Globals};
use crate::cli::data::{self, Records};
use crate::cli::exit::UserError;
use crate::cli::finetune;
use crate::cli::model::{Linears, ModelFiles, TokenizerFiles};

use super::batches::RunBatches;
use super::settings::{DataSettings, NewModel, TrainSettings};

/// The token between documents of a tokenizer that is trained here.
const END: &str = "<|endoftext|>";

/// Opened and encoded.
pub(super) struct Inputs {
    pub(super) files: RunFiles,
    pub(super) batches: RunBatches,
    /// Rows that are scored: whole texts, or conversations with loss on the answers.
    pub(super) held_out: Vec<Example>,
    pub(super) base_name: String,
    pub(super) setup: Setup,
    model: Option<Llama>,
}

/// The tokenizer and what the model came from.
pub(super) struct RunFiles {
    pub(super) tokenizer: Tokenizer,
    pub(super) chat_template: Option<ChatTemplate>,
    /// Where the checkpoint is that the run started from, if there was one. It is not kept open: its
    /// mapped weights would count as this run's memory.
    pub(super) origin: Option<PathBuf>,
    pub(super) separator_id: u32,
}

impl Inputs {
    pub(super) fn open(
        globals: &Globals,
        settings: &TrainSettings,
        shard: RankShard,
    ) -> anyhow::Result<Self> {
        let device = globals.device.open()?;
        let data = &settings.data;
        let (records, held_out) = records(globals, data)?;
        let n_shared_rows = match (&records, &held_out) {
            (Some(records), Some(held_out)) => {
                Some(shared_rows(&texts(records)?, &texts(held_out)?))
            }
            _ => None,
        };
        let (files, model, base_name) = match (&settings.model.from, &settings.model.new) {
            (Some(from), _) => open_model(globals, from, settings, &device)?,
            (None, Some(new)) => new_model(globals, new, records.as_ref(), settings, &device)?,
            (None, None) => {
                return Err(UserError("`model`: expected `from` or `[model.new]`".into()).into());
            }
        };
        let max_len = model.config().max_seq_len;
        if data.seq_len > max_len {
            let text = format!(
                "`data.seq_len`: expected at most the model's context of {max_len} tokens, found {}",
                data.seq_len
            );
            return Err(UserError(text).into());
        }
        let model = settings.prepare(model)?;
        let template = files.chat_template.as_ref();
        let held_out = match held_out {
            Some(records) => records.scored_rows(&files.tokenizer, template, data.seq_len)?,
            None => Vec::new(),
        };
        let batches = RunBatches::open(&files, records.as_ref(), settings, shard)?;
        let setup = Setup {
            precision: Some(settings.precision.clone()),
            is_pretrained: settings.model.from.is_some(),
            vocab_size: Some(model.config().vocab_size),
            tokenizer_vocab_size: Some(files.tokenizer.vocab_size()),
            wants_adapter: settings.adapter.is_some(),
            has_prompts: batches.has_prompts,
            n_shared_rows,
            ..Setup::default()
        };
        Ok(Self {
            batches,
            held_out,
            setup,
            files,
            base_name,
            model: Some(model),
        })
    }

    /// The model, once.
    pub(super) fn take_model(&mut self) -> anyhow::Result<Llama> {
        let model = self.model.take();
        model.ok_or_else(|| anyhow::anyhow!("the model was taken already: this is a bug"))
    }
}

impl RunFiles {
    /// What lies beside the weights of a new model.
    pub(super) fn side_files(&self) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": END,
            "clean_up_tokenization_spaces": false,
        });
        Ok(vec![
            ("tokenizer.json", self.tokenizer.to_json().to_vec()),
            ("tokenizer_config.json", serde_json::to_vec_pretty(&config)?),
        ])
    }
}

/// Training and held-out records; token shards have none of the first.
fn records(
    globals: &Globals,
    data: &DataSettings,
) -> anyhow::Result<(Option<Records>, Option<Records>)> {
    let read = |source: &String| {
        let args = DataArgs {
            data: source.clone(),
            years: data.years.clone(),
            longer_than: data.longer_than,
            shorter_than: data.shorter_than,
            limit: data.limit,
        };
        data::read(globals, &args)
    };
    let mut held_out = data.held_out.as_ref().map(read).transpose()?;
    let mut records = data.source.as_ref().map(read).transpose()?;
    if let (Some(all), None, 1..) = (&mut records, &held_out, data.n_held_out) {
        let (rest, taken) =
            std::mem::replace(all, Records::Texts(Vec::new())).hold_out(data.n_held_out);
        (*all, held_out) = (rest, Some(taken));
    }
    if let Some(records) = &mut records {
        finetune::limit(records, data.limit);
    }
    Ok((records, held_out))
}

/// What each record says, for comparing.
fn texts(records: &Records) -> anyhow::Result<Vec<String>> {
    match records {
        Records::Texts(texts) => Ok(texts.iter().map(TextRecord::training_text).collect()),
        Records::Chats(chats) => chats
            .iter()
            .map(|messages| Ok(serde_json::to_string(messages)?))
            .collect(),
    }
}

fn open_model(
    globals: &Globals,
    from: &str,
    settings: &TrainSettings,
    device: &Device,
) -> anyhow::Result<(RunFiles, Llama, String)> {
    let files = ModelFiles::open(globals, from)?;
    let model = files.decoder(device, Linears::with_adapter(settings.adapter.is_some()))?;
    let model = match &settings.adapter {
        Some(adapter) => model.attach_lora(adapter, settings.seed)?,
        None if !model.is_dense() => {
            let text = "`model.from`: expected a model with dense weights, found packed ones, which \
                        do not train (hint: add `[adapter]`)";
            return Err(UserError(text.into()).into());
        }
        None => burn::module::Module::train(model),
    };
    let separator_id = data::separator(&files);
    let files = RunFiles {
        tokenizer: files.tokenizer,
        chat_template: files.chat_template,
        origin: Some(files.checkpoint.path().to_path_buf()),
        separator_id,
    };
    Ok((files, model, from.to_owned()))
}

fn new_model(
    globals: &Globals,
    new: &NewModel,
    records: Option<&Records>,
    settings: &TrainSettings,
    device: &Device,
) -> anyhow::Result<(RunFiles, Llama, String)> {
    let (tokenizer, chat_template) = match (&new.tokenizer, records) {
        (Some(source), _) => {
            let files = TokenizerFiles::open(globals, source)?;
            (files.tokenizer, files.chat_template)
        }
        (None, Some(Records::Texts(texts))) => {
            let texts = texts.iter().map(TextRecord::training_text);
            (train_byte_level_bpe(texts, new.vocab_size, &[END])?, None)
        }
        (None, Some(Records::Chats(_))) => {
            let text = "`model.new.tokenizer`: expected a tokenizer with a chat template for \
                        conversations, found none";
            return Err(UserError(text.into()).into());
        }
        (None, None) => {
            let text =
                "`model.new.tokenizer`: expected the tokenizer of the token shards, found none";
            return Err(UserError(text.into()).into());
        }
    };
    let separator_id = tokenizer.token_to_id(END).unwrap_or(0);
    let sizes = new.sizes(tokenizer.vocab_size(), vec![separator_id]);
    let model = sizes.init(settings.seed, device);
    let files = RunFiles {
        tokenizer,
        chat_template,
        origin: None,
        separator_id,
    };
    Ok((files, model, String::new()))
}
