//! Answers as server-sent events.

use std::{collections::VecDeque, convert::Infallible};

use axum::response::{
    IntoResponse, Response, Sse,
    sse::{self, KeepAlive},
};
use firebox_engine::{Event, Finished, TokenLogprobs};
use futures_util::{Stream, stream};
use serde_json::Value;
use tracing::Span;

use crate::{error::ApiError, job::Job};

/// How an endpoint writes the events of its answers.
pub(crate) trait Chunks: Send + 'static {
    /// Before any text of a choice.
    fn open(&self, choice: usize) -> Option<Value>;

    /// Whether tokens that complete no text are written too.
    fn wants_all(&self) -> bool {
        false
    }

    /// A token and the text that it completes; none where it is held back.
    fn token(
        &mut self,
        choice: usize,
        id: u32,
        text: &str,
        logprobs: Option<&TokenLogprobs>,
    ) -> Option<Value>;

    /// After all text of a choice.
    fn close(&mut self, choice: usize, finished: &Finished) -> Vec<Value>;

    /// After all choices.
    fn end(&mut self, all: &[Finished]) -> Option<Value>;
}

/// The response: `chunks` of `job`, then `[DONE]`; a failure midway is an event in the error shape,
/// and the last one. Dropping the response's body drops the job, which gives its answers up.
pub(crate) fn response(job: Job, chunks: impl Chunks) -> Response {
    Sse::new(events(job, chunks))
        .keep_alive(KeepAlive::default())
        .into_response()
}

struct Answers<C> {
    /// `None` after the end.
    job: Option<Job>,
    chunks: C,
    finished: Vec<Finished>,
    ready: VecDeque<String>,
    span: Span,
}

fn events(job: Job, chunks: impl Chunks) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let n_choices = job.prompts.len() * job.n;
    let open = (0..n_choices).filter_map(|choice| chunks.open(choice));
    let ready = open.map(|chunk| chunk.to_string()).collect();
    let answers = Answers {
        job: Some(job),
        chunks,
        finished: Vec::new(),
        ready,
        span: Span::current(),
    };
    stream::unfold(answers, |mut answers| async {
        while answers.ready.is_empty() {
            let event = answers.job.as_mut()?.next().await;
            answers.take(event);
        }
        let data = answers.ready.pop_front()?;
        Some((Ok(sse::Event::default().data(data)), answers))
    })
}

impl<C: Chunks> Answers<C> {
    fn take(&mut self, event: Option<Result<(usize, Event), ApiError>>) {
        let chunks = match event {
            None => {
                self.job = None;
                let end = self.chunks.end(&self.finished);
                self.ready.extend(end.map(|chunk| chunk.to_string()));
                self.ready.push_back("[DONE]".to_owned());
                return;
            }
            Some(Err(error)) => return self.fail(&error),
            Some(Ok((_, Event::Failed(error)))) => return self.fail(&error.into()),
            Some(Ok((_, Event::Prompt(_)))) => Vec::new(),
            Some(Ok((choice, Event::Token { id, text, logprobs }))) => {
                let is_written = !text.is_empty() || self.chunks.wants_all();
                let chunk = match is_written {
                    true => self.chunks.token(choice, id, &text, logprobs.as_ref()),
                    false => None,
                };
                chunk.into_iter().collect()
            }
            Some(Ok((choice, Event::Finished(finished)))) => {
                self.finished.push(finished);
                self.chunks.close(choice, &finished)
            }
        };
        self.ready.extend(chunks.iter().map(Value::to_string));
    }

    fn fail(&mut self, error: &ApiError) {
        self.job = None;
        self.span.in_scope(|| error.log());
        self.ready.push_back(error.body().to_string());
    }
}
