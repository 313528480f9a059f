//! Libraries of custom operators: the operator of a machine names them, and models run with them.

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use assay_tests::binaries;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::workbench::{Run, Workbench, measured, run};

const SOURCE: &str = r#"
#include <ATen/core/Tensor.h>
#include <torch/library.h>

static at::Tensor twice(const at::Tensor& x) { return x.add(x); }

TORCH_LIBRARY(assay_test, library) { library.def("twice(Tensor x) -> Tensor", &twice); }
"#;

/// The reference model that takes this, with its last step changed to the library's operator.
const INPUT: &str = "float32[1,4]";

/// A shared library with the operator `assay_test::twice`, linked as CMake's `TORCH_LIBRARIES` are;
/// compiled once.
fn library() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join("libassay_test_operators.so");
    let libtorch = env::var_os("LIBTORCH").map(PathBuf::from).expect("cargo sets LIBTORCH");
    let made_from = format!("{SOURCE}// libtorch in {}\n", libtorch.display());
    // Written last: a compilation that was cut short is done again.
    let stamp = folder.join("operators.cpp");
    if library.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == made_from) {
        return library;
    }
    let unfinished = tempfile::tempdir_in(folder).unwrap();
    let source = unfinished.path().join("operators.cpp");
    fs::write(&source, made_from).unwrap();
    let compiled = unfinished.path().join("operators.so");
    let compiler = Command::new("c++")
        .args(["-std=c++17", "-shared", "-fPIC", "-O0", "-isystem"])
        .arg(libtorch.join("include"))
        .arg(&source)
        .arg("-o")
        .arg(&compiled)
        .arg("-L")
        .arg(libtorch.join("lib"))
        .args(["-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"])
        .status();
    assert!(compiler.unwrap().success(), "the library of operators is not compiled");
    fs::rename(&compiled, &library).unwrap();
    fs::rename(&source, &stamp).unwrap();
    library
}

