//! Text from elsewhere (a model, an agent, a server, a client, a file's name) made fit for people: nothing
//! in it moves a cursor, rings, colours, hides or turns round what stands beside it.
//!
//! Programs get the same text whole, as JSON in which those characters are escaped ([`json`]).

use std::{borrow::Cow, fmt::Write, io, iter::Peekable, str::CharIndices};

/// More characters than this of one message help nobody.
pub const MOST_CHARACTERS: usize = 2000;

/// `text` without escape sequences and control characters, lines kept as they are.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(text, &mut rest),
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => {
                skip_string(text, at + c.len_utf8(), &mut rest);
            }
            _ if is_control(c) => {}
            _ => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// The same as one line of at most [`MOST_CHARACTERS`]: a line break in it is a space, and what is cut off
/// is counted.
#[must_use]
pub fn line(text: &str) -> String {
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}');
    let single = text.replace(is_break, " ");
    brief(&self::text(&single), MOST_CHARACTERS)
}

/// Several lines, of at most [`MOST_CHARACTERS`] together.
#[must_use]
pub fn lines(text: &str) -> String {
    brief(&self::text(text), MOST_CHARACTERS)
}

/// A log for people, which arrives an event at a time: each becomes one [`line`], whatever is in it.
#[derive(Debug)]
pub struct Events<W>(pub W);

impl<W: io::Write> io::Write for Events<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        writeln!(self.0, "{}", line(text.trim_end()))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// JSON with every character escaped that a terminal would act on. They stand in strings only, where the
/// escaped form means the same.
#[must_use]
pub fn json(document: &str) -> Cow<'_, str> {
    if !document.chars().any(is_control) {
        return Cow::Borrowed(document);
    }
    let mut escaped = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if is_control(c) {
            // All of them lie within the first plane. Writing to a string does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal acts on a character instead of showing it: C0 (but for line breaks and tabs), DEL,
/// C1, and what changes the direction of writing or breaks lines otherwise.
const fn is_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// At most so many characters; how many are cut off stands in their place.
#[must_use]
pub fn brief(text: &str, most: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(most) else { return text.to_owned() };
    let (kept, cut) = text.split_at(end);
    format!("{kept}… ({} more characters)", cut.chars().count())
}

type Rest<'a> = Peekable<CharIndices<'a>>;

/// After an ESC: whatever belongs to it (ECMA-48).
fn skip_sequence(text: &str, rest: &mut Rest<'_>) {
    let Some(&(at, kind)) = rest.peek() else { return };
    match kind {
        '[' => {
            rest.next();
            skip_control_sequence(rest);
        }
        ']' | 'P' | 'X' | '^' | '_' => {
            rest.next();
            skip_string(text, at + 1, rest);
        }
        ' '..='/' => {
            while rest.next_if(|(_, c)| matches!(c, ' '..='/')).is_some() {}
            rest.next_if(|(_, c)| matches!(c, '0'..='~'));
        }
        '0'..='~' => {
            rest.next();
        }
        _ => {}
    }
}

/// Parameters, intermediate characters, a final one.
fn skip_control_sequence(rest: &mut Rest<'_>) {
    while rest.next_if(|(_, c)| matches!(c, '0'..='?')).is_some() {}
    while rest.next_if(|(_, c)| matches!(c, ' '..='/')).is_some() {}
    rest.next_if(|(_, c)| matches!(c, '@'..='~'));
}

/// A string for the terminal up to its terminator. One that does not end on its line is shown: it would
/// hide all that follows.
fn skip_string(text: &str, from: usize, rest: &mut Rest<'_>) {
    let string = text[from..].lines().next().unwrap_or_default();
    let ends = |terminator: &str| Some(from + string.find(terminator)? + terminator.len());
    let end = ["\u{7}", "\u{1b}\\", "\u{9c}"].into_iter().filter_map(ends).min();
    while end.is_some_and(|end| rest.next_if(|(at, _)| *at < end).is_some()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go_whole_and_what_they_surround_stays() {
        for (given, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pq#0\u{1b}\\picture", "picture"),
            ("\u{9b}2Jcleared", "cleared"),
            ("\u{9d}0;title\u{9c}text", "text"),
            ("\u{1b}(Bset\u{1b}c", "set"),
            ("no end: \u{1b}]0;all of it\nnext line", "no end: 0;all of it\nnext line"),
            ("cut \u{1b}[3", "cut "),
            ("\u{1b}", ""),
        ] {
            assert_eq!(text(given), shown, "{given:?}");
        }
    }

    #[test]
    fn control_characters_go_and_letters_of_all_languages_stay() {
        assert_eq!(text("a\u{8}\u{7}\0b\rc\u{7f}\u{85}d\te\nf"), "abcd\te\nf");
        assert_eq!(text("gpj.\u{202e}exe\u{2066}\u{200f}"), "gpj.exe");
        let fine = "Größe 10 µs → 模型 ✓ שלום 👍🏽";
        assert!(matches!(text(fine), Cow::Borrowed(same) if same == fine));
    }

    #[test]
    fn a_line_stays_one_line_and_is_cut_with_a_count() {
        assert_eq!(line("a\nhint: run this\r\n\u{2028}b"), "a hint: run this   b");
        let long = line(&"é".repeat(MOST_CHARACTERS + 5));
        assert!(long.ends_with("é… (5 more characters)"), "{long}");
        assert_eq!(line(&"x".repeat(MOST_CHARACTERS)).len(), MOST_CHARACTERS);
    }

    #[test]
    fn json_keeps_everything_and_shows_nothing_that_a_terminal_acts_on() {
        let hostile = "\u{1b}[31m\u{9b}\u{7f}\u{202e}\n\u{2028}x";
        let document = serde_json::json!({ "reason": hostile }).to_string();
        let escaped = json(&document);
        assert!(!escaped.chars().any(is_control) && escaped.is_ascii(), "{escaped:?}");
        let back: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(back["reason"], hostile);
    }

    #[test]
    fn an_event_of_a_log_is_one_line_whatever_is_in_it() {
        let mut log = Events(Vec::new());
        let event = b"loaded \x1b[2Ja\nerror: forged\xff\n";
        assert_eq!(io::Write::write(&mut log, event).unwrap(), event.len());
        assert_eq!(String::from_utf8(log.0).unwrap(), "loaded a error: forged\u{fffd}\n");
    }
}
