#![doc = include_str!("../README.md")]

pub mod memory;
pub mod packed;
pub mod random;
