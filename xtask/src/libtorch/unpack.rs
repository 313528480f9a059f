//! Unpacks the libraries and headers of verified wheels, all or nothing.
//!
//! Everything goes into a folder beside the final ones first. Only when it is on disk are the final
//! folders replaced, and the stamp, written last, makes the set-up count.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

use super::{
    stamp::{self, FOLDERS},
    umbrella,
    wheels::Wheel,
};
use crate::{console::Console, files};

/// Where unpacking happens; anything found there later is left over from an interrupted run.
pub(crate) const UNFINISHED: &str = "unpack.unfinished";

/// Puts the content of `files`, which are these `wheels`, in place of whatever `dir` held.
pub(crate) fn replace(
    dir: &Path,
    wheels: &[Wheel],
    files: &[PathBuf],
    console: Console,
) -> Result<()> {
    let unfinished = dir.join(UNFINISHED);
    let unpacked = unpack_all(&unfinished, wheels, files, console);
    if unpacked.is_err() {
        // Give a full disk its space back. Failing at that too adds nothing to the first error.
        _ = fs::remove_dir_all(&unfinished);
    }
    unpacked?;
    stamp::remove(dir)?;
    for folder in FOLDERS {
        let place = dir.join(folder);
        files::remove_dir(&place)?;
        fs::rename(unfinished.join(folder), &place)
            .with_context(|| format!("cannot put {} in place", place.display()))?;
    }
    files::remove_dir(&unfinished)?;
    stamp::write(dir, wheels)
}

fn unpack_all(
    unfinished: &Path,
    wheels: &[Wheel],
    files: &[PathBuf],
    console: Console,
) -> Result<()> {
    console.say("unpacking the libraries and headers (about 1.1 GiB)");
    files::create_dir(unfinished)?;
    for (wheel, file) in wheels.iter().zip(files) {
        unpack(unfinished, wheel, file, console)
            .with_context(|| format!("cannot unpack {}", file.display()))?;
    }
    umbrella::spare_cuda(unfinished)?;
    let folder =
        File::open(unfinished).with_context(|| format!("cannot open {}", unfinished.display()))?;
    rustix::fs::syncfs(folder)
        .with_context(|| format!("cannot write {} to disk", unfinished.display()))
}

fn unpack(unfinished: &Path, wheel: &Wheel, file: &Path, console: Console) -> Result<()> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(file)?))?;
    let wanted = |name: &str| {
        wheel.folders.iter().any(|folder| name.starts_with(folder)) && !name.ends_with('/')
    };
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name = name?;
        if wanted(&name) {
            names.push(name.into_owned());
        }
    }
    if names.is_empty() {
        bail!("it has none of the folders {}", wheel.folders.join(", "));
    }
    let mut total_bytes = 0;
    for name in &names {
        total_bytes += archive.by_name(name)?.size();
    }
    let mut progress = console.progress("unpacking", total_bytes);
    for name in &names {
        let mut entry = archive.by_name(name)?;
        let Some(inside) = entry.enclosed_name() else {
            bail!("{name} would be written outside the folder")
        };
        let path = unfinished.join(inside);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut output = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        // The reader checks the entry's CRC when it gets to the end.
        progress
            .pieces(&mut entry, |piece| output.write_all(piece))
            .and_then(|()| output.flush())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    const WHEELS: [Wheel; 2] = [
        Wheel {
            requirement: "torch",
            file: "torch.whl",
            sha256: "1",
            folders: &["torch/lib/", "torch/include/"],
            platform: "any",
        },
        Wheel {
            requirement: "nvidia",
            file: "nvidia.whl",
            sha256: "2",
            folders: &["nvidia/"],
            platform: "any",
        },
    ];

    fn zip(path: &Path, entries: &[(&str, &str)]) -> PathBuf {
        let mut writer = ZipWriter::new(File::create(path).unwrap());
        for (name, content) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        path.to_owned()
    }

    fn whole_wheels(dir: &Path) -> Vec<PathBuf> {
        vec![
            zip(
                &dir.join("torch.whl"),
                &[
                    ("torch/lib/libtorch.so", "code\0libtorch_cuda.so\0"),
                    ("torch/include/torch/a.h", "int a;"),
                    ("torch/nn.py", "pass"),
                ],
            ),
            zip(&dir.join("nvidia.whl"), &[("nvidia/cu13/lib/libcudart.so.13", "code")]),
        ]
    }

    #[test]
    fn libraries_and_headers_are_unpacked_side_by_side_and_python_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = whole_wheels(dir.path());
        replace(dir.path(), &WHEELS, &files, Console::new()).unwrap();
        let umbrella = fs::read_to_string(dir.path().join("torch/lib/libtorch.so")).unwrap();
        assert!(umbrella.starts_with("code\0libtorch_cpu.so\0"), "{umbrella:?}");
        assert!(dir.path().join("torch/include/torch/a.h").exists());
        assert!(dir.path().join("nvidia/cu13/lib/libcudart.so.13").exists());
        assert!(!dir.path().join("torch/nn.py").exists() && !dir.path().join(UNFINISHED).exists());
        assert!(stamp::is_whole(dir.path(), &WHEELS));
    }

    #[test]
    fn a_failed_unpacking_leaves_the_old_set_up_alone_and_no_half_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let files = whole_wheels(dir.path());
        replace(dir.path(), &WHEELS, &files, Console::new()).unwrap();
        fs::write(&files[1], "not a zip").unwrap();
        let error = replace(dir.path(), &WHEELS, &files, Console::new()).unwrap_err();
        assert!(error.to_string().contains("cannot unpack"), "{error:#}");
        assert!(stamp::is_whole(dir.path(), &WHEELS) && !dir.path().join(UNFINISHED).exists());
    }

    #[test]
    fn a_set_up_without_its_stamp_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let files = whole_wheels(dir.path());
        fs::create_dir_all(dir.path().join("torch/lib")).unwrap();
        fs::write(dir.path().join("torch/lib/half.so"), "ha").unwrap();
        assert!(!stamp::is_whole(dir.path(), &WHEELS));
        replace(dir.path(), &WHEELS, &files, Console::new()).unwrap();
        assert!(
            !dir.path().join("torch/lib/half.so").exists() && stamp::is_whole(dir.path(), &WHEELS)
        );
    }

    #[test]
    fn an_entry_that_would_leave_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = whole_wheels(dir.path());
        files[0] = zip(&dir.path().join("evil.whl"), &[("torch/lib/../../../evil", "x")]);
        let error = replace(dir.path(), &WHEELS, &files, Console::new()).unwrap_err();
        assert!(format!("{error:#}").contains("outside the folder"), "{error:#}");
    }
}
