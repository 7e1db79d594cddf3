//! Load on a server of OpenAI's API, and how the server bears it.
//!
//! Closed loop: so many clients, each with one request under way; a slow server is asked less. Open
//! loop: requests begin at the times of a Poisson process, as those of many strangers do; a slow server
//! falls behind.
//!
//! Source: Schroeder, Wierman and Harchol-Balter (2006),
//! <https://www.usenix.org/conference/nsdi-06/open-versus-closed-cautionary-tale>.

mod client;
mod report;

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use firebox_tensor::random::CounterRng;
use futures_util::future::join_all;
use serde_json::{Value, json};

use self::client::{Server, Timed};
pub use self::report::{LoadReport, Spread};
use crate::TlsError;

/// Streams of the random numbers.
const PROMPTS: u64 = 0;
const ARRIVALS: u64 = 1;

/// Short common words, each a token in most vocabularies.
const WORDS: [&str; 32] = [
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "was", "on", "are", "as", "with",
    "his", "they", "at", "be", "this", "from", "have", "or", "by", "one", "had", "not", "but",
    "what", "all", "were", "when", "we",
];

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server: `http://` or `https://` and its address.
    pub url: String,
    /// The authorities in PEM that its certificate may come from; those that browsers trust unless given.
    pub authorities: Option<PathBuf>,
    /// The model to ask for; the first that the server names unless given.
    pub model: Option<String>,
    /// A key of the server.
    pub key: Option<String>,
    /// Requests that are counted, after one that is not.
    pub requests: usize,
    /// When they begin.
    pub arrivals: Arrivals,
    /// Words of a prompt, about a token each.
    pub prompt_words: usize,
    /// Of these, words that all prompts begin with.
    pub shared_words: usize,
    /// Tokens of an answer.
    pub new_tokens: usize,
    /// Of prompts and times.
    pub seed: u64,
}

/// When requests begin.
#[derive(Clone, Copy, Debug)]
pub enum Arrivals {
    /// Each of so many clients sends its next request when it has its last answer.
    Closed {
        /// How many.
        clients: usize,
    },
    /// At the times of a Poisson process.
    Poisson {
        /// Requests a second, on average.
        rate: f64,
    },
}

/// Why a server cannot be measured, or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The address is none.
    #[error("`{found}`: expected `http://HOST:PORT` or `https://HOST:PORT`")]
    Url {
        /// What was given.
        found: String,
    },
    /// Nobody is there.
    #[error("connect to `{address}` (hint: is the server up?)")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server's certificate is not trusted, or it speaks no TLS.
    #[error(
        "speak TLS with `{address}` (hint: a certificate that no known authority signed is trusted with \
         `--authorities FILE`)"
    )]
    Handshake {
        /// The address.
        address: String,
        /// What was wrong.
        source: io::Error,
    },
    /// Authorities without a use.
    #[error(
        "`{found}`: expected `https://` with authorities (hint: `http://` has no certificates; leave them out)"
    )]
    NoTls {
        /// The server.
        found: String,
    },
    /// The authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A request cannot be written.
    #[error("the request cannot be written: {0}")]
    Request(axum::http::Error),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is no JSON.
    #[error("the answer is not what OpenAI's API gives: {0}")]
    Json(#[from] serde_json::Error),
    /// The server refused.
    #[error("{status}: {message}")]
    Status {
        /// Of HTTP.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The server failed in the midst of an answer.
    #[error("{0}")]
    Event(String),
    /// The answer has no end.
    #[error("the answer broke off")]
    Cut,
    /// The answer has no text.
    #[error("the answer has no text")]
    NoText,
    /// There is nothing to ask.
    #[error("expected a model in `/v1/models`, found none")]
    NoModel,
}

impl Load {
    /// Puts the load on the server. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`LoadError`] when the first request, which is not counted, is not answered; later ones are
    /// counted as failed.
    pub async fn measure(&self) -> Result<LoadReport, LoadError> {
        let server = Server::new(&self.url, self.key.clone(), self.authorities.as_deref())?;
        let mut first = server.client();
        let model = match &self.model {
            Some(model) => model.clone(),
            None => first.first_model().await?,
        };
        // The first answer of a server takes longer, and an error here is clearer than many.
        first.complete(&self.body(&model, self.requests)).await?;
        let begin = Instant::now();
        let answers = match self.arrivals {
            Arrivals::Closed { clients } => self.closed_loop(&server, &model, clients).await,
            Arrivals::Poisson { rate } => self.open_loop(&server, &model, rate).await,
        };
        let took = begin.elapsed();
        Ok(LoadReport::new(model, self.arrivals, answers, took))
    }

    async fn closed_loop(
        &self,
        server: &Server,
        model: &str,
        clients: usize,
    ) -> Vec<Result<Timed, LoadError>> {
        let next = AtomicUsize::new(0);
        let work = |_| async {
            let (mut client, mut answers) = (server.client(), Vec::new());
            loop {
                let i = next.fetch_add(1, Relaxed);
                if i >= self.requests {
                    return answers;
                }
                answers.push(client.complete(&self.body(model, i)).await);
            }
        };
        let all = join_all((0..clients).map(work)).await;
        all.into_iter().flatten().collect()
    }

    async fn open_loop(
        &self,
        server: &Server,
        model: &str,
        rate: f64,
    ) -> Vec<Result<Timed, LoadError>> {
        let begin = tokio::time::Instant::now();
        let requests = arrivals(self.seed, rate).take(self.requests).enumerate();
        let ask = |(i, after): (usize, Duration)| async move {
            tokio::time::sleep_until(begin + after).await;
            server.client().complete(&self.body(model, i)).await
        };
        join_all(requests.map(ask)).await
    }

    /// The `i`-th request. After the words that they share, no two prompts begin alike.
    fn body(&self, model: &str, i: usize) -> Value {
        let mut shared = CounterRng::new(self.seed, PROMPTS);
        let mut own = CounterRng::new(self.seed.wrapping_add(1 + i as u64), PROMPTS);
        let number = i.to_string();
        let words = (0..self.prompt_words).map(|k| match k.checked_sub(self.shared_words) {
            None => WORDS[shared.below(WORDS.len() as u64) as usize],
            Some(0) => &number,
            Some(_) => WORDS[own.below(WORDS.len() as u64) as usize],
        });
        let prompt: Vec<&str> = words.collect();
        json!({
            "model": model,
            "prompt": prompt.join(" "),
            "max_tokens": self.new_tokens,
            "temperature": 0,
            "stream": true,
            "stream_options": {"include_usage": true},
            "ignore_eos": true,
        })
    }
}

/// When the requests begin: the gaps are exponential.
fn arrivals(seed: u64, rate: f64) -> impl Iterator<Item = Duration> {
    let mut rng = CounterRng::new(seed, ARRIVALS);
    let mut at = 0.0;
    std::iter::repeat_with(move || {
        at += -(1.0 - f64::from(rng.uniform())).ln() / rate;
        Duration::from_secs_f64(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_arrive_at_the_rate() {
        let last = arrivals(3, 20.0).nth(19_999).unwrap();
        assert!((last.as_secs_f64() - 1000.0).abs() < 25.0, "{last:?}");
        let times: Vec<Duration> = arrivals(3, 20.0).take(1000).collect();
        assert!(times.is_sorted());
        // Exponential: the gaps' deviation is their mean.
        let gaps: Vec<f64> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.15);
    }
}