/// A model that calls this operator: no library is needed to make it.
fn model_with(bench: &Workbench, operator: &str) -> PathBuf {
    let mut original = ZipArchive::new(File::open(bench.model("fixed-time")).unwrap()).unwrap();
    let path = bench.path().join("custom.pt");
    let mut changed = ZipWriter::new(File::create(&path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let call = format!("ops.{}(x)", operator.replace("::", "."));
    let mut calls = 0;
    for index in 0..original.len() {
        let mut entry = original.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if name.ends_with(".py") {
            let source = String::from_utf8(content).unwrap();
            calls += source.matches("torch.mul(x, 1)").count();
            content = source.replace("torch.mul(x, 1)", &call).into_bytes();
        }
        changed.start_file(name, stored).unwrap();
        changed.write_all(&content).unwrap();
    }
    changed.finish().unwrap();
    assert_eq!(calls, 1, "the reference model does not end as it did");
    path
}

fn inspect(model: &Path, libraries: &[&Path]) -> Run {
    let mut command = Command::new(binaries::assay_host());
    command.arg("inspect").arg(model).args(["--run", "--input", INPUT]);
    for library in libraries {
        command.arg("--op-library").arg(library);
    }
    run(&mut command)
}

#[test]
fn a_model_runs_with_the_library_of_its_operators_and_without_it_the_library_is_named() {
    let bench = Workbench::new();
    let model = model_with(&bench, "assay_test::twice");
    let library = library();
    let with = inspect(&model, &[&library]);
    assert_eq!(with.code, 0, "{}", with.stderr);
    assert!(with.stdout.contains("output=float32[1,4]"), "{}", with.stdout);

    let without = inspect(&model, &[]);
    assert_eq!(without.code, 1);
    let wanted = "needs the operator assay_test::twice, which the library assay_test brings: \
                  name that library's file with --op-library";
    assert!(without.stderr.contains(wanted), "{}", without.stderr);

    // Registered twice: an exception out of the library's initializer.
    let copy = bench.path().join("copy.so");
    fs::copy(&library, &copy).unwrap();
    let twice = inspect(&model, &[&library, &copy]);
    assert_eq!(twice.code, 1, "{}", twice.stderr);
    assert!(twice.stderr.contains("cannot load the operator library"), "{}", twice.stderr);
    assert!(twice.stderr.contains("register the namespace assay_test"), "{}", twice.stderr);
    // The same file twice is loaded once.
    assert_eq!(inspect(&model, &[&library, &library]).code, 0);
}

#[test]
fn an_operator_of_a_later_libtorch_is_not_asked_of_a_library() {
    let bench = Workbench::new();
    let said = inspect(&model_with(&bench, "aten::of_tomorrow"), &[]).stderr;
    assert!(said.contains("the operator aten::of_tomorrow, which libtorch 2."), "{said}");
    assert!(said.contains("saved by a later version") && !said.contains("--op-library"), "{said}");
}

#[test]
fn files_that_are_no_library_are_told_as_what_they_are() {
    let bench = Workbench::new();
    let model = model_with(&bench, "assay_test::twice");
    let content = fs::read(library()).unwrap();
    let cut = bench.file("cut.so", &content[..content.len() / 2]);
    let text = bench.file("text.so", b"no shared library".repeat(9).as_slice());
    let empty = bench.file("empty.so", b"");
    let foreign = bench.path().join("foreign.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-nostdlib", "-x", "c", "-", "-o"])
        .arg(&foreign)
        .stdin(
            File::open(
                bench
                    .file("foreign.c", b"extern int nowhere(void); int (*call)(void) = nowhere;\n"),
            )
            .unwrap(),
        )
        .status();
    assert!(compiled.unwrap().success());
    for (file, why) in [
        (cut.as_path(), "it ends after "),
        (&text, "invalid ELF header"),
        (&empty, "file too short"),
        (&foreign, "undefined symbol: nowhere"),
        (bench.path(), "it is no file"),
        (Path::new("/nowhere/ops.so"), "No such file"),
    ] {
        let run = inspect(&model, &[file]);
        assert_eq!(run.code, 1, "{}: {}", file.display(), run.stderr);
        let named = format!("the operator library {}", file.display());
        assert!(run.stderr.contains(&named) && run.stderr.contains(why), "{}", run.stderr);
    }
}

fn recommend(bench: &Workbench, model: &Path) -> Command {
    let mut command = bench.assay();
    command.arg("recommend").arg(model).args(["--input", INPUT, "--load", "users:1/1s"]);
    // Compared before it is measured: two hosts, and both need the library.
    command.args(["--sweep", "workers=1", "--sweep", "intra-op=1", "--sweep", "graph=optimized"]);
    command.args(["--instance-types", "own.small=1x2GiB@0.05", "-o", "json"]);
    command
}

#[test]
fn a_confined_host_gets_the_library_from_a_folder_that_only_the_operator_can_enter() {
    let bench = Workbench::new();
    let model = model_with(&bench, "assay_test::twice");
    // The bench's folder has the mode 0700.
    let own = bench.path().join("libassay_test_operators.so");
    fs::copy(library(), &own).unwrap();
    // Named by ways that the host could not go: it has another working directory and sees no other folder.
    let roundabout = Path::new("..").join(bench.path().file_name().unwrap());
    let roundabout = roundabout.join(own.file_name().unwrap());
    let mut command = recommend(&bench, &model);
    let with = run(command.args(["--save", "store"]).arg("--op-library").arg(&roundabout));
    let report = with.json();
    let measured = measured(&report);
    assert_eq!(measured.len(), 1, "{report:#}\n{}", with.stderr);
    assert_eq!(measured[0]["output_deviation"]["max"], 0.0, "{report:#}");

    let without = run(&mut recommend(&bench, &model));
    assert_ne!(without.code, 0);
    assert!(without.stdout.contains("the library assay_test brings"), "{}", without.stdout);
    assert!(without.stdout.contains("--op-library"), "{}", without.stdout);
}

#[test]
fn a_library_that_cannot_be_had_is_told_before_anything_starts() {
    let bench = Workbench::new();
    let model = bench.model("fixed-time");
    let missing = run(recommend(&bench, &model).args(["--op-library", "gone.so"]));
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    assert!(missing.stderr.contains("operator library gone.so"), "{}", missing.stderr);
    let of_a_server = ["--server", "http://127.0.0.1:1", "--op-library", "custom.so"];
    bench.file("custom.so", b"");
    let remote = run(recommend(&bench, &model).args(of_a_server));
    assert_eq!(remote.code, 2, "{}", remote.stderr);
    assert!(remote.stderr.contains("assay-agent run --op-library"), "{}", remote.stderr);
    let mut agent = bench.agent_command("http://127.0.0.1:1", "a");
    let agent = run(agent.args(["--op-library", "gone.so"]));
    assert_eq!(agent.code, 2, "{}", agent.stderr);
    assert!(agent.stderr.contains("cannot read the operator library gone.so"), "{}", agent.stderr);
}
