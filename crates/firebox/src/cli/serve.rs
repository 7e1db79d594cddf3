//! `firebox serve`.

pub(crate) mod args;

use std::io::IsTerminal;
use std::time::Duration;

use firebox_engine::{Engine, EngineConfig};
use firebox_model::{CausalLm, InferenceModel};
use firebox_serve::{EmbeddingModel, KeyEntry, Keys, ServedModel, Server, Shutdown, Tls};

use self::args::{KeyArgs, ServeArgs, usual_engine};
use super::args::Globals;
use super::model::{Loaded, LoadedModel};
use super::{embed, output};

pub(crate) fn run(globals: &Globals, args: &ServeArgs) -> anyhow::Result<()> {
    start_log();
    let keys = args.keys.as_deref().map(Keys::load).transpose()?;
    let embeddings = embedding_model(globals, args)?;
    let server = server(args, keys.as_ref(), embeddings)?;
    let loaded = LoadedModel::open(globals, &args.model)?;
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| model_name(&args.model.model.model));
    let engine = args.engine(loaded.model.config());
    let mut model = served(loaded, name, engine)?;
    if let Some(folder) = &args.adapters {
        model = model.with_adapters(folder, args.max_adapters)?;
    }
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let keys = keys.zip(args.keys.clone());
        if keys.is_some() || args.adapters.is_some() {
            tokio::spawn(firebox_serve::reload_at_hangup(keys, model.clone()));
        }
        let listener = server.bind().await?;
        let scheme = if args.tls_key.is_some() {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        output::print(globals.json, &serde_json::json!({ "url": url }), || {
            format!("serving on {url}")
        })?;
        match server
            .serve(listener, model, firebox_serve::shutdown_signal())
            .await
        {
            Shutdown::Drained => eprintln!("all requests answered; bye"),
            Shutdown::Cut => eprintln!("some requests were cut off; bye"),
        }
        Ok(())
    });
    runtime.shutdown_background();
    result
}

fn embedding_model(globals: &Globals, args: &ServeArgs) -> anyhow::Result<Option<EmbeddingModel>> {
    let Some(source) = &args.embedding_model else {
        return Ok(None);
    };
    let embedder = embed::open(globals, source, args.embedding_weights)?;
    let name = args.embedding_name.clone();
    let name = name.unwrap_or_else(|| model_name(source));
    let model = EmbeddingModel::new(name, embedder).with_max_waiting(args.max_waiting);
    Ok(Some(model))
}

fn server(
    args: &ServeArgs,
    keys: Option<&Keys>,
    embeddings: Option<EmbeddingModel>,
) -> anyhow::Result<Server> {
    let mut builder = Server::builder()
        .address(args.address)
        .allow_anyone(args.allow_anyone)
        .share_prefixes(args.share_prefixes)
        .request_timeout(Duration::from_secs(args.request_timeout as u64));
    if let Some(keys) = keys {
        builder = builder.keys(keys.clone());
    }
    if let Some(embeddings) = embeddings {
        builder = builder.embedding_model(embeddings);
    }
    if let (Some(certificate), Some(key)) = (&args.tls_certificate, &args.tls_key) {
        builder = builder.tls(Tls::load(certificate, key)?);
    }
    Ok(builder.build()?)
}

/// Makes a key and shows it, once.
pub(crate) fn make_key(globals: &Globals, args: &KeyArgs) -> anyhow::Result<()> {
    let (secret, entry) = firebox_serve::new_key(&args.name)?;
    let entry = KeyEntry {
        requests_per_minute: args.requests_per_minute,
        tokens_per_minute: args.tokens_per_minute,
        max_concurrent: args.max_concurrent,
        admin: args.admin,
        ..entry
    };
    firebox_serve::add_key(&args.file, entry)?;
    let shown = serde_json::json!({ "name": args.name, "key": secret });
    output::print(globals.json, &shown, || {
        eprintln!("the key of `{}`; it is not kept anywhere:", args.name);
        secret.clone()
    })
}

/// The loaded model as the server wants it, on an engine as it usually is.
pub(crate) fn usually_served(
    loaded: Loaded<impl Into<InferenceModel>>,
    name: String,
) -> anyhow::Result<ServedModel> {
    let loaded = Loaded {
        files: loaded.files,
        model: loaded.model.into(),
    };
    let engine = usual_engine(loaded.model.config());
    served(loaded, name, engine)
}

fn served(loaded: LoadedModel, name: String, engine: EngineConfig) -> anyhow::Result<ServedModel> {
    let eos_ids = loaded.files.eos_ids();
    let engine = Engine::start(loaded.model, loaded.files.tokenizer, engine)?;
    let model = ServedModel::new(name, engine).with_eos_ids(eos_ids);
    Ok(match loaded.files.chat_template {
        Some(template) => model.with_chat_template(template),
        None => model,
    })
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// The last part of a path, repository or package name.
fn model_name(model: &str) -> String {
    let model = model.trim_end_matches('/');
    let name = model.rsplit(['/', ':']).next().unwrap_or(model);
    let name = name
        .split("==")
        .next()
        .unwrap_or(name)
        .split('@')
        .next()
        .unwrap_or(name);
    name.trim_end_matches(".gguf")
        .trim_end_matches(".safetensors")
        .to_owned()
}

/// Logs go to stderr; `RUST_LOG` chooses what.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second start (in a test) keeps the first log.
    let _ = log.try_init();
}
