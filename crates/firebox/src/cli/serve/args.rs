//! What `firebox serve` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use firebox_engine::{EngineConfig, Speculation};
use firebox_model::{HostBlocks, HostWeights, LlamaConfig};

use crate::cli::args::{UseArgs, count};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) model: UseArgs,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) address: SocketAddr,
    /// Name under which the model is served; the last part of its path unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Answer /v1/embeddings with this sentence embedding model: hf:…, pypi:… or a path
    #[arg(long, value_name = "MODEL")]
    pub(crate) embedding_model: Option<String>,
    /// Name under which it is served; the last part of its path unless given
    #[arg(long, value_name = "NAME", requires = "embedding_model")]
    pub(crate) embedding_name: Option<String>,
    /// How its weights are held, as in `firebox embed --weights`
    #[arg(long, value_name = "FORM", default_value = "stored")]
    pub(crate) embedding_weights: HostWeights,
    /// The most answers that are computed at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = count::<1, 4096>)]
    pub(crate) max_concurrent: usize,
    /// The most requests that wait, for the model and for embeddings each; further ones are refused
    /// with 429
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = count::<1, 1_000_000>)]
    pub(crate) max_waiting: usize,
    /// The most tokens of a step: what a long prompt may keep other answers waiting for
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = count::<1, 1_000_000>)]
    pub(crate) batch_tokens: usize,
    /// Tokens that the KV cache holds, of all answers together; 16384 or one whole context unless given
    #[arg(long, value_name = "N", value_parser = count::<1, 1_000_000_000>)]
    pub(crate) cache_tokens: Option<usize>,
    /// Compute every prompt from its beginning
    #[arg(long)]
    pub(crate) no_prefix_cache: bool,
    /// Guess up to so many tokens from what the text said before; the answer stays the same
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count::<0, 64>)]
    pub(crate) speculate: usize,
    /// Serve the adapters in the folders of this folder too, under the folders' names; requests choose
    /// them as their model, `/v1/adapters` loads and unloads them, SIGHUP has the folder read again
    #[arg(long, value_name = "DIR")]
    pub(crate) adapters: Option<PathBuf>,
    /// The most adapters that are loaded at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = count::<1, 4096>)]
    pub(crate) max_adapters: usize,
    /// Only requests with a key of this file are answered; `firebox key` makes keys, SIGHUP has the file
    /// read again
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Listen where others can reach it, without keys
    #[arg(long)]
    pub(crate) allow_anyone: bool,
    /// Let requests of different keys find each other's texts in the prefix cache
    #[arg(long)]
    pub(crate) share_prefixes: bool,
    /// Speak TLS with this chain of certificates in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The most seconds from a request to its last token
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = count::<1, 1_000_000>)]
    pub(crate) request_timeout: usize,
}

/// Where a new key goes, and what it may.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The file of keys, made where it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Whose key it is
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// Requests it may begin in a minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests_per_minute: Option<u32>,
    /// Tokens in a minute, of prompts and answers together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tokens_per_minute: Option<u32>,
    /// Requests under way at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_concurrent: Option<u32>,
    /// Let it load and unload adapters
    #[arg(long)]
    pub(crate) admin: bool,
}

impl ServeArgs {
    pub(crate) fn engine(&self, model: &LlamaConfig) -> EngineConfig {
        let usual = usual_engine(model);
        let speculation = Speculation {
            max_draft: self.speculate,
            ..Speculation::default()
        };
        EngineConfig {
            max_sequences: self.max_concurrent,
            max_batch_tokens: self.batch_tokens.max(self.max_concurrent),
            max_waiting: self.max_waiting,
            cache_tokens: self.cache_tokens.unwrap_or(usual.cache_tokens),
            prefix_cache: !self.no_prefix_cache,
            speculation: (self.speculate > 0).then_some(speculation),
        }
    }
}

/// The engine's own settings, with room for one whole context.
pub(crate) fn usual_engine(model: &LlamaConfig) -> EngineConfig {
    let usual = EngineConfig::default();
    let context = model.max_seq_len.next_multiple_of(HostBlocks::TOKENS);
    EngineConfig {
        cache_tokens: usual.cache_tokens.max(context),
        ..usual
    }
}
