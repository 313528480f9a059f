//! Bad input at the command line: what, cause, hint, and a fitting exit code.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use crate::workbench::{MLP_INPUT, Run, Workbench, run};

/// Runs `recommend` on a model; the report's failed entry or the error must hold all the words.
fn refused(bench: &Workbench, model: &Path, more: &[&str], words: &[&str]) -> Run {
    let run = run(bench.recommend(model).args(more));
    let said = format!("{}{}", run.stdout, run.stderr).to_lowercase();
    for word in words {
        assert!(said.contains(word), "no {word:?} in\n{said}");
    }
    assert_ne!(run.code, 0, "{said}");
    run
}

const ON: [&str; 4] = ["--input", MLP_INPUT, "--instance-types", "own.small=1x2GiB@0.05"];

#[test]
fn files_that_are_no_model_are_told_apart() {
    let bench = Workbench::new();
    let good = bench.model("mlp");
    let bytes = std::fs::read(&good).unwrap();

    let missing = refused(&bench, Path::new("gone.pt"), &ON, &["gone.pt", "no such file", "hint:"]);
    assert_eq!(missing.code, 1);
    let empty = bench.file("empty.pt", b"");
    assert_eq!(refused(&bench, &empty, &ON, &["is empty", "hint:"]).code, 2);
    let truncated = bench.file("truncated.pt", &bytes[..bytes.len() / 2]);
    refused(&bench, &truncated, &ON, &["truncated.pt", "truncated"]);
    let state_dict = bench.file("weights.pt", &state_dict());
    refused(&bench, &state_dict, &ON, &["state_dict", "torch.jit"]);
    let text = bench.file("notes.pt", b"this is no model at all");
    refused(&bench, &text, &ON, &["torchscript"]);
}

#[test]
fn archives_with_no_model_two_models_or_hostile_paths_are_refused() {
    let bench = Workbench::new();
    let model = std::fs::read(bench.model("mlp")).unwrap();
    let none = archive(&bench, "none.tar.gz", |tar| plain(tar, "readme.txt", b"hello"));
    refused(&bench, &none, &ON, &["no model"]);
    let two = archive(&bench, "two.tar.gz", |tar| {
        plain(tar, "a.pt", &model);
        plain(tar, "b.pt", &model);
    });
    refused(&bench, &two, &ON, &["a.pt", "b.pt"]);
    let climbing = archive(&bench, "climbing.tar.gz", |tar| raw_path(tar, b"../evil.pt", &model));
    refused(&bench, &climbing, &ON, &[".."]);
    assert!(!bench.path().join("../evil.pt").exists());
    let link = archive(&bench, "link.tar.gz", |tar| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "model.pt", "/etc/passwd").unwrap();
    });
    refused(&bench, &link, &ON, &["link"]);
}

#[test]
fn payloads_that_do_not_fit_are_refused_by_the_model() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let refused = |payload: &[&str], words: &[&str]| {
        let on = ["--instance-types", "own.small=1x2GiB@0.05"];
        refused(&bench, &model, &[payload, &on].concat(), words)
    };
    refused(&["--input", "float32[1,65]"], &["declared inputs", "shapes"]);
    refused(&["--input", "int64[1,64]"], &["declared inputs", "dtype"]);
    let garbage = bench.file("x.npy", b"\x93NUMPY garbage").display().to_string();
    refused(&["--payload", &garbage], &["payload", "npy"]);
    let odd = bench.file("x.xyz", b"?").display().to_string();
    let odd_type = ["--payload", &odd, "--content-type", "application/x-unknown"];
    refused(&odd_type, &["application/x-unknown"]);
    let huge = bench.file("huge.bin", &vec![0; 70 << 20]).display().to_string();
    refused(&["--payload", &huge], &["payload"]);
}

#[test]
fn words_and_names_that_nobody_knows_are_usage_errors() {
    let bench = Workbench::new();
    let model = bench.model("mlp");
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["--slo", "p42<=5ms"], &["p42", "p50, p90, p95, p99"]),
        (&["--slo", "p95<=5"], &["duration"]),
        (&["--goal", "cost=huge"], &["huge", "highest"]),
        (&["--goal", "price=high"], &["price"]),
        (&["--sweep", "threads=2"], &["threads", "workers"]),
        (&["--input", "float8[1]"], &["float8"]),
        (&["--instance-types", "ml.c5.lagre"], &["ml.c5.lagre", "ml.c5.large"]),
        (&["--instance-types", "ml.c5.18xlarge"], &["ml.c5.18xlarge", "72"]),
    ];
    for (arguments, words) in cases {
        let mut all = arguments.to_vec();
        if !arguments.contains(&"--input") {
            all.extend(["--input", MLP_INPUT]);
        }
        let run = refused(&bench, &model, &all, words);
        assert!(
            [1, 2].contains(&run.code),
            "{arguments:?} ended with {}\n{}",
            run.code,
            run.stderr
        );
    }
}

#[test]
fn errors_are_one_json_object_when_asked() {
    let bench = Workbench::new();
    let run = run(bench.recommend(Path::new("gone.pt")).args(ON).args(["-o", "json"]));
    assert_eq!(run.code, 1);
    assert!(run.stdout.is_empty(), "{}", run.stdout);
    let error: serde_json::Value =
        serde_json::from_str(run.stderr.trim()).expect("one JSON object");
    assert_eq!(error["error"]["code"], "failed");
    assert!(error["error"]["message"].as_str().unwrap().contains("gone.pt"));
}

/// What `torch.save(model.state_dict())` leaves: a zip without code.
fn state_dict() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in
        [("weights/data.pkl", &b"\x80\x02}q\x00."[..]), ("weights/version", b"3\n")]
    {
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

type Archive = tar::Builder<GzEncoder<Vec<u8>>>;

fn archive(bench: &Workbench, name: &str, fill: impl FnOnce(&mut Archive)) -> PathBuf {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    fill(&mut tar);
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    bench.file(name, &bytes)
}

fn plain(tar: &mut Archive, name: &str, content: &[u8]) {
    raw_path(tar, name.as_bytes(), content);
}

/// Writes the path as it is, which the tar crate's own setters refuse for hostile ones.
fn raw_path(tar: &mut Archive, path: &[u8], content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}
