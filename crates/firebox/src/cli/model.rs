//! From `--model` to a checkpoint, a tokenizer and weights on a device.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use firebox_checkpoint::{Adapter, Checkpoint, read_adapter};
use firebox_data::{ChatTemplate, Message, Tokenizer};
use firebox_hub::{PullOptions, Source};
use firebox_model::{
    HostAdapter, HostLlama, HostWeights, InferenceModel, Llama, ModelError, token_ids,
};
use firebox_tensor::burn::tensor::Device;
use firebox_tensor::host::KvFormat;
use firebox_tensor::kernels::is_cpu;
use serde_json::Value;

use super::args::{Globals, ModelArgs, UseArgs};
use super::exit::UserError;
use super::progress::PullBar;

/// Everything that a verb needs of a model but its weights.
pub(crate) struct ModelFiles {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) chat_template: Option<ChatTemplate>,
}

/// A model and what belongs to it.
pub(crate) struct Loaded<M> {
    pub(crate) files: ModelFiles,
    pub(crate) model: M,
}

/// A model to be used.
pub(crate) type LoadedModel = Loaded<InferenceModel>;

/// A model to be trained, or merged with its adapter.
pub(crate) type Trainable = Loaded<Llama>;

/// Fetches `source` if it must be, and gives its path.
pub(crate) fn fetch(globals: &Globals, source: &str) -> anyhow::Result<PathBuf> {
    let source = Source::parse(source)?;
    let mut bar = PullBar::new();
    Ok(firebox_hub::pull(
        &source,
        &pull_options(globals)?,
        &mut bar,
    )?)
}

fn pull_options(globals: &Globals) -> anyhow::Result<PullOptions> {
    let mut options = PullOptions::new(cache_dir(globals)?);
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(endpoint) = set("HF_ENDPOINT") {
        options.hf_endpoint = endpoint.trim_end_matches('/').to_owned();
    }
    if let Some(cache) = hf_cache() {
        options.hf_cache_dir = cache;
    }
    options.hf_token = set("HF_TOKEN");
    Ok(options)
}

/// `--cache`, `FIREBOX_CACHE`, or `firebox` in the user's cache folder.
fn cache_dir(globals: &Globals) -> anyhow::Result<PathBuf> {
    if let Some(cache) = globals
        .cache
        .clone()
        .or_else(|| path_variable("FIREBOX_CACHE"))
    {
        return Ok(cache);
    }
    let home = path_variable("HOME").map(|home| home.join(".cache"));
    let base = path_variable("XDG_CACHE_HOME").or(home).context(
        "find a cache folder: neither HOME nor XDG_CACHE_HOME is set (hint: use --cache DIR)",
    )?;
    Ok(base.join("firebox"))
}

/// A path from the environment; an empty one counts as none.
fn path_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Where Hugging Face's own tools keep models.
fn hf_cache() -> Option<PathBuf> {
    path_variable("HF_HUB_CACHE")
        .or_else(|| path_variable("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| path_variable("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// A tokenizer and what goes with it: of a model, or alone.
pub(crate) struct TokenizerFiles {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) chat_template: Option<ChatTemplate>,
}

impl TokenizerFiles {
    /// Opens a `tokenizer.json`, a folder with one, or a model.
    pub(crate) fn open(globals: &Globals, source: &str) -> anyhow::Result<Self> {
        let path = fetch(globals, source)?;
        let alone = match path.is_dir() {
            true => path.join("tokenizer.json"),
            false => path.clone(),
        };
        let is_alone = alone.extension().is_some_and(|name| name == "json") && alone.is_file();
        if is_alone && Checkpoint::open(&path).is_err() {
            return Ok(Self {
                tokenizer: Tokenizer::from_file(&alone)?,
                chat_template: None,
            });
        }
        let files = ModelFiles::from_path(&path)?;
        Ok(Self {
            tokenizer: files.tokenizer,
            chat_template: files.chat_template,
        })
    }

    /// The token between documents, if the vocabulary has one that is known for it.
    pub(crate) fn separator(&self) -> Option<u32> {
        let names = ["<|endoftext|>", "<|end_of_text|>", "</s>", "[SEP]"];
        names
            .iter()
            .find_map(|name| self.tokenizer.token_to_id(name))
    }
}

/// What becomes of a decoder's linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linears {
    /// They train, or are merged into.
    Trainable,
    /// They stay as they are, and take less memory for it.
    Frozen,
}

impl Linears {
    /// An adapter trains instead of them.
    pub(crate) fn with_adapter(is_there: bool) -> Self {
        match is_there {
            true => Self::Frozen,
            false => Self::Trainable,
        }
    }
}

impl ModelFiles {
    /// The decoder itself.
    pub(crate) fn decoder(&self, device: &Device, linears: Linears) -> Result<Llama, ModelError> {
        match linears {
            Linears::Trainable => Llama::load(&self.checkpoint, device),
            Linears::Frozen => Llama::load_frozen(&self.checkpoint, device),
        }
    }

    pub(crate) fn open(globals: &Globals, model: &str) -> anyhow::Result<Self> {
        Self::from_path(&fetch(globals, model)?)
    }

    pub(crate) fn from_path(path: &Path) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let json = checkpoint.tokenizer_json()?.ok_or_else(|| {
            UserError(format!(
                "open model `{}`: expected a tokenizer.json beside the weights, found none (hint: point to the model's directory)",
                path.display()
            ))
        })?;
        let tokenizer = with_bos(
            Tokenizer::from_json(&json)
                .with_context(|| format!("open model `{}`", path.display()))?,
            &checkpoint,
        );
        let embedding = checkpoint.config()["vocab_size"]
            .as_u64()
            .unwrap_or(u64::MAX);
        if tokenizer.vocab_size() as u64 > embedding {
            return Err(UserError(format!(
                "open model `{}`: expected a tokenizer of at most vocab_size = {embedding} tokens, found {} (hint: is tokenizer.json the one of this checkpoint?)",
                path.display(),
                tokenizer.vocab_size()
            ))
            .into());
        }
        let chat_template = chat_template(&checkpoint)?;
        Ok(Self {
            checkpoint,
            tokenizer,
            chat_template,
        })
    }

    /// The messages as the model wants to read them.
    pub(crate) fn render(&self, messages: &[Message]) -> anyhow::Result<String> {
        let template = self.chat_template.as_ref().ok_or_else(|| {
            UserError(
                "apply the chat template: the model has none (hint: use `firebox generate`)".into(),
            )
        })?;
        Ok(template.render(messages, true)?)
    }

    /// The ids of a conversation; of its last message alone where the model has no chat template.
    pub(crate) fn ask(&self, messages: &[Message]) -> anyhow::Result<Vec<u32>> {
        match (&self.chat_template, messages.last()) {
            (None, Some(message)) => Ok(self.tokenizer.encode_document(&message.content)?),
            _ => self.encode_chat(messages),
        }
    }

    /// The ids of a conversation, as the chat template writes it.
    pub(crate) fn encode_chat(&self, messages: &[Message]) -> anyhow::Result<Vec<u32>> {
        Ok(self.tokenizer.encode(&self.render(messages)?)?)
    }

    /// Ids that end an answer: those of the generation config, or else of the model's config.
    pub(crate) fn eos_ids(&self) -> Vec<u32> {
        let generation = self
            .checkpoint
            .generation_config()
            .map(|config| token_ids(&config["eos_token_id"]));
        generation
            .filter(|ids| !ids.is_empty())
            .unwrap_or_else(|| token_ids(&self.checkpoint.config()["eos_token_id"]))
    }
}

