#![doc = include_str!("../README.md")]

mod classification;
mod divergence;
mod nll;
mod windows;

pub use classification::{ClassScores, ClassificationReport};
pub use divergence::{DivergenceReport, divergence};
pub use nll::{NllReport, nll, nll_of_labels};
pub use windows::{Window, windows};
