//! Operators and classes that libtorch itself does not have: libraries bring them, and models name them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf, absolute},
    sync::Once,
};

use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader, ProgramHeader},
};
use thiserror::Error;

use super::{TorchError, c_path, checked, raw};

/// Libraries of operators are linked against it by name, and have no way of their own to it.
const UMBRELLA: &str = "libtorch.so";
/// Holds the headers of any shared library: they stand at its beginning.
const HEADERS_BYTES: u64 = 64 << 10;
/// What libtorch's own operators are called by.
const OWN_NAMESPACES: [&str; 4] = ["aten", "prim", "prims", "quantized"];

/// A library of operators cannot be used.
#[derive(Debug, Error)]
pub(crate) enum OperatorLibraryError {
    /// There is no such file, or it cannot be read, or its end is missing.
    #[error("cannot read the operator library {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The dynamic loader refuses it, or it registers what is registered already.
    #[error("cannot load the operator library {}", path.display())]
    Refused { path: PathBuf, source: TorchError },
}

/// Loads a library whose initializers register operators or classes, such as `libtorchvision.so`. It
/// stays loaded.
pub(crate) fn load_operator_library(path: &Path) -> Result<(), OperatorLibraryError> {
    let unreadable = |source| OperatorLibraryError::Unreadable { path: path.to_owned(), source };
    // A name without a folder would be looked for in the system's folders.
    let file = absolute(path).map_err(unreadable)?;
    check(&file).map_err(unreadable)?;
    load_umbrella();
    let refused = |source| OperatorLibraryError::Refused { path: path.to_owned(), source };
    let file = c_path(&file).map_err(refused)?;
    // SAFETY: the pointer is valid for the call. What its initializers do is the operator's choice.
    checked(unsafe { raw::assay_load_library(file.as_ptr()) }).map_err(refused)
}

/// What the loader would wait for, or die of.
fn check(path: &Path) -> io::Result<()> {
    // Opening a named pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut headers = Vec::new();
    file.take(HEADERS_BYTES).read_to_end(&mut headers)?;
    match whole_length(&headers) {
        Some(whole) if whole > length => {
            Err(io::Error::other(format!("it ends after {length} of {whole} bytes")))
        }
        _ => Ok(()),
    }
}

/// How far a library's segments reach; none for what is no library, of which the loader says so itself.
fn whole_length(headers: &[u8]) -> Option<u64> {
    let header = FileHeader64::<Endianness>::parse(headers).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, headers).ok()?;
    segments
        .iter()
        .map(|segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian)))
        .max()
}

/// Where it cannot be loaded, nothing is lost: a library that wants it says so itself.
fn load_umbrella() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(name) = c_path(Path::new(UMBRELLA)) else { return };
        // SAFETY: the pointer is valid for the call, and libtorch's initializers only register kernels.
        if let Err(error) = checked(unsafe { raw::assay_load_library(name.as_ptr()) }) {
            tracing::debug!(%error, "libtorch's umbrella library is not loaded");
        }
    });
}

/// Something that a model names and no library has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `operator torchvision::nms` or `class mylib::Box`.
    pub name: String,
    /// The library's namespace, `torchvision`; none where the name is one of libtorch's own.
    pub library: Option<String>,
}

/// What libtorch misses, if that is why it did not load a model.
pub(crate) fn missing(error: &TorchError) -> Option<Missing> {
    let TorchError(said) = error;
    let word = |text: &str, end: fn(char) -> bool| {
        text.split(end).next().unwrap_or_default().trim_end_matches('.').to_owned()
    };
    if let Some((_, rest)) = said.split_once("Unknown builtin op: ") {
        let operator = word(rest, char::is_whitespace);
        let namespace = operator.split_once("::")?.0.to_owned();
        let library = (!OWN_NAMESPACES.contains(&&*namespace)).then_some(namespace);
        return Some(Missing { name: format!("operator {operator}"), library });
    }
    let (_, rest) = said.split_once("Unknown type name '__torch__.torch.classes.")?;
    let class = word(rest, |c| c == '\'');
    let (library, name) = class.split_once('.')?;
    let name = format!("class {library}::{name}");
    Some(Missing { name, library: Some(library.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(said: &str) -> Option<(String, Option<String>)> {
        missing(&TorchError(said.to_owned())).map(|missing| (missing.name, missing.library))
    }

    #[test]
    fn a_library_whose_end_is_missing_is_told_before_it_is_loaded() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let whole = whole_length(&own).unwrap();
        assert!(whole > 0 && whole <= own.len() as u64);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.so");
        std::fs::write(&path, &own[..20_000]).unwrap();
        let error = load_operator_library(&path).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, format!("it ends after 20000 of {whole} bytes"));
    }

    #[test]
    fn what_a_model_misses_is_read_from_what_libtorch_says() {
        let of = |name: &str, library: Option<&str>| {
            Some((name.to_owned(), library.map(ToOwned::to_owned)))
        };
        assert_eq!(
            missed("\nUnknown builtin op: torchvision::nms.\nCould not find any similar ops"),
            of("operator torchvision::nms", Some("torchvision"))
        );
        assert_eq!(
            missed("Unknown builtin op: aten::new.\n"),
            of("operator aten::new", None),
            "an operator of libtorch's own, of a later version"
        );
        assert_eq!(
            missed("Unknown type name '__torch__.torch.classes.mylib.Box':\n"),
            of("class mylib::Box", Some("mylib"))
        );
        assert_eq!(missed("Unknown type name '__torch__.Net':\n"), None);
        assert_eq!(missed("PytorchStreamReader failed"), None);
    }
}
