#![doc = include_str!("../README.md")]

mod nll;
mod windows;

pub use nll::{NllReport, nll, nll_of_labels};
pub use windows::{Window, windows};
