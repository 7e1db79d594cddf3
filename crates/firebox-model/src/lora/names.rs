//! Which layers a target names.

/// Whether `target` names `layer`: its last part, or a pattern in which `*` stands for anything.
pub(crate) fn matches(target: &str, layer: &str) -> bool {
    let is_last_part = || !target.contains('*') && layer.ends_with(&format!(".{target}"));
    matches_pattern(target, layer) || is_last_part()
}

/// Whether `name` is the pattern, in which `*` stands for anything.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}
