//! What a rule measured, and what it makes of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// One measured value beside its threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was measured, as datatrove or the paper names it: `dup_line_frac`, `words`.
    pub check: &'static str,
    /// What was found.
    pub value: Value,
    /// What is demanded.
    pub bound: Bound,
}

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A count, a ratio from 0 to 1, or a mean.
    Number(f64),
    /// A name, for instance a language.
    Text(Cow<'static, str>),
}

/// A threshold.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// The value must not be below.
    AtLeast(f64),
    /// The value must not be above.
    AtMost(f64),
    /// The value must be one of these.
    OneOf(Arc<[String]>),
    /// The value must be none of these.
    NoneOf(Arc<[String]>),
}

impl Finding {
    pub(super) fn at_least(check: &'static str, value: f64, least: f64) -> Self {
        Self {
            check,
            value: Value::Number(value),
            bound: Bound::AtLeast(least),
        }
    }

    pub(super) fn at_most(check: &'static str, value: f64, most: f64) -> Self {
        Self {
            check,
            value: Value::Number(value),
            bound: Bound::AtMost(most),
        }
    }

    /// Whether the value is within its threshold.
    #[must_use]
    pub fn passes(&self) -> bool {
        match (&self.value, &self.bound) {
            (Value::Number(value), Bound::AtLeast(least)) => value >= least,
            (Value::Number(value), Bound::AtMost(most)) => value <= most,
            (Value::Text(text), Bound::OneOf(names)) => names.iter().any(|name| name == text),
            (Value::Text(text), Bound::NoneOf(names)) => names.iter().all(|name| name != text),
            (Value::Number(_), Bound::OneOf(_) | Bound::NoneOf(_))
            | (Value::Text(_), Bound::AtLeast(_) | Bound::AtMost(_)) => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.check, self.value, self.bound)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{}", Short(*value)),
            Self::Text(text) => write!(f, "`{text}`"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {}", Short(*least)),
            Self::AtMost(most) => write!(f, "at most {}", Short(*most)),
            Self::OneOf(names) => write!(f, "one of {}", names.join(", ")),
            Self::NoneOf(names) => write!(f, "none of {}", names.join(", ")),
        }
    }
}

/// A number with at most four digits behind the point.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.fract() == 0.0 {
            return write!(f, "{}", self.0);
        }
        let text = format!("{:.4}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// `part / whole`, and 0 of nothing.
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
