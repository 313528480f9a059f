//! JSON and the literals of Python, as far as both write lists, dictionaries, texts and numbers.
//!
//! People paste what `str()` prints, and what was escaped for a shell; both mean what they look like. Order is
//! kept: inputs without a name go by it.

use std::fmt;

/// The deepest nesting: a list of inputs with lists of shapes needs four.
const DEEPEST: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    /// `[…]` or `(…)`.
    List(Vec<Literal>),
    /// `{…}`.
    Dictionary(Vec<(String, Literal)>),
    Text(String),
    /// A number, or a word like `None`.
    Bare(String),
}

impl Literal {
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dictionary(entries) => {
                entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
            }
            Self::List(_) | Self::Text(_) | Self::Bare(_) => None,
        }
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::List(_) | Self::Dictionary(_) | Self::Bare(_) => {
                Err(format!("{self} is no text"))
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_string).collect();
                write!(f, "[{}]", items.join(","))
            }
            Self::Dictionary(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
                write!(f, "{{{}}}", entries.join(", "))
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bare(word) => f.write_str(word),
        }
    }
}

/// Reads one value, and nothing after it.
pub(super) fn read(text: &str) -> Result<Literal, String> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.unexpected("the end")) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.rest.chars().next() {
            Some(_) => {
                let found: String = self.rest.chars().take(12).collect();
                format!("{found:?} stands where {wanted} is expected")
            }
            None => format!("it ends where {wanted} is expected"),
        }
    }

    fn takes(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Literal, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        if self.takes("[") {
            return self.list("]", depth);
        }
        if self.takes("(") {
            return self.list(")", depth);
        }
        if self.takes("{") {
            return self.dictionary(depth);
        }
        if let Some(text) = self.text()? {
            return Ok(Literal::Text(text));
        }
        self.bare()
    }

    fn list(&mut self, end: &str, depth: usize) -> Result<Literal, String> {
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.value(depth + 1)?);
            self.separator(end)?;
        }
        Ok(Literal::List(items))
    }

    fn dictionary(&mut self, depth: usize) -> Result<Literal, String> {
        let mut entries: Vec<(String, Literal)> = Vec::new();
        while !self.takes("}") {
            let key = self.text()?.ok_or_else(|| self.unexpected("a name in quotes"))?;
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(format!("{key:?} stands there twice"));
            }
            if !self.takes(":") {
                return Err(self.unexpected("a colon"));
            }
            entries.push((key, self.value(depth + 1)?));
            self.separator("}")?;
        }
        Ok(Literal::Dictionary(entries))
    }

    /// A comma, or the end to come; a comma may stand before the end.
    fn separator(&mut self, end: &str) -> Result<(), String> {
        if self.takes(",") || self.rest.starts_with(end) {
            return Ok(());
        }
        Err(self.unexpected(&format!("a comma or {end:?}")))
    }

    /// `"…"`, `'…'`, or `\"…\"` as it is escaped for a shell.
    fn text(&mut self) -> Result<Option<String>, String> {
        for quote in ["\\\"", "\"", "'"] {
            if !self.takes(quote) {
                continue;
            }
            let (text, rest) =
                self.rest.split_once(quote).ok_or_else(|| format!("a {quote} is not closed"))?;
            if text.contains(['\\', '"', '\'']) {
                return Err(format!("{text:?} has a quote or a backslash in it"));
            }
            let text = text.to_owned();
            self.rest = rest;
            return Ok(Some(text));
        }
        Ok(None)
    }

    fn bare(&mut self) -> Result<Literal, String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.unexpected("a list, a dictionary or a number"));
        }
        let (word, rest) = self.rest.split_at(end);
        let word = word.to_owned();
        self.rest = rest;
        Ok(Literal::Bare(word))
    }
}
