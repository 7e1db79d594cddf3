use proptest::prelude::*;

use super::*;

fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
    let mut matcher = StopMatcher::new(stops.iter().map(|&s| s.to_owned()).collect());
    let mut shown: Vec<String> = pieces.iter().map(|piece| matcher.push(piece)).collect();
    shown.push(matcher.finish());
    (shown, matcher.is_stopped())
}

#[test]
fn a_stop_string_across_pieces_is_cut_off() {
    let (shown, stopped) = run(&["\nUser:"], &["Hello", "\nUs", "er", ": hi"]);
    assert_eq!((shown.concat().as_str(), stopped), ("Hello", true));
    assert_eq!(
        shown[0], "Hello",
        "text before the possible stop is shown at once"
    );
}

#[test]
fn a_beginning_that_does_not_go_on_is_shown_later() {
    let (shown, stopped) = run(&["END"], &["E", "N", "O"]);
    assert_eq!(shown, ["", "", "ENO", ""]);
    assert!(!stopped);
}

#[test]
fn the_earliest_of_several_stops_wins() {
    assert_eq!(run(&["c", "b"], &["abc"]).0.concat(), "a");
}

proptest! {
    #[test]
    fn shown_text_is_the_text_up_to_the_first_stop(text in "[ab。]{0,30}", stop in "[ab。]{1,4}", cut in 1_usize..5) {
        let chars: Vec<char> = text.chars().collect();
        let pieces: Vec<String> = chars.chunks(cut).map(|c| c.iter().collect()).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let (shown, stopped) = run(&[&stop], &pieces);
        let at = text.find(&stop);
        prop_assert_eq!(shown.concat(), &text[..at.unwrap_or(text.len())]);
        prop_assert_eq!(stopped, at.is_some());
    }
}
