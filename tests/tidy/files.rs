//! How files look: they open with what they are for, stay short, hide no test, and say nothing about
//! the machine they were written on.

use crate::{
    assert_none,
    repository::{self, TextFile},
    rust_source::code_only,
};

const MAX_LINES: usize = 500;

fn layout(files: &[TextFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let path = &file.path;
        // `foo/tests.rs` is what `foo.rs` says it is; a line above it could only repeat that.
        if !file.text.starts_with("//! ") && !path.ends_with("/tests.rs") {
            complaints.push(format!("{path}: does not begin with `//! ` and what the file is for"));
        }
        if path.ends_with("/mod.rs") {
            complaints.push(format!("{path}: belongs beside its folder, not inside as mod.rs"));
        }
        let lines = file.text.lines().count();
        if lines > MAX_LINES && !is_test_module(path) {
            complaints.push(format!("{path}: {lines} lines, {MAX_LINES} at most"));
        }
    }
    complaints
}

/// Test modules may be long: `foo/tests.rs`, `foo/tests/…` and integration tests of a package.
fn is_test_module(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn hidden_tests(files: &[TextFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (number, line) in code_only(&file.text).lines().enumerate() {
            let attribute = line.trim_start();
            let named = |name: &str| attribute.starts_with(&format!("#[{name}"));
            let (path, number) = (&file.path, number + 1);
            if named("ignore") {
                complaints
                    .push(format!("{path}:{number}: a test that is never run proves nothing"));
            }
            if named("should_panic") {
                complaints
                    .push(format!("{path}:{number}: catch the panic and look at its message"));
            }
        }
    }
    complaints
}

/// gRPC statuses that are made elsewhere than where their text, which may be of any length, is cut.
fn uncut_refusals(files: &[TextFile]) -> Vec<String> {
    const CUT: &str = "proto/src/lib.rs";
    let shipped = |file: &&TextFile| {
        file.is_rust()
            && file.path.contains("/src/")
            && !file.path.starts_with("tests/")
            && !is_test_module(&file.path)
            && file.path != CUT
    };
    let makes_one = |text: &str| {
        let constructor = text.split('(').next().unwrap_or_default();
        let lower_case = constructor.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        lower_case && !constructor.is_empty() && constructor != "from"
    };
    let complaints_of = |file: &TextFile| {
        let code = code_only(file.text.split("#[cfg(test)]").next().unwrap_or_default());
        let of_tonic = |at: usize| !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let found = code
            .match_indices("Status::")
            .filter(|(at, name)| of_tonic(*at) && makes_one(&code[at + name.len()..]));
        vec![format!("{}: a Status that is not made by refusal()", file.path); found.count()]
    };
    files.iter().filter(shipped).flat_map(complaints_of).collect()
}

/// Where things lie on one machine, and how one machine reaches a registry. Put together from parts
/// so that this file does not contain them.
fn machine_words() -> Vec<String> {
    let folders = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let settings = [("index", "url"), ("find", "links"), ("replace", "with"), ("trusted", "host")];
    let settings = settings.map(|(a, b)| format!("{a}-{b}"));
    let hosts =
        [("pypi.org", "simple"), ("files.pythonhosted.org", ""), ("download.pytorch.org", "")];
    let hosts = hosts.map(|(host, path)| format!("//{host}/{path}"));
    [folders.as_slice(), &settings, &hosts].concat()
}

fn machine_traces(files: &[TextFile]) -> Vec<String> {
    let words = machine_words();
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|word| names(line, word)) {
                complaints.push(format!(
                    "{}:{}: {word:?} is about one machine",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    complaints
}

/// Whether the line has the word, and not as the end of a longer relative path.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !word.starts_with('/')
            || word.starts_with("//")
            || !before.is_some_and(|c| c.is_alphanumeric() || "._-}*".contains(c))
    })
}

fn foreign_registries(files: &[TextFile]) -> Vec<String> {
    let official = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let lock = files.iter().filter(|file| file.path == "Cargo.lock");
    let sources =
        lock.flat_map(|file| file.text.lines()).filter(|line| line.starts_with("source = "));
    sources.filter(|line| *line != official).map(|line| format!("Cargo.lock: {line}")).collect()
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    assert_none(&layout(&repository::text_files()));
}

#[test]
fn no_test_is_ignored_or_expected_to_panic() {
    assert_none(&hidden_tests(&repository::text_files()));
}

#[test]
fn no_file_names_a_machine_or_a_mirror() {
    let files = repository::text_files();
    assert_none(&machine_traces(&files));
    assert_none(&foreign_registries(&files));
}

#[test]
fn every_refusal_over_grpc_is_cut_to_what_arrives() {
    assert_none(&uncut_refusals(&repository::text_files()));
    let complaints_of = |code: &str| uncut_refusals(&[TextFile::new("a/src/b.rs", code)]).len();
    assert_eq!(complaints_of("Err(Status::internal(text))"), 1);
    assert_eq!(complaints_of("tonic::Status::new(code, text)"), 1);
    assert_eq!(complaints_of("ExitStatus::from_raw(1); JobStatus::Ended; Status::from(error)"), 0);
}

#[test]
fn a_file_without_a_doc_a_mod_rs_and_a_long_file_are_noticed() {
    let complaints_of = |path: &str, text: &str| layout(&[TextFile::new(path, text)]).len();
    assert_eq!(complaints_of("agent/src/a.rs", "//! What it is for.\n"), 0);
    assert_eq!(complaints_of("agent/src/a.rs", "use std::fmt;\n"), 1);
    assert_eq!(complaints_of("agent/src/a/tests.rs", "use super::*;\n"), 0);
    assert_eq!(complaints_of("agent/src/load/mod.rs", "//! What it is for.\n"), 1);
    let long = format!("//! What it is for.\n{}", "\n".repeat(MAX_LINES));
    assert_eq!(complaints_of("agent/src/a.rs", &long), 1);
    assert_eq!(complaints_of("agent/src/a/tests.rs", &long), 0);
}

#[test]
fn hidden_tests_are_noticed_and_talk_about_them_is_not() {
    let complaints_of = |text: &str| hidden_tests(&[TextFile::new("a.rs", text)]).len();
    assert_eq!(complaints_of("#[test]\n    #[ignore = \"slow\"]\nfn f() {}"), 1);
    assert_eq!(complaints_of("#[should_panic]\nfn f() {}"), 1);
    assert_eq!(complaints_of("// #[ignore]\nlet s = \"\n#[should_panic]\";"), 0);
}

#[test]
fn paths_of_a_machine_and_mirrors_are_noticed() {
    let complaints_of = |text: String| machine_traces(&[TextFile::new("a.md", &text)]).len();
    for word in machine_words() {
        assert_eq!(complaints_of(format!("see {word}x")), 1, "{word}");
    }
    assert_eq!(complaints_of("https://crates.io and framework/src".to_owned()), 0);
    assert_eq!(complaints_of("net/work/a.rs".to_owned()), 0);
    let lock = TextFile::new("Cargo.lock", "source = \"registry+https://example.org/index\"\n");
    assert_eq!(foreign_registries(&[lock]).len(), 1);
}
