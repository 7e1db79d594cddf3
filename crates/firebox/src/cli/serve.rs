//! `firebox serve`.

use std::io::IsTerminal;
use std::sync::Arc;

use firebox_model::InferenceModel;
use firebox_serve::{LocalModel, Server, Shutdown};

use super::args::{Globals, ServeArgs};
use super::model::{Loaded, LoadedModel};
use super::output;

pub(crate) fn run(globals: &Globals, args: &ServeArgs) -> anyhow::Result<()> {
    start_log();
    let loaded = LoadedModel::open(globals, &args.model)?;
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| model_name(&args.model.model.model));
    let server = Server::builder()
        .address(args.address)
        .model_name(&name)
        .max_concurrent(args.max_concurrent)
        .build()?;
    let generator = Arc::new(local_model(loaded, name)?);
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let listener = server.bind().await?;
        let url = format!("http://{}", listener.local_addr()?);
        output::print(globals.json, &serde_json::json!({ "url": url }), || {
            format!("serving on {url}")
        })?;
        match server
            .serve(listener, generator, firebox_serve::shutdown_signal())
            .await
        {
            Shutdown::Drained => eprintln!("all requests answered; bye"),
            Shutdown::Cut => eprintln!("some requests were cut off; bye"),
        }
        Ok(())
    });
    // A generation that was cut off ends at its next token; nobody waits for it.
    runtime.shutdown_background();
    result
}

/// The loaded model as the server wants it.
pub(crate) fn local_model(
    loaded: Loaded<impl Into<InferenceModel>>,
    name: String,
) -> anyhow::Result<LocalModel> {
    let eos_ids = loaded.files.eos_ids();
    let model = LocalModel::new(name, loaded.model, loaded.files.tokenizer)?.with_eos_ids(eos_ids);
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
