//! Just enough of Rust's grammar for the checks: code without comments and literals, and the paths
//! that are named in it with their `use` groups spelled out.

/// The code with comments and the insides of literals blanked; lines stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_length(rest);
        if skipped == 0 {
            // An identifier is taken whole, so that the `r` of `for"` opens no raw string.
            let length = identifier_length(rest).max(first.len_utf8());
            code.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

/// How many bytes of comment or literal `rest` starts with.
fn skipped_length(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    for prefix in ["br", "cr", "r"] {
        if let Some(length) = raw_string_length(rest, prefix) {
            return length;
        }
    }
    let quote = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let prefix = rest.len() - quote.len();
    if quote.starts_with('"') {
        return prefix + quoted_length(quote, '"');
    }
    if quote.starts_with('\'') && is_character(quote) {
        return prefix + quoted_length(quote, '\'');
    }
    0
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str, prefix: &str) -> Option<usize> {
    let after = rest.strip_prefix(prefix)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Tells `'a'` from the lifetime `'a`.
fn is_character(rest: &str) -> bool {
    let mut following = rest.chars().skip(1);
    following.next() == Some('\\') || following.next() == Some('\'')
}

fn identifier_length(rest: &str) -> usize {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    rest.find(|c: char| !part(c)).unwrap_or(rest.len())
}

/// Every path in the code with the number of its line. `use std::{fs, io::Read}` gives `std::fs`
/// and `std::io::Read`.
pub(crate) fn paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut groups: Vec<Option<String>> = Vec::new();
    let mut path = String::new();
    let (mut line, mut rest) = (1, code);
    while let Some(first) = rest.chars().next() {
        let length = identifier_length(rest);
        if length > 0 {
            if path.is_empty() {
                path = groups.last().cloned().flatten().unwrap_or_default();
            }
            path.push_str(&rest[..length]);
            rest = &rest[length..];
            if !rest.starts_with("::") {
                paths.push((line, std::mem::take(&mut path)));
            }
            continue;
        }
        if let Some(after) = rest.strip_prefix("::") {
            // A path from the root of all names starts like any other one.
            if !path.is_empty() {
                path.push_str("::");
            }
            rest = after;
            continue;
        }
        match first {
            '{' => groups.push((!path.is_empty()).then(|| std::mem::take(&mut path))),
            '}' => _ = groups.pop(),
            '\n' => line += 1,
            _ => {}
        }
        if !first.is_whitespace() {
            path.clear();
        }
        rest = &rest[first.len_utf8()..];
    }
    paths
}

#[test]
fn comments_and_literals_are_blanked_and_lines_kept() {
    let source = "a(); // std::fs\n/* x /* y */ z */ b(\"std::net \\\" q\", 'c', '\\'');\nfn f<'a>() { r#\"std \" env\"#; }\n";
    let code = code_only(source);
    assert_eq!(code.lines().count(), 3);
    assert!(!code.contains("std") && code.contains("b(") && code.contains("fn f<'a>()"), "{code}");
}

#[test]
fn groups_of_use_are_spelled_out() {
    let code = "use std::{fs, io::{self, Read}};\nlet now = ::std::time::Instant::now();";
    let found: Vec<String> =
        paths(code).into_iter().map(|(line, path)| format!("{line} {path}")).collect();
    for expected in ["1 std::fs", "1 std::io::self", "1 std::io::Read", "2 std::time::Instant::now"]
    {
        assert!(found.iter().any(|path| path == expected), "{expected} is not in {found:?}");
    }
}
