//! The error laboratory: classic failures of training runs, recognised from the run's own signals.
//!
//! A [`Watch`] sees a run's metrics, line by line, and says which [`Failure`] it recognises, with
//! the figure that made it say so. The trainer keeps one for every run; the lines of a run that is
//! over give the same findings. [`lab`] has a small run for each failure that reproduces it, and the
//! same run with the fix.

mod detectors;
mod failure;
pub mod lab;
mod watch;

pub use failure::{Failure, UnknownFailure};
pub use watch::{Finding, Watch};
