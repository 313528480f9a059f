//! Any text as one word of a shell, one string of Python and YAML, or a name of a resource. Whatever is in it, it ends
//! where it should, and shows nothing that a terminal or an editor would act on.

use std::fmt::Write as _;

/// The longest name that is made of a file's.
const LONGEST_NAME: usize = 40;

/// One word of a POSIX shell: plain where nothing in it is special, in single quotes otherwise. Where it has
/// characters that a terminal acts on it is in `$'…'` (POSIX.1-2024; bash, zsh, ksh), so that pasting it runs nothing.
pub(super) fn shell(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    // To zsh, `=name` at the start of a word is where that program lies.
    if !text.is_empty() && !text.starts_with('=') && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    if !text.chars().any(is_hidden) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut quoted = "$'".to_owned();
    for c in text.chars() {
        match c {
            '\\' | '\'' => quoted.extend(['\\', c]),
            _ if is_hidden(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string does not fail.
                    let _ = write!(quoted, "\\{byte:03o}");
                }
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// A string in double quotes with escapes that mean the same in Python 3 and in YAML 1.2.
pub(super) fn string(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        let number = u32::from(c);
        match c {
            '\\' | '"' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            _ if is_hidden(c) && number <= 0xff => {
                let _ = write!(quoted, "\\x{number:02x}");
            }
            _ if is_hidden(c) && number <= 0xffff => {
                let _ = write!(quoted, "\\u{number:04x}");
            }
            _ if is_hidden(c) => {
                let _ = write!(quoted, "\\U{number:08x}");
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A string in YAML for a place where Kubernetes replaces `$(NAME)`: it gives back `$` for `$$`.
pub(super) fn kubernetes(text: &str) -> String {
    string(&text.replace('$', "$$"))
}

/// A name for resources of the model in this file: lower-case letters, digits and inner hyphens, at most 40 of them.
pub(super) fn resource_name(file: &str) -> String {
    let lower = file_name(file).to_ascii_lowercase();
    let stem = [".tar.gz", ".tgz", ".pt", ".pth"].iter().find_map(|end| lower.strip_suffix(end));
    let mut name = String::new();
    for c in stem.unwrap_or(&lower).chars() {
        if name.len() == LONGEST_NAME {
            break;
        }
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    // In Kubernetes a name may begin with a digit, but not everywhere.
    match name.trim_end_matches('-') {
        "" => "model".to_owned(),
        name if name.starts_with(|c: char| c.is_ascii_digit()) => format!("model-{name}"),
        name => name.to_owned(),
    }
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Whether a terminal or an editor acts on it instead of showing it: controls, line and paragraph separators, what
/// has no width, what changes the direction of writing, and what YAML does not take as it is.
const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The words of a line as a shell reads them, without expansions: whatever would be expanded is refused.
    fn words(line: &str) -> Vec<Vec<u8>> {
        let (mut words, mut word) = (Vec::new(), None::<Vec<u8>>);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                ' ' => words.extend(word.take()),
                '\'' => {
                    let word = word.get_or_insert_default();
                    let inside: String = rest.by_ref().take_while(|c| *c != '\'').collect();
                    word.extend(inside.bytes());
                }
                '$' if rest.peek() == Some(&'\'') => {
                    rest.next();
                    let word = word.get_or_insert_default();
                    while let Some(c) = rest.next().filter(|c| *c != '\'') {
                        let escaped = if c == '\\' { rest.next().unwrap() } else { c };
                        match escaped.to_digit(8) {
                            Some(first) if c == '\\' => {
                                let second = rest.next().unwrap().to_digit(8).unwrap();
                                let third = rest.next().unwrap().to_digit(8).unwrap();
                                let byte = first * 64 + second * 8 + third;
                                word.push(u8::try_from(byte).unwrap());
                            }
                            _ => word.extend(escaped.to_string().bytes()),
                        }
                    }
                }
                '\\' => {
                    word.get_or_insert_default().extend(rest.next().unwrap().to_string().bytes());
                }
                _ => {
                    assert!(c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c), "{c:?} {line}");
                    word.get_or_insert_default().extend(c.to_string().bytes());
                }
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn a_word_of_a_shell_is_quoted_only_where_it_must_be() {
        for (text, quoted) in [
            ("resnet18.pt", "resnet18.pt"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)`x`\"\\!", "'$(reboot)`x`\"\\!'"),
            ("~root", "'~root'"),
            ("=ls", "'=ls'"),
            ("größe 模型", "'größe 模型'"),
            ("a\nb", r"$'a\012b'"),
            ("\u{1b}[201~\\'", r"$'\033[201~\\\''"),
            ("gpj.\u{202e}tp", r"$'gpj.\342\200\256tp'"),
        ] {
            assert_eq!(shell(text), quoted);
            assert_eq!(words(&shell(text)), [text.as_bytes()], "{text:?}");
        }
    }

    #[test]
    fn a_string_ends_at_its_quote_whatever_is_in_it() {
        for (text, quoted) in [
            ("plain", r#""plain""#),
            ("a\"b\\", r#""a\"b\\""#),
            ("'''\"\"\"", r#""'''\"\"\"""#),
            ("a\nb\r\t", r#""a\nb\x0d\t""#),
            ("\u{85}\u{2028}\u{feff}\u{e0041}", r#""\x85\u2028\ufeff\U000e0041""#),
            ("{x} %s # : - & * ! 模型", r#""{x} %s # : - & * ! 模型""#),
        ] {
            assert_eq!(string(text), quoted);
        }
        assert_eq!(kubernetes("$(HOME) $$x"), r#""$$(HOME) $$$$x""#);
    }

    #[test]
    fn a_name_of_a_resource_is_made_of_the_files() {
        for (file, name) in [
            ("/models/ResNet_18.v2.pt", "resnet-18-v2"),
            ("model.tar.gz", "model"),
            ("-- $(x).PT", "x"),
            ("18.pth", "model-18"),
            ("模型", "model"),
            ("", "model"),
            (".pt", "model"),
            ("a/../", "model"),
        ] {
            assert_eq!(resource_name(file), name, "{file}");
        }
        assert_eq!(resource_name(&"a.".repeat(100)).len(), LONGEST_NAME - 1);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_each_quoting(
            text in prop_oneof![any::<String>(), "[$'\"\\\\() \n\u{1b}`\u{202e}a-c]{0,12}"],
        ) {
            prop_assert_eq!(words(&shell(&text)), [text.as_bytes()]);
            prop_assert!(!shell(&text).chars().any(is_hidden));
            let quoted = string(&text);
            prop_assert!(!quoted.chars().any(is_hidden));
            // JSON has no \x and no \U, and the rest of the escapes in common.
            if !quoted.contains("\\x") && !quoted.contains("\\U") {
                prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text.clone());
            }
            let name = resource_name(&text);
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            prop_assert!(name.chars().all(inner) && name.len() <= LONGEST_NAME + 6);
            prop_assert!(!name.ends_with('-') && name.starts_with(|c: char| c.is_ascii_lowercase()));
        }
    }
}
