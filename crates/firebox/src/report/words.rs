//! The words that the page uses.

/// Word and meaning.
const WORDS: [(&str, &str); 9] = [
    (
        "Token",
        "A piece of text that has a number in the vocabulary: a word, a part of one, a character.",
    ),
    (
        "Loss, NLL",
        "Negative log-likelihood: minus the logarithm of the probability that the model gave to the token that really came, on average. 0 would be certainty. Nats, because the logarithm is the natural one.",
    ),
    (
        "Perplexity",
        "The exponential of the NLL: a perplexity of 20 is as uncertain as a fair die with 20 sides.",
    ),
    (
        "Held-out",
        "Kept away from training, so that it can be used to test.",
    ),
    (
        "Learning rate",
        "How far the weights move in one step. Too low wastes time, too high never settles.",
    ),
    (
        "Adapter, LoRA",
        "Two thin matrices beside a frozen layer; their product is the change that was learned. Rank is their thin side.",
    ),
    (
        "f32, INT8, NF4",
        "Ways to store a weight: in 32 bits, in 8, or in 4 with a shared scale.",
    ),
    (
        "Peak memory",
        "The most memory that the program held at any moment of the stage.",
    ),
    (
        "Greedy",
        "Always taking the likeliest token. Drawing at random among the likely ones makes livelier text.",
    ),
];

/// A list of words and meanings.
pub(crate) fn section() -> String {
    let entries: String = WORDS
        .iter()
        .map(|(word, meaning)| format!("<div><dt>{word}</dt><dd>{meaning}</dd></div>\n"))
        .collect();
    format!(
        "<section>\n<h2>Words on this page</h2>\n<dl class=\"words\">\n{entries}</dl>\n</section>\n"
    )
}
