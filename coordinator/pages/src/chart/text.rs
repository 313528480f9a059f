//! The width of texts, as far as it can be told without a font, and labels cut to a width.

/// The size of all texts in pixels, as in `charts.css`.
const SIZE: f64 = 12.0;

/// How wide a text is at most, in pixels: an estimate on the safe side for the usual sans-serif fonts.
pub(super) fn width(text: &str) -> f64 {
    text.chars().map(advance).sum()
}

fn advance(character: char) -> f64 {
    let ems = match character {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | '!' => 0.32,
        'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '-' | '/' | '*' => 0.42,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '…' => 0.98,
        'A'..='Z' | '+' | '=' | '≤' | '≥' | '<' | '>' | '~' => 0.74,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}' => 1.05,
        '\u{1f000}'..='\u{3fffd}' => 1.4,
        _ if character.is_ascii() => 0.62,
        _ => 0.7,
    };
    ems * SIZE
}

/// A label on one line, without what would not be seen or would reorder what is.
fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for character in text.chars() {
        if character.is_whitespace() || character.is_control() {
            if !cleaned.is_empty() && !cleaned.ends_with(' ') {
                cleaned.push(' ');
            }
        } else if !is_invisible(character) {
            cleaned.push(character);
        }
    }
    cleaned.truncate(cleaned.trim_end().len());
    cleaned
}

/// Directional controls, zero-width characters and what is no character.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{fffe}'
            | '\u{ffff}'
    )
}

/// A label that is at most so wide: what is cut off becomes `…`.
pub(super) fn shorten(text: &str, pixels: f64) -> String {
    // A long text is cut before it is looked at: no label has this many characters.
    let long: String = text.chars().take(1000).collect();
    let cleaned = clean(&long);
    if width(&cleaned) <= pixels {
        return cleaned;
    }
    let mut room = pixels - advance('…');
    let mut cut = String::new();
    for character in cleaned.chars() {
        room -= advance(character);
        if room < 0.0 {
            break;
        }
        cut.push(character);
    }
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// A label within a sentence, for a description.
pub(super) fn in_sentence(text: &str) -> String {
    shorten(text, 480.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_label_is_cut_to_the_width() {
        let long = "m".repeat(300);
        let cut = shorten(&long, 100.0);
        assert!(width(&cut) <= 100.0);
        assert!(cut.ends_with('…'));
        assert_eq!(shorten("c6i.xlarge", 100.0), "c6i.xlarge");
    }

    #[test]
    fn controls_and_direction_marks_do_not_reach_a_label() {
        assert_eq!(shorten(" a\u{0}\n\t b\u{202e}c\u{feff} ", 100.0), "a bc");
    }

    #[test]
    fn nothing_fits_into_nothing_but_the_mark_of_a_cut() {
        assert_eq!(shorten("label", 0.0), "…");
        assert_eq!(shorten("", 0.0), "");
    }
}
