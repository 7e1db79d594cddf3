//! `firebox bench serve`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use firebox_serve::load::{Arrivals, Load, LoadReport, Spread};

use super::args::{Globals, count};
use super::output;

#[derive(Debug, Args)]
pub(crate) struct BenchServeArgs {
    /// The server, `http://` or `https://` and its address
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Trust the certificates of this file in PEM, instead of those that browsers trust
    #[arg(long, value_name = "FILE")]
    pub(crate) authorities: Option<PathBuf>,
    /// The model to ask for; the first that the server names unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// A key of the server
    #[arg(long, env = "FIREBOX_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Requests that are counted
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = count::<1, 1_000_000>)]
    pub(crate) requests: usize,
    /// Clients, each of which sends its next request when it has its last answer
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = count::<1, 10_000>)]
    pub(crate) clients: usize,
    /// Instead, requests begin at random times, so many a second on average, whether earlier ones are
    /// answered or not
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "clients", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Words of a prompt; words are about a token each
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = count::<1, 1_000_000>)]
    pub(crate) prompt_words: usize,
    /// Of these, words that all prompts begin with
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count::<0, 1_000_000>)]
    pub(crate) shared_words: usize,
    /// Tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = count::<1, 1_000_000>)]
    pub(crate) new_tokens: usize,
    /// Seed of prompts and times
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("expected a number above 0".to_owned()),
    }
}

pub(crate) fn run(globals: &Globals, args: &BenchServeArgs) -> anyhow::Result<()> {
    let load = Load {
        url: args.url.clone(),
        authorities: args.authorities.clone(),
        model: args.model.clone(),
        key: args.key.clone(),
        requests: args.requests,
        arrivals: match args.rate {
            Some(rate) => Arrivals::Poisson { rate },
            None => Arrivals::Closed {
                clients: args.clients,
            },
        },
        prompt_words: args.prompt_words,
        shared_words: args.shared_words,
        new_tokens: args.new_tokens,
        seed: args.seed,
    };
    // One thread: the server needs the others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(load.measure())?;
    if let (0, Some(error)) = (report.answered, &report.first_error) {
        bail!("none of {} requests was answered: {error}", report.failed);
    }
    output::print(globals.json, &report, || text(&report))
}

fn text(report: &LoadReport) -> String {
    let load = match (report.rate, report.clients) {
        (Some(rate), _) => format!("{rate} requests a second on average"),
        (None, clients) => format!("{} clients", clients.unwrap_or(1)),
    };
    let mut table = output::table(&["ms", "mean", "50 %", "90 %", "95 %", "99 %", "most"]);
    for (what, spread) in [
        ("to the first token", &report.first_token_s),
        ("between tokens", &report.between_tokens_s),
        ("per token after the first", &report.time_per_token_s),
        ("whole answer", &report.whole_s),
    ] {
        table.add_row(row(what, spread));
    }
    let error = report.first_error.as_ref();
    let error = error.map_or(String::new(), |error| format!("; the first error: {error}"));
    format!(
        "{}, {load}: {} answered, {} failed in {:.1} s; {} tokens in, {} out\n\
         {:.1} tokens/s out, {:.2} requests/s{error}\n{table}",
        report.model,
        report.answered,
        report.failed,
        report.seconds,
        report.prompt_tokens,
        report.new_tokens,
        report.new_tokens_per_s,
        report.requests_per_s,
    )
}

fn row(what: &str, spread: &Spread) -> Vec<String> {
    let Spread {
        mean,
        p50,
        p90,
        p95,
        p99,
        max,
    } = *spread;
    let cells = [mean, p50, p90, p95, p99, max].map(|seconds| format!("{:.1}", seconds * 1e3));
    [what.to_owned()].into_iter().chain(cells).collect()
}
