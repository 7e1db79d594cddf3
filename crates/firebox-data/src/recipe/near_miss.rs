//! Names that may have been meant.

/// `, found `x` (hint: did you mean `y`?)`, or without the hint if no name is near.
pub(super) fn suggest(found: &str, names: &[&str]) -> String {
    let most = (found.chars().count() / 3).max(1);
    let nearest = names
        .iter()
        .map(|name| (distance(found, name), *name))
        .filter(|(distance, name)| *distance <= most || is_part(found, name))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, name)) => format!(", found `{found}` (hint: did you mean `{name}`?)"),
        None => format!(", found `{found}`"),
    }
}

/// Whether one name, of some length, is a part of the other.
fn is_part(found: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', "-").to_lowercase();
    let (found, name) = (plain(found), plain(name));
    found.len() >= 3 && (name.contains(&found) || found.contains(&name))
}

/// How many characters must be inserted, deleted, replaced or exchanged with their neighbour: the optimal
/// string alignment distance.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    // The rows of the table for one and two characters of `left` fewer.
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for at in 0..left.len() {
        let mut row = vec![at + 1];
        for column in 0..right.len() {
            let replaced = last[column] + usize::from(left[at] != right[column]);
            let mut least = replaced.min(last[column + 1] + 1).min(row[column] + 1);
            let is_exchange = at > 0
                && column > 0
                && left[at] == right[column - 1]
                && left[at - 1] == right[column];
            if is_exchange {
                least = least.min(before_last[column - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, suggest};

    #[test]
    fn distances_count_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
        assert_eq!(distance("mni", "min"), 1);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["min-words", "max-words", "gopher-quality"];
        assert!(suggest("min-word", &names).ends_with("did you mean `min-words`?)"));
        assert!(suggest("min_words", &names).ends_with("did you mean `min-words`?)"));
        assert!(suggest("gopher", &names).ends_with("did you mean `gopher-quality`?)"));
        assert_eq!(suggest("perplexity", &names), ", found `perplexity`");
    }
}
