//! Text made safe for HTML.

use std::fmt::{self, Display, Write};

/// Displays `text` so that it is only text, in content and in quoted attributes.
///
/// Control characters that XML does not allow become the replacement character: a model may say
/// anything.
pub(crate) fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`escape`].
pub(crate) struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                '\n' | '\t' => formatter.write_char(character)?,
                '\u{fffe}' | '\u{ffff}' => formatter.write_char('\u{fffd}')?,
                _ if character.is_control() => formatter.write_char('\u{fffd}')?,
                _ => formatter.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let hostile = r#"</p><script a="b" c='d'>x && y</script>"#;
        let expected = "&lt;/p&gt;&lt;script a=&quot;b&quot; c=&#39;d&#39;&gt;x &amp;&amp; \
                        y&lt;/script&gt;";
        assert_eq!(escape(hostile).to_string(), expected);
    }

    #[test]
    fn control_characters_do_not_reach_the_page() {
        assert_eq!(
            escape("a\0b\u{7}\r\n\t你好").to_string(),
            "a\u{fffd}b\u{fffd}\u{fffd}\n\t你好"
        );
    }
}
