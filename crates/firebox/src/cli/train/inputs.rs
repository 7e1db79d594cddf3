//! What a run needs before its first step: tokenizer, batches, model.

use firebox_checkpoint::Checkpoint;
use firebox_data::{
    BlockConfig, ChatTemplate, Example, Order, PaddedConfig, TextRecord, Tokenizer, block_batches,
    padded_batches, train_byte_level_bpe,
};
use firebox_model::Llama;
use firebox_tensor::burn::tensor::Device;
use firebox_train::{Setup, shared_rows};
use serde_json::json;

use crate::cli::args::{DataArgs, Globals};
use crate::cli::data::{self, Batches, Records};
use crate::cli::exit::UserError;
use crate::cli::finetune;
use crate::cli::model::{ModelFiles, TokenizerFiles};

use super::settings::{DataSettings, NewModel, TrainSettings};

/// The token between documents of a tokenizer that is trained here.
const END: &str = "<|endoftext|>";

/// Opened and encoded.
pub(super) struct Inputs {
    pub(super) files: RunFiles,
    pub(super) batches: Batches,
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
    /// The checkpoint that the run started from, if there was one.
    pub(super) origin: Option<Checkpoint>,
    separator_id: u32,
}

impl Inputs {
    pub(super) fn open(globals: &Globals, settings: &TrainSettings) -> anyhow::Result<Self> {
        let device = globals.device.open()?;
        let records = data::read(globals, &data_args(&settings.data))?;
        let (mut records, held_out) = records.hold_out(settings.data.n_held_out);
        let n_shared_rows = shared_rows(&texts(&records)?, &texts(&held_out)?);
        finetune::limit(&mut records, settings.data.limit);
        let (files, model, base_name) = match (&settings.model.from, &settings.model.new) {
            (Some(from), _) => open_model(globals, from, settings, &device)?,
            (None, Some(new)) => new_model(globals, new, &records, settings, &device)?,
            (None, None) => {
                return Err(UserError("`model`: expected `from` or `[model.new]`".into()).into());
            }
        };
        let max_len = model.config().max_seq_len;
        if settings.data.seq_len > max_len {
            let text = format!(
                "`data.seq_len`: expected at most the model's context of {max_len} tokens, found {}",
                settings.data.seq_len
            );
            return Err(UserError(text).into());
        }
        let model = model.with_precision(settings.precision()?);
        let template = files.chat_template.as_ref();
        let held_out = held_out.scored_rows(&files.tokenizer, template, settings.data.seq_len)?;
        let setup = Setup {
            precision: Some(settings.precision.clone()),
            is_pretrained: settings.model.from.is_some(),
            vocab_size: Some(model.config().vocab_size),
            tokenizer_vocab_size: Some(files.tokenizer.vocab_size()),
            wants_adapter: settings.adapter.is_some(),
            has_prompts: matches!(records, Records::Chats(_)),
            n_shared_rows: Some(n_shared_rows),
            ..Setup::default()
        };
        Ok(Self {
            batches: batches(&files, &records, settings)?,
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

fn data_args(data: &DataSettings) -> DataArgs {
    DataArgs {
        data: data.source.clone(),
        years: data.years.clone(),
        longer_than: data.longer_than,
        shorter_than: data.shorter_than,
        limit: data.limit,
    }
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
    let model = Llama::load(&files.checkpoint, device)?;
    let model = match &settings.adapter {
        Some(adapter) => model.attach_lora(adapter, settings.seed)?,
        None if model.is_packed() => {
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
        origin: Some(files.checkpoint),
        separator_id,
    };
    Ok((files, model, from.to_owned()))
}

fn new_model(
    globals: &Globals,
    new: &NewModel,
    records: &Records,
    settings: &TrainSettings,
    device: &Device,
) -> anyhow::Result<(RunFiles, Llama, String)> {
    let (tokenizer, chat_template) = match (&new.tokenizer, records) {
        (Some(source), _) => {
            let files = TokenizerFiles::open(globals, source)?;
            (files.tokenizer, files.chat_template)
        }
        (None, Records::Texts(texts)) => {
            let texts = texts.iter().map(TextRecord::training_text);
            (train_byte_level_bpe(texts, new.vocab_size, &[END])?, None)
        }
        (None, Records::Chats(_)) => {
            let text = "`model.new.tokenizer`: expected a tokenizer with a chat template for \
                        conversations, found none";
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

fn batches(
    files: &RunFiles,
    records: &Records,
    settings: &TrainSettings,
) -> anyhow::Result<Batches> {
    let data = &settings.data;
    let order = match data.shuffle {
        true => Order::Shuffled {
            seed: settings.seed,
        },
        false => Order::InOrder,
    };
    match records {
        Records::Texts(texts) => {
            let config = BlockConfig {
                separator_id: files.separator_id,
                block_len: data.seq_len,
                batch_size: data.batch_size,
                order,
            };
            let ids = data::encode_texts(&files.tokenizer, texts)?;
            Ok(Batches::new(block_batches(ids, &config)?, texts.len()))
        }
        Records::Chats(chats) => {
            let config = PaddedConfig {
                batch_size: data.batch_size,
                max_len: data.seq_len,
                pad_id: files.separator_id,
                order,
            };
            let template = files.chat_template.as_ref();
            let examples = data::encode_chats(&files.tokenizer, template, chats)?;
            Ok(Batches::new(
                padded_batches(examples, &config)?,
                chats.len(),
            ))
        }
    }
}
