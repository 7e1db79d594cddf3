//! How a pull reports what it does, and how it is told to stop.

/// Receives the progress of a [`pull`](crate::pull()) and may cancel it.
///
/// `()` implements it for callers that want neither.
pub trait Progress {
    /// Called when a step begins and whenever bytes have arrived.
    ///
    /// `message` names the step ("fetch model.safetensors"). `done_bytes` counts within that step;
    /// `total_bytes` is `None` where the size is not known (pip does not tell).
    fn report(&mut self, message: &str, done_bytes: u64, total_bytes: Option<u64>);

    /// Asked between pieces of work; `true` ends the pull with
    /// [`HubError::Cancelled`](crate::HubError::Cancelled) and leaves no half state.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn report(&mut self, _message: &str, _done_bytes: u64, _total_bytes: Option<u64>) {}
}
