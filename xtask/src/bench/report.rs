//! docs/BENCHMARKS.md: one section for each subject, replaced as a whole, with where and when.

use std::{fs, process::Command, thread};

use anyhow::{Context, Result};

use crate::{checkout::Checkout, files, process::capture};

/// What one subject has to say.
#[derive(Debug)]
pub(crate) struct Section {
    /// Names the section, as on the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Markdown, with its table and how it was measured.
    pub(crate) body: String,
}

/// Replaces the section of that name, or adds it.
pub(crate) fn write(checkout: &Checkout, section: &Section) -> Result<()> {
    let path = checkout.root().join("docs/BENCHMARKS.md");
    let old = files::read(&path)?;
    let text =
        format!("## {}\n\n{}\n\n{}", section.title, where_and_when(checkout)?, section.body.trim());
    // Written beside it first: a run that is cut short leaves the old figures whole.
    let new = path.with_extension("md.new");
    fs::write(&new, replaced(&old, section.name, &text))
        .and_then(|()| fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("\n<!-- end {name} -->\n"));
    let section = format!("{begin}{text}{end}");
    let found =
        old.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    match found {
        Some((before, after)) => format!("{before}{section}{after}"),
        None => format!("{}\n\n{section}", old.trim_end()),
    }
}

/// The machine, the versions and the date: figures mean nothing without them.
fn where_and_when(checkout: &Checkout) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |name: &str| cpuinfo.lines().find_map(|line| line.strip_prefix(name)?.split_once(": "));
    let cpu = field("model name").map_or("unknown CPU", |(_, model)| model);
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total_kib: f64 =
        total.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let line = |command: &mut Command| {
        capture(command.current_dir(checkout.root())).map(|text| text.trim().to_owned())
    };
    let revision = line(Command::new("git").args(["describe", "--always"]))?;
    // The figures themselves, written by the subject before, do not make the tree another one.
    let unfigured = [".", ":(exclude)docs/BENCHMARKS.md"];
    let changed =
        line(Command::new("git").args(["status", "--porcelain", "-uno", "--"]).args(unfigured))?;
    let revision = if changed.is_empty() { revision } else { format!("{revision}-dirty") };
    let rustc = line(Command::new("rustc").arg("--version"))?;
    let date = line(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    Ok(format!(
        "{date}, revision {revision}, {rustc}, libtorch 2.11.0, Linux {}, {cpus} vCPU of {cpu}, {:.0} GiB.",
        kernel.trim(),
        total_kib / f64::from(1 << 20)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_added_once_and_replaced_in_its_place() {
        let first = replaced("# Benchmarks\n", "host", "old");
        let both = replaced(&first, "startup", "other");
        let new = replaced(&both, "host", "new");
        assert_eq!(
            new,
            "# Benchmarks\n\n<!-- begin host -->\nnew\n<!-- end host -->\n\n<!-- begin startup -->\nother\n<!-- end startup -->\n"
        );
    }
}
