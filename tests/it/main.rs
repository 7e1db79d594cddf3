//! Cross-crate tests, one module a feature.
