//! `GET /metrics` in Prometheus' text format.
//!
//! What vLLM counts too has its name, so that what is made for it (dashboards, the Gateway API inference
//! extension's endpoint picker) works here unmodified; the rest begins with `firebox:`.
//!
//! Source: <https://docs.vllm.ai/en/latest/usage/metrics>,
//! <https://prometheus.io/docs/instrumenting/exposition_formats>.

use std::{
    fmt::{Display, Write},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use firebox_model::HostBlocks;

use crate::{
    app::{App, unix_seconds},
    metrics::{BOUNDS_S, Histogram},
};

/// Counts and times in Prometheus' text format, under vLLM's names where vLLM has them.
#[utoipa::path(get, path = "/metrics", tag = "server", responses(
    (status = 200, description = "The metrics.", content_type = "text/plain", body = String),
))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text(&app)).into_response()
}

fn text(app: &App) -> String {
    let mut page = Page {
        labels: format!("model_name=\"{}\"", escaped(app.model.name())),
        text: String::new(),
    };
    gauges(&mut page, app);
    counters(&mut page, app);
    let times = &app.metrics.times;
    for (name, help, histogram) in [
        (
            "vllm:time_to_first_token_seconds",
            "From a request's arrival to its first token.",
            &times.first_token,
        ),
        (
            "vllm:inter_token_latency_seconds",
            "Between two tokens of an answer.",
            &times.between_tokens,
        ),
        (
            "vllm:e2e_request_latency_seconds",
            "From a request's arrival to its last token.",
            &times.whole,
        ),
    ] {
        page.histogram(name, help, histogram);
    }
    embeddings(page.text, app)
}

/// Adds what is known of the embedding model, under its own name.
fn embeddings(text: String, app: &App) -> String {
    let Some(model) = &app.embeddings else {
        return text;
    };
    let mut page = Page {
        labels: format!("model_name=\"{}\"", escaped(model.name())),
        text,
    };
    page.gauge(
        "firebox:embedding_requests",
        "Embedding requests that wait or are computed.",
        model.n_in_line(),
    );
    let counts = &model.counts;
    for (name, help, n) in [
        (
            "firebox:embedding_requests_total",
            "Embedding requests answered.",
            &counts.requests,
        ),
        (
            "firebox:embedding_vectors_total",
            "Vectors in these answers.",
            &counts.vectors,
        ),
        (
            "firebox:embedding_tokens_total",
            "Tokens that they were computed from.",
            &counts.tokens,
        ),
    ] {
        page.begin(name, "counter", help);
        page.sample(name, "", n.load(Relaxed));
    }
    page.text
}

fn gauges(page: &mut Page, app: &App) {
    let stats = app.model.engine().stats();
    let used = stats.n_blocks_held as f64 / stats.n_blocks.max(1) as f64;
    page.gauge(
        "vllm:num_requests_running",
        "Answers being computed.",
        stats.n_running,
    );
    page.gauge(
        "vllm:num_requests_waiting",
        "Requests that wait.",
        stats.n_waiting,
    );
    page.gauge(
        "vllm:kv_cache_usage_perc",
        "Held share of the KV cache, 0 to 1.",
        used,
    );
    // The name that it had before, which endpoint pickers still ask for.
    page.gauge(
        "vllm:gpu_cache_usage_perc",
        "Held share of the KV cache, 0 to 1.",
        used,
    );
    let sizes = format!(
        "block_size=\"{}\",num_gpu_blocks=\"{}\"",
        HostBlocks::TOKENS,
        stats.n_blocks
    );
    page.begin("vllm:cache_config_info", "gauge", "Sizes of the KV cache.");
    page.sample("vllm:cache_config_info", &sizes, 1);
    adapters(page, app);
    page.gauge(
        "firebox:cached_blocks",
        "Blocks that no answer holds but that keep a text.",
        stats.n_blocks_idle,
    );
}

/// Which adapters have requests: by it endpoint pickers find the replica that has one loaded.
fn adapters(page: &mut Page, app: &App) {
    let adapters = app.model.adapters();
    let loaded = adapters.loaded();
    let in_use = loaded.iter().filter(|(_, _, n_requests)| *n_requests > 0);
    let names: Vec<String> = in_use.map(|(name, ..)| escaped(name)).collect();
    let labels = format!(
        "max_lora=\"{}\",running_lora_adapters=\"{}\",waiting_lora_adapters=\"\"",
        adapters.max(),
        names.join(",")
    );
    let name = "vllm:lora_requests_info";
    page.begin(
        name,
        "gauge",
        "Adapters with requests, and when that was so.",
    );
    page.sample(name, &labels, unix_seconds());
}

fn counters(page: &mut Page, app: &App) {
    let stats = app.model.engine().stats();
    let counts = &app.metrics.counters;
    for (name, help, n) in [
        (
            "vllm:prompt_tokens_total",
            "Prompt tokens computed.",
            stats.n_prompt_tokens,
        ),
        (
            "vllm:generation_tokens_total",
            "Tokens drawn.",
            stats.n_new_tokens,
        ),
        (
            "vllm:prefix_cache_queries_total",
            "Prompt tokens looked up in the prefix cache.",
            stats.n_prefix_queries,
        ),
        (
            "vllm:prefix_cache_hits_total",
            "Of these, those found.",
            stats.n_prefix_hits,
        ),
        (
            "vllm:num_preemptions_total",
            "Answers that gave up their blocks for a while.",
            stats.n_preemptions,
        ),
        (
            "vllm:spec_decode_num_draft_tokens_total",
            "Tokens guessed.",
            stats.n_guessed,
        ),
        (
            "vllm:spec_decode_num_accepted_tokens_total",
            "Of these, those that were right.",
            stats.n_guessed_right,
        ),
        (
            "firebox:engine_steps_total",
            "Steps computed.",
            stats.n_steps,
        ),
        (
            "firebox:engine_restarts_total",
            "Times that the engine panicked and began anew.",
            stats.n_restarts,
        ),
        (
            "firebox:http_requests_total",
            "HTTP requests received.",
            counts.requests.load(Relaxed),
        ),
        (
            "firebox:interrupted_total",
            "Answers given up, out of time or failed.",
            counts.interrupted.load(Relaxed),
        ),
    ] {
        page.begin(name, "counter", help);
        page.sample(name, "", n);
    }
    let name = "vllm:request_success_total";
    page.begin(name, "counter", "Answers that came to their own end.");
    for (reason, n) in [("stop", &counts.stopped), ("length", &counts.cut_by_length)] {
        let label = format!("finished_reason=\"{reason}\"");
        page.sample(name, &label, n.load(Relaxed));
    }
}

struct Page {
    /// Of every sample.
    labels: String,
    text: String,
}

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, "histogram", help);
        let counts = histogram.cumulative();
        let bounds = BOUNDS_S.iter().map(f64::to_string);
        for (bound, n) in bounds.chain(["+Inf".to_owned()]).zip(&counts) {
            self.sample(&format!("{name}_bucket"), &format!("le=\"{bound}\""), n);
        }
        self.sample(&format!("{name}_sum"), "", histogram.total_s());
        self.sample(&format!("{name}_count"), "", counts.last().unwrap_or(&0));
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let comma = if labels.is_empty() { "" } else { "," };
        let labels = format!("{{{}{comma}{labels}}}", self.labels);
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes all text");
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
