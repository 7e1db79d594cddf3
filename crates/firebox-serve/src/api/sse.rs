//! A generation as server-sent events.

use std::{collections::VecDeque, convert::Infallible};

use axum::response::{
    IntoResponse, Response, Sse,
    sse::{self, KeepAlive},
};
use futures_util::{Stream, stream};
use serde_json::Value;
use tracing::Span;

use crate::{
    Finished,
    job::{Event, Job},
};

/// How an endpoint writes a generation's events.
pub(crate) trait Chunks: Send + 'static {
    /// Before any text.
    fn open(&self) -> Option<Value>;
    /// More text.
    fn text(&self, piece: &str) -> Value;
    /// After all text.
    fn close(&self, finished: Finished) -> Vec<Value>;
}

/// The response: `chunks` of `job`, then `[DONE]`; a failure midway is an event in the error shape,
/// and the last one. Dropping the response's body drops the job, which stops it.
pub(crate) fn response(job: Job, chunks: impl Chunks) -> Response {
    Sse::new(events(job, chunks))
        .keep_alive(KeepAlive::default())
        .into_response()
}

struct Streaming<C> {
    /// `None` after the end.
    job: Option<Job>,
    chunks: C,
    ready: VecDeque<String>,
    span: Span,
}

fn events(job: Job, chunks: impl Chunks) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let ready = chunks.open().iter().map(Value::to_string).collect();
    let streaming = Streaming {
        job: Some(job),
        chunks,
        ready,
        span: Span::current(),
    };
    stream::unfold(streaming, |mut streaming| async {
        while streaming.ready.is_empty() {
            let event = streaming.job.as_mut()?.next().await;
            streaming.take(event);
        }
        let data = streaming.ready.pop_front()?;
        Some((Ok(sse::Event::default().data(data)), streaming))
    })
}

impl<C: Chunks> Streaming<C> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Text(piece) => self.ready.push_back(self.chunks.text(&piece).to_string()),
            Event::Finished(finished) => {
                self.job = None;
                self.ready
                    .extend(self.chunks.close(finished).iter().map(Value::to_string));
                self.ready.push_back("[DONE]".to_owned());
            }
            Event::Failed(error) => {
                self.job = None;
                self.span.in_scope(|| error.log());
                self.ready.push_back(error.body().to_string());
            }
        }
    }
}
