#![doc = include_str!("../README.md")]

mod classification;
mod nll;
mod windows;

pub use classification::{ClassScores, ClassificationReport};
pub use nll::{NllReport, nll, nll_of_labels};
pub use windows::{Window, windows};
