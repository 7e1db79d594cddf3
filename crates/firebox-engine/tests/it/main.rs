//! Whole engines over small models.

mod answers;
mod common;
mod life;
mod schemas;