impl LoadedModel {
    /// On the CPU laid out for it; on other devices, and with an adapter that is more than factors,
    /// on burn.
    pub(crate) fn open(globals: &Globals, args: &UseArgs) -> anyhow::Result<Self> {
        let device = globals.device.open()?;
        let adapter = args
            .model
            .adapter
            .as_deref()
            .map(read_adapter)
            .transpose()?;
        let is_plain = |adapter: &Adapter| HostAdapter::is_plain(&adapter.config);
        if adapter.as_ref().is_none_or(is_plain) && is_cpu(&device) {
            firebox_tensor::host::return_freed_memory();
            let files = ModelFiles::open(globals, &args.model.model)?;
            let mut model = HostLlama::load(&files.checkpoint, args.weights)?;
            if let Some(adapter) = &adapter {
                let adapter = HostAdapter::new(model.config(), adapter)?;
                model = model.with_adapter(Arc::new(adapter))?;
            }
            let model = model.with_kv_format(args.kv_cache).into();
            return Ok(Self { files, model });
        }
        if args.weights != HostWeights::Stored {
            return Err(only_laid_out(&format!("--weights {}", args.weights)));
        }
        if args.kv_cache != KvFormat::F32 {
            return Err(only_laid_out(&format!("--kv-cache {}", args.kv_cache)));
        }
        let Loaded { files, model } = Trainable::open(globals, &args.model, Linears::Trainable)?;
        let model = model.into();
        Ok(Self { files, model })
    }
}

/// An option that only a model laid out for this CPU has.
fn only_laid_out(option: &str) -> anyhow::Error {
    let wanted = "expected the CPU and no --adapter of DoRA or whole modules (hint: `firebox merge` \
                  makes one model of the two)";
    UserError(format!("{option}: {wanted}")).into()
}

impl Trainable {
    pub(crate) fn open(
        globals: &Globals,
        args: &ModelArgs,
        linears: Linears,
    ) -> anyhow::Result<Self> {
        let device = globals.device.open()?;
        let files = ModelFiles::open(globals, &args.model)?;
        let mut model = files.decoder(&device, linears)?;
        if let Some(adapter) = &args.adapter {
            model = model.load_adapter(&read_adapter(adapter)?)?;
        }
        Ok(Self { files, model })
    }

    pub(crate) fn from_path(path: &Path, device: &Device) -> anyhow::Result<Self> {
        let files = ModelFiles::from_path(path)?;
        let model = Llama::load(&files.checkpoint, device)?;
        Ok(Self { files, model })
    }
}

/// `add_bos_token` in the tokenizer's config decides, where it is there, over the post-processor.
fn with_bos(tokenizer: Tokenizer, checkpoint: &Checkpoint) -> Tokenizer {
    let adds = checkpoint
        .tokenizer_config()
        .and_then(|config| config["add_bos_token"].as_bool());
    match adds {
        Some(false) => tokenizer.with_document_prefix(vec![]),
        Some(true) if tokenizer.document_prefix().is_empty() => {
            let bos = token_ids(&checkpoint.config()["bos_token_id"]);
            tokenizer.with_document_prefix(bos)
        }
        _ => tokenizer,
    }
}

fn chat_template(checkpoint: &Checkpoint) -> anyhow::Result<Option<ChatTemplate>> {
    let Some(source) = checkpoint.chat_template() else {
        return Ok(None);
    };
    let config = checkpoint.tokenizer_config();
    let token = |name: &str| {
        let value = config.map_or(&Value::Null, |config| &config[name]);
        value
            .as_str()
            .or(value["content"].as_str())
            .unwrap_or("")
            .to_owned()
    };
    Ok(Some(ChatTemplate::new(
        &source,
        &token("bos_token"),
        &token("eos_token"),
    )?))
}
