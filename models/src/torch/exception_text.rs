//! Shortening what libtorch says when it throws to the lines that help a person.

/// The part of an exception's text that helps: what follows the traceback, without C++ frames.
pub(super) fn useful_lines(text: &str) -> String {
    const MOST_CHARACTERS: usize = 600;
    let text = text.split("\nException raised from ").next().unwrap_or(text);
    let text = text.split("\nC++ CapturedTraceback:").next().unwrap_or(text).trim();
    if let Some(asked) = asked_for_cuda(text) {
        return asked;
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.iter().rposition(|line| starts_an_exception(line));
    let useful = lines.get(start.unwrap_or(0)..).unwrap_or_default().join("\n");
    let useful = useful.strip_prefix("RuntimeError: ").unwrap_or(&useful).trim().to_owned();
    match useful.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", useful.get(..end).unwrap_or_default()),
        None => useful,
    }
}

const WANTS_CUDA: &str = "the model's code asks for a CUDA device by name";

/// Whether a model raised this because its code names a GPU that is not in use.
pub(crate) fn wants_cuda(said: &str) -> bool {
    said.starts_with(WANTS_CUDA)
}

/// Our words for what libtorch says in a page when code names a GPU and this process has none loaded.
fn asked_for_cuda(text: &str) -> Option<String> {
    let missing_kernel = text
        .split_once("Could not run '")
        .filter(|(_, rest)| rest.contains("arguments from the 'CUDA' backend"));
    let operator = missing_kernel.and_then(|(_, rest)| rest.split('\'').next());
    let linked = ["PyTorch is not linked with support for cuda", "Torch not compiled with CUDA"];
    if operator.is_none() && !linked.iter().any(|words| text.contains(words)) {
        return None;
    }
    let by = operator.map_or_else(String::new, |operator| format!(" (operator {operator})"));
    Some(format!("{WANTS_CUDA}{by}, and it runs on the CPU here"))
}

/// `RuntimeError: …`, `builtins.ValueError: …`
fn starts_an_exception(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(name, _)| {
        (name.ends_with("Error") || name.ends_with("Exception"))
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
    })
}
