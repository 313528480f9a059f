//! `libtorch.so`, the empty library by whose name libraries of operators are linked: here it loads without CUDA.
//!
//! In the official wheel it asks for `libtorch_cuda.so`, and that for wheels of some 3 GB which are not
//! set up. Whoever serves on a GPU loads `libtorch_cuda.so` by its own name.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::files;

const UMBRELLA: &str = "torch/lib/libtorch.so";
const ASKED: &[u8] = b"\0libtorch_cuda.so\0";
/// Asked for in any case; as long as [`ASKED`], so that nothing moves.
const INSTEAD: &[u8] = b"\0libtorch_cpu.so\0\0";

/// Makes `libtorch.so` below `unpacked` ask for libtorch's CPU half alone.
pub(crate) fn spare_cuda(unpacked: &Path) -> Result<()> {
    let path = unpacked.join(UMBRELLA);
    let mut content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut places = content.windows(ASKED.len()).enumerate();
    let Some((place, _)) = places.find(|(_, bytes)| *bytes == ASKED) else {
        bail!("{} does not ask for libtorch_cuda.so", path.display());
    };
    content[place..place + INSTEAD.len()].copy_from_slice(INSTEAD);
    files::write(&path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_half_is_asked_for_instead_and_nothing_moves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(UMBRELLA);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"ELF\0libtorch_cuda.so\0libc.so.6\0").unwrap();
        spare_cuda(dir.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ELF\0libtorch_cpu.so\0\0libc.so.6\0");
        let error = spare_cuda(dir.path()).unwrap_err().to_string();
        assert!(error.contains("does not ask for libtorch_cuda.so"), "{error}");
    }
}
