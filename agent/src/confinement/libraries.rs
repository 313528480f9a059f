//! The shared libraries of a program: what the dynamic loader finds for it, and nothing else beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Loaded by name at run time, where the host serves on a GPU.
pub(super) const LOADED_FOR_CUDA: &str = "libtorch_cuda.so";
/// Loaded by name at run time, where there are libraries of operators: they are linked against it.
pub(super) const LOADED_FOR_OPERATORS: &str = "libtorch.so";
/// Where the loader stands, if this program does not say (it is linked statically).
const USUAL_LOADERS: [&str; 3] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux-riscv64-lp64d.so.1",
];

/// The libraries that `file` is loaded with, as the dynamic loader lists them; the file is not run. Also
/// those `by_name`, which it loads later from where its others lie, with the folders of theirs.
///
/// Empty for what is no dynamic program: it needs none, or does not start, which it will say itself.
pub(super) fn of(file: &Path, by_name: &[&str]) -> Vec<PathBuf> {
    let Some(loader) = loader() else { return Vec::new() };
    let mut found = listed(&loader, file);
    let later: Vec<PathBuf> = by_name.iter().filter_map(|name| beside(&found, name)).collect();
    for more in later {
        let theirs = listed(&loader, &more);
        // cuDNN and others load parts of themselves by name, from the folder that they are in.
        let folders = theirs.iter().filter_map(|library| Some(library.parent()?.to_owned()));
        found.extend(folders.filter(|folder| !is_of_the_system(folder)));
        found.push(more);
        found.extend(theirs);
    }
    found.sort();
    found.dedup();
    found
}

fn is_of_the_system(folder: &Path) -> bool {
    ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].iter().any(|system| folder.starts_with(system))
}

fn beside(libraries: &[PathBuf], name: &str) -> Option<PathBuf> {
    libraries
        .iter()
        .filter_map(|library| Some(library.parent()?.join(name)))
        .find(|at| at.is_file())
}

/// The loader of this very program.
fn loader() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let of_maps = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    let is_loader = |path: &&str| {
        path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-") && name.contains(".so"))
    };
    let own = of_maps.into_iter().find(is_loader).map(PathBuf::from);
    own.or_else(|| USUAL_LOADERS.iter().map(PathBuf::from).find(|path| path.is_file()))
}

fn listed(loader: &Path, file: &Path) -> Vec<PathBuf> {
    let output = Command::new(loader)
        .arg("--list")
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return Vec::new() };
    paths(&String::from_utf8_lossy(&output.stdout))
}

/// From lines such as `libm.so.6 => /lib/libm.so.6 (0x…)` or `/lib64/ld.so (0x…)`.
fn paths(list: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let found = line.split_once("=>").map_or(line, |(_, found)| found);
        let path = found.rsplit_once(" (").map_or(found, |(path, _)| path).trim();
        let path = Path::new(path);
        (path.is_absolute() && path.is_file()).then(|| path.to_owned())
    };
    list.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_listed_with_the_files_of_its_libraries() {
        let own = std::env::current_exe().unwrap();
        let found = of(&own, &[]);
        assert!(found.iter().any(|path| path.to_string_lossy().contains("libc.so")), "{found:?}");
        assert!(found.iter().all(|path| path.is_absolute()), "{found:?}");
        assert_eq!(of(Path::new("/etc/hostname"), &[]), Vec::<PathBuf>::new());
    }

    #[test]
    fn lines_of_the_loader_are_read_and_what_is_no_file_is_not() {
        let list = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibx.so => not found\n\t/proc/self/status (0x1)\n\
                    \tliby.so => /proc/self/maps (0x00007f)\n";
        assert_eq!(paths(list), ["/proc/self/status", "/proc/self/maps"].map(PathBuf::from));
    }
}
