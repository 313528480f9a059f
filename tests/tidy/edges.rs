//! Who may depend on whom: the folders' edges of ARCHITECTURE.md, and the packages that stay in one
//! place.

use regex::Regex;

use crate::{
    assert_none, repository,
    repository::{Package, TextFile},
};

/// What each package may use of ours. A package that is not listed here does not exist.
const EDGES: &[(&str, &[&str])] = &[
    ("assay-measure", &[]),
    ("assay-proto", &["assay-measure"]),
    ("assay-host", &["assay-proto", "assay-measure"]),
    ("assay-agent", &["assay-proto", "assay-measure", "nvml-stub"]),
    ("assay-planning", &["assay-measure"]),
    ("assay-pages", &["assay-measure", "assay-planning"]),
    ("assay-sagemaker", &["assay-measure", "assay-planning"]),
    (
        "assay-server",
        &["assay-proto", "assay-measure", "assay-pages", "assay-planning", "assay-sagemaker"],
    ),
    ("assay", &["assay-server", "assay-proto", "assay-measure", "assay-pages", "assay-planning"]),
    (
        "assay-tests",
        &["assay-measure", "assay-proto", "assay-agent", "assay-planning", "assay-server"],
    ),
    ("nvml-stub", &[]),
    ("xtask", &["assay-measure"]),
];

/// Packages of ours that exist for tests: nothing that is shipped may use them.
const FOR_TESTS: &[&str] = &["nvml-stub"];

/// Packages of others that only these of ours may name.
const WRAPPED: &[(&str, &[&str])] = &[
    ("tch", &["assay-host"]),
    ("torch-sys", &["assay-host"]),
    ("nvml-wrapper", &["assay-agent"]),
    ("sqlx", &["assay-server"]),
    ("clap", &["assay", "assay-agent", "assay-host", "xtask"]),
    ("clap_complete", &["assay", "assay-agent", "assay-host"]),
    ("clap_mangen", &["assay", "assay-agent", "assay-host"]),
];

/// What the pure packages may use of others: none of it does I/O, reads a clock or draws
/// randomness by itself.
const PURE: &[&str] = &[
    "askama",
    "base64",
    "csv",
    "hdrhistogram",
    "indexmap",
    "jiff",
    "rand",
    "rand_chacha",
    "rand_distr",
    "regex",
    "serde",
    "serde_json",
    "sha2",
    "strsim",
    "thiserror",
    "toml",
];
const PURE_PACKAGES: &[&str] =
    &["assay-measure", "assay-pages", "assay-planning", "assay-sagemaker"];

fn complaints(packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            complaints.push(format!("{} has no place in the list of allowed edges", package.name));
            continue;
        };
        for used in package.dependencies.iter().chain(&package.dev_dependencies) {
            let ours = EDGES.iter().any(|(name, _)| name == used);
            if ours && !allowed.contains(&used.as_str()) {
                complaints.push(format!("{} must not depend on {used}", package.name));
            }
            let wrapped = WRAPPED.iter().find(|(name, _)| name == used);
            if let Some((_, owners)) = wrapped
                && !owners.contains(&package.name.as_str())
            {
                complaints.push(format!(
                    "{} must not depend on {used}, only {owners:?} may",
                    package.name
                ));
            }
        }
        for used in package.dependencies.iter().filter(|used| FOR_TESTS.contains(&used.as_str())) {
            complaints.push(format!("{} may depend on {used} in its tests only", package.name));
        }
        if PURE_PACKAGES.contains(&package.name.as_str()) {
            let impure =
                |used: &&String| !PURE.contains(&used.as_str()) && !used.starts_with("assay-");
            for used in package.dependencies.iter().filter(impure) {
                complaints.push(format!("{} is pure and {used} is not known to be", package.name));
            }
        }
    }
    complaints
}

#[test]
fn packages_depend_only_along_the_allowed_edges() {
    assert_none(&complaints(&repository::packages()));
}

/// Dependencies whose names stand in no code of the package, and why they are there.
const UNNAMED: &[(&str, &str)] = &[
    // Named by the code that is generated from the contracts.
    ("assay-proto", "prost-types"),
    ("assay-proto", "tonic-prost"),
    // A library that the tests load by its file.
    ("assay-agent", "nvml-stub"),
    // Its library has a name of its own: webpki.
    ("assay-server", "rustls-webpki"),
];

fn unused(packages: &[Package], files: &[TextFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages {
        let sources: Vec<&TextFile> = files
            .iter()
            .filter(|file| file.is_rust() && file.path.starts_with(&package.folder))
            .collect();
        let used = |name: &str| {
            let word = Regex::new(&format!(r"\b{}\b", name.replace('-', "_"))).expect("a word");
            sources.iter().any(|file| word.is_match(&file.text))
        };
        for dependency in package.dependencies.iter().chain(&package.dev_dependencies) {
            if !UNNAMED.contains(&(&*package.name, &**dependency)) && !used(dependency) {
                complaints.push(format!("no code of {} names {dependency}", package.name));
            }
        }
    }
    complaints
}

#[test]
fn every_dependency_is_named_by_code() {
    assert_none(&unused(&repository::packages(), &repository::text_files()));
}

#[test]
fn a_dependency_that_no_code_names_is_noticed() {
    let files = [
        TextFile::new("one/src/lib.rs", "use serde_json::Value;"),
        TextFile::new("other/src/lib.rs", "use anyhow::Result;"),
    ];
    let package =
        Package { folder: "one/".to_owned(), ..package("one", &["serde-json", "anyhow"]) };
    assert_eq!(unused(&[package], &files), ["no code of one names anyhow"]);
}

fn package(name: &str, dependencies: &[&str]) -> Package {
    let dependencies = dependencies.iter().map(|&dependency| dependency.to_owned()).collect();
    let (name, folder) = (name.to_owned(), String::new());
    Package { name, folder, dependencies, dev_dependencies: Vec::new() }
}

#[test]
fn the_core_depending_on_the_wire_is_noticed() {
    let found = complaints(&[package("assay-measure", &["assay-proto", "serde"])]);
    assert_eq!(found, ["assay-measure must not depend on assay-proto"]);
}

#[test]
fn the_agent_depending_on_the_server_even_in_tests_only_is_noticed() {
    let mut agent = package("assay-agent", &["assay-proto"]);
    agent.dev_dependencies.push("assay-server".to_owned());
    assert_eq!(complaints(&[agent]), ["assay-agent must not depend on assay-server"]);
}

#[test]
fn libtorch_outside_the_model_host_is_noticed() {
    let found = complaints(&[package("assay-host", &["tch"]), package("assay-agent", &["tch"])]);
    assert_eq!(found, ["assay-agent must not depend on tch, only [\"assay-host\"] may"]);
}

#[test]
fn an_impure_dependency_of_a_pure_package_is_noticed() {
    let found = complaints(&[package("assay-planning", &["assay-measure", "tokio"])]);
    assert_eq!(found, ["assay-planning is pure and tokio is not known to be"]);
}

#[test]
fn a_package_that_nobody_placed_is_noticed() {
    assert_eq!(complaints(&[package("assay-extra", &[])]).len(), 1);
}
