//! Names that look like a name that was not found.

/// At most three of `names` that share enough with `wanted`, the nearest first.
pub(crate) fn near_names<'a>(wanted: &str, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    /// Longer names are not compared: the time is the product of both lengths.
    const MAX_LEN: usize = 160;
    /// More names than any model has.
    const MAX_NAMES: usize = 10_000;
    if wanted.len() > MAX_LEN {
        return Vec::new();
    }
    let mut near: Vec<(usize, &String)> = names
        .take(MAX_NAMES)
        .filter(|name| name.len() <= MAX_LEN)
        .map(|name| (distance(wanted.as_bytes(), name.as_bytes()), name))
        .filter(|(distance, _)| *distance <= wanted.len() / 3)
        .collect();
    near.sort();
    near.into_iter()
        .take(3)
        .map(|(_, name)| name.clone())
        .collect()
}

/// The Levenshtein distance: insertions, deletions and substitutions of bytes.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"same", b"same"), 0);
    }

    #[test]
    fn nearest_name_comes_first_and_strangers_are_left_out() {
        let names = ["model.norm.weight", "lm_head.weight", "model.form.weight"].map(String::from);
        let near = near_names("model.norm.weights", names.iter());
        assert_eq!(near, ["model.norm.weight", "model.form.weight"]);
    }
}
