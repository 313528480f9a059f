//! What the checks look at: the files of this checkout and the packages of its workspace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::MetadataCommand;

#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    /// From the root, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    /// For files that do not exist.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// One package of the workspace with the names of what it depends on, in any way.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// From the root, with a slash at the end.
    pub(crate) folder: String,
    /// Dependencies of users of the package: ordinary and build ones.
    pub(crate) dependencies: Vec<String>,
    /// Dependencies of its tests alone.
    pub(crate) dev_dependencies: Vec<String>,
}

/// The root of this checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the checkout exists")
}

/// Every text file that git tracks or would track, so that new files are checked before they are
/// committed.
pub(crate) fn text_files() -> Vec<TextFile> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git is installed");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    // A file that is gone but not yet removed from the index, or that is no text, is left out.
    let read = |path: &str| Some(TextFile::new(path, &fs::read_to_string(root.join(path)).ok()?));
    let files: Vec<TextFile> = paths.filter_map(read).collect();
    assert!(files.len() > 20, "only {} files found: is this the checkout?", files.len());
    files
}

/// Every package of the workspace.
pub(crate) fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("the workspace's manifests are valid");
    metadata
        .packages
        .iter()
        .map(|package| {
            let names = |dev: bool| {
                let is_dev = |kind: cargo_metadata::DependencyKind| {
                    kind == cargo_metadata::DependencyKind::Development
                };
                let wanted =
                    package.dependencies.iter().filter(|dependency| is_dev(dependency.kind) == dev);
                wanted.map(|dependency| dependency.name.clone()).collect()
            };
            let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
            let folder = folder.strip_prefix(root()).expect("packages lie in the checkout");
            Package {
                name: package.name.to_string(),
                folder: format!("{folder}/"),
                dependencies: names(false),
                dev_dependencies: names(true),
            }
        })
        .collect()
}
