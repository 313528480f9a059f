//! Each numbered invariant of ARCHITECTURE.md names the test that guards it, and that test exists.

use crate::{
    assert_none,
    repository::{self, TextFile},
    rust_source::code_only,
};

const HEADING: &str = "## Invariants";

fn complaints(architecture: &str, files: &[TextFile]) -> Vec<String> {
    let invariants = numbered_items(architecture);
    if invariants.is_empty() {
        return vec![format!("ARCHITECTURE.md has no numbered item under {HEADING:?}")];
    }
    let mut complaints = Vec::new();
    for (position, item) in invariants.iter().enumerate() {
        let number = position + 1;
        if !item.starts_with(&format!("{number}. ")) {
            complaints
                .push(format!("invariant {number}: numbers must run without gaps: {item:.40}"));
        }
        let guards = guards(item);
        if guards.is_empty() {
            complaints.push(format!("invariant {number}: no \"Guarded by `test` in `file`\""));
        }
        for (test, path) in guards {
            match files.iter().find(|file| file.path == path) {
                None => complaints.push(format!("invariant {number}: there is no file {path}")),
                Some(file) if !has_test(&file.text, test) => {
                    complaints
                        .push(format!("invariant {number}: there is no test {test} in {path}"));
                }
                Some(_) => {}
            }
        }
    }
    complaints
}

/// The items of the numbered list, each on one line.
fn numbered_items(architecture: &str) -> Vec<String> {
    let lines = architecture.lines().skip_while(|line| *line != HEADING).skip(1);
    let mut items: Vec<String> = Vec::new();
    for line in lines.take_while(|line| !line.starts_with("## ")) {
        let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 && line[digits..].starts_with(". ") {
            items.push(line.to_owned());
        } else if let Some(item) = items.last_mut()
            && line.starts_with("   ")
        {
            item.push(' ');
            item.push_str(line.trim());
        }
    }
    items
}

/// The tests and files of "Guarded by `test` in `file`", also after an "and".
fn guards(item: &str) -> Vec<(&str, &str)> {
    let Some((_, named)) = item.split_once("Guarded by ") else { return Vec::new() };
    let quoted: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
    quoted.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Whether the function is there and carries a test attribute. `proptest!` has none outside its own.
fn has_test(source: &str, test: &str) -> bool {
    let code = code_only(source);
    let Some(at) = code.find(&format!("fn {test}(")) else { return false };
    let attributes = code[..at].rsplit(['}', ';']).next().unwrap_or_default();
    attributes.contains("test]") || attributes.contains("::test(")
}

#[test]
fn every_invariant_names_an_existing_test() {
    let files = repository::text_files();
    let architecture = files.iter().find(|file| file.path == "ARCHITECTURE.md");
    assert_none(&complaints(&architecture.expect("ARCHITECTURE.md exists").text, &files));
}

fn of(items: &str) -> Vec<String> {
    let file =
        TextFile::new("a.rs", "fn helper() {}\n#[test]\nfn it_holds() {}\nfn not_a_test() {}\n");
    complaints(&format!("# A\n\n{HEADING}\n\n{items}\n\n## More\n1. Other\n"), &[file])
}

#[test]
fn an_invariant_with_its_test_is_accepted_over_several_lines() {
    assert_none(&of("1. It holds.\n   Guarded by `it_holds` in\n   `a.rs`."));
}

#[test]
fn an_invariant_without_a_test_is_noticed() {
    assert_eq!(of("1. It holds."), ["invariant 1: no \"Guarded by `test` in `file`\""]);
}

#[test]
fn an_invariant_whose_test_is_gone_is_noticed() {
    assert_eq!(
        of("1. A. Guarded by `gone` in `a.rs`."),
        ["invariant 1: there is no test gone in a.rs"]
    );
    assert_eq!(of("1. A. Guarded by `not_a_test` in `a.rs`.").len(), 1);
    assert_eq!(
        of("1. A. Guarded by `it_holds` in `b.rs`."),
        ["invariant 1: there is no file b.rs"]
    );
}

#[test]
fn a_gap_in_the_numbers_and_a_missing_list_are_noticed() {
    assert_eq!(of("2. A. Guarded by `it_holds` in `a.rs`.").len(), 1);
    assert_eq!(of("Nothing here.").len(), 1);
}
