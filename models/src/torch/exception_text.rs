//! Shortening what libtorch says when it throws to the lines that help a person.

/// The part of an exception's text that helps: what follows the traceback, without C++ frames.
pub(super) fn useful_lines(text: &str) -> String {
    const MOST_CHARACTERS: usize = 600;
    let text = text.split("\nException raised from ").next().unwrap_or(text);
    let text = text.split("\nC++ CapturedTraceback:").next().unwrap_or(text).trim();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.iter().rposition(|line| starts_an_exception(line));
    let useful = lines.get(start.unwrap_or(0)..).unwrap_or_default().join("\n");
    let useful = useful.strip_prefix("RuntimeError: ").unwrap_or(&useful).trim().to_owned();
    match useful.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", useful.get(..end).unwrap_or_default()),
        None => useful,
    }
}

/// `RuntimeError: …`, `builtins.ValueError: …`
fn starts_an_exception(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(name, _)| {
        (name.ends_with("Error") || name.ends_with("Exception"))
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
    })
}
