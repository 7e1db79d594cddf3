//! How much time, memory and stack a rendering may take: templates come from strangers.

use std::io;
use std::panic;
use std::thread;

use crate::Message;

/// Steps of minijinja's fuel that any rendering may take: a step is an instruction or 64 bytes of
/// text. The longest templates known take some thousands.
const BASE_FUEL: u64 = 200_000;
const FUEL_PER_MESSAGE: u64 = 2_000;
/// Two bytes of content pay for one step: for 32 copies of the content.
const CONTENT_BYTES_PER_FUEL: u64 = 2;

/// A template can nest a list in a list once per step at most, and dropping such a value recurses.
/// minijinja 3.1 takes up to 84 bytes of stack per step in a release build; debug builds take more.
const STACK_BYTES_PER_FUEL: u64 = if cfg!(debug_assertions) { 1024 } else { 256 };
const BASE_STACK_BYTES: u64 = 2 << 20;

/// Templates up to this length that have none of these words cannot nest deeper than they are
/// written: what they set in a loop is gone in its next round.
const MAX_SIMPLE_BYTES: usize = 4096;
const NESTING_WORDS: [&str; 3] = ["namespace", "macro", "recursive"];

/// The fuel for a conversation.
pub(super) fn fuel_for(messages: &[Message]) -> u64 {
    let n_content_bytes: usize = messages.iter().map(|message| message.content.len()).sum();
    BASE_FUEL
        + FUEL_PER_MESSAGE * messages.len() as u64
        + n_content_bytes as u64 / CONTENT_BYTES_PER_FUEL
}

/// Whether a template might build a value so deep that an ordinary stack is too small for it.
pub(super) fn may_nest_deeply(source: &str) -> bool {
    source.len() > MAX_SIMPLE_BYTES || NESTING_WORDS.iter().any(|word| source.contains(word))
}

/// Runs a rendering on a thread whose stack is large enough for whatever the fuel can build. Only
/// the part of it that is used takes memory.
pub(super) fn with_deep_stack<T: Send>(
    fuel: u64,
    render: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let stack_bytes = BASE_STACK_BYTES + fuel.saturating_mul(STACK_BYTES_PER_FUEL);
    let stack_bytes = usize::try_from(stack_bytes).unwrap_or(usize::MAX / 2);
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(stack_bytes);
        let result = builder.spawn_scoped(scope, render)?.join();
        Ok(result.unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}
