//! Standard output: the one place where results are written.

use std::{
    fs::{self, File, Permissions},
    io::{self, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use assay_measure::printable;
use assay_planning::{export, report::JobReport};
use terminal_size::{Width, terminal_size_of};

use crate::{
    cli::OutputFormat,
    failure::{Failure, OrFail},
    report_table::{self, Layout},
};

/// A terminal narrower than this has broken lines in any case.
const NARROWEST: usize = 40;

/// Writes text and a final newline, without what a terminal would act on. A reader who has gone away is
/// no error.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let text = printable::text(text);
    let mut stdout = anstream::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") });
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::failed("cannot write to standard output").because(&error)),
    }
}

/// Writes what is no text. A reader who has gone away is no error; a terminal would show noise.
pub(crate) fn write_bytes(content: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() {
        return Err(Failure::usage("this format is not for a terminal")
            .hint("name a file with -O FILE, or pipe it on"));
    }
    match stdout.write_all(content).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed("cannot write to standard output").because(&error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a job's report as asked.
pub(crate) fn report(report: &JobReport, format: OutputFormat) -> Result<(), Failure> {
    write(&rendered(report, format)?)
}

/// A job's report as text.
pub(crate) fn rendered(report: &JobReport, format: OutputFormat) -> Result<String, Failure> {
    let json = |error: serde_json::Error| {
        Failure::failed("cannot write the report as JSON").because(&error)
    };
    match format {
        OutputFormat::Table => {
            Ok(report_table::render(report, Layout { wide: false, width: width() }))
        }
        OutputFormat::Wide => Ok(report_table::render(report, Layout { wide: true, width: None })),
        OutputFormat::Json => serde_json::to_string_pretty(report).map(escaped).map_err(json),
        OutputFormat::Jsonl => export::jsonl(report).map(escaped).map_err(json),
        OutputFormat::Csv => export::csv(&export::table::of_trials(report))
            .or_failed("cannot write the report as CSV"),
        OutputFormat::Md => Ok(export::markdown(report)),
    }
}

/// A list of things, each a row of cells and a JSON object.
pub(crate) struct Listing {
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) json: Vec<serde_json::Value>,
    /// Said instead of an empty table.
    pub(crate) empty: String,
}

impl Listing {
    /// Writes the list as asked.
    pub(crate) fn write(self, format: OutputFormat) -> Result<(), Failure> {
        let json = |value: &serde_json::Value| value.to_string();
        match format {
            OutputFormat::Table | OutputFormat::Wide if self.rows.is_empty() => {
                anstream::eprintln!("{}", self.empty);
                Ok(())
            }
            OutputFormat::Table => write(&self.table(width())),
            OutputFormat::Wide => write(&self.table(None)),
            OutputFormat::Json => {
                let text =
                    serde_json::to_string_pretty(&self.json).or_failed("cannot write JSON")?;
                write(&escaped(text))
            }
            OutputFormat::Jsonl => {
                write(&escaped(self.json.iter().map(json).collect::<Vec<_>>().join("\n")))
            }
            OutputFormat::Csv => write(&self.csv()?),
            OutputFormat::Md => write(&self.markdown()),
        }
    }

    fn table(&self, width: Option<u16>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        if let Some(width) = width {
            table.set_width(width);
        }
        table.set_header(self.header.clone());
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| printable::line(cell)));
        }
        table.trim_fmt()
    }

    fn csv(&self) -> Result<String, Failure> {
        let failed = |error: csv::Error| Failure::failed("cannot write CSV").because(&error);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let names = self.header.iter().map(|name| name.to_lowercase().replace(' ', "_"));
        writer.write_record(names).map_err(failed)?;
        for row in &self.rows {
            writer.write_record(row).map_err(failed)?;
        }
        let bytes = writer
            .into_inner()
            .map_err(|error| Failure::failed("cannot write CSV").because(error.error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let escape = |cell: &String| printable::line(cell).replace('|', "\\|");
        let mut text = line(self.header.iter().map(ToString::to_string).collect());
        text += &line(self.header.iter().map(|_| "---".to_owned()).collect());
        text.extend(self.rows.iter().map(|row| line(row.iter().map(escape).collect())));
        text
    }
}

/// Text with its lead, broken between words where it would not fit. A terminal says how wide it is, a file does not.
pub(crate) fn wrapped(text: &str, lead: &str, hanging: &str, width: Option<u16>) -> String {
    let Some(width) = width else { return format!("{lead}{text}") };
    let options = textwrap::Options::new(usize::from(width).max(NARROWEST))
        .initial_indent(lead)
        .subsequent_indent(hanging)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// JSON that keeps what a terminal would act on, without sending it there.
pub(crate) fn escaped(json: String) -> String {
    printable::json(&json).into_owned()
}

/// The width of the terminal behind standard output, if there is one.
fn width() -> Option<u16> {
    terminal_size_of(std::io::stdout()).map(|(Width(width), _)| width)
}

/// Replaces a file whole, so that a reader never sees half of it: written beside it and renamed. Its permissions stay,
/// a link goes on leading to it, and what is no file (a pipe, a device) is written to.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let existing = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Some(metadata.permissions()),
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => {
            let mut special = File::options().write(true).open(path)?;
            return special.write_all(content);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let path = if existing.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
    let folder = folder_of(&path);
    // As any new file; the process's umask takes from it.
    let permissions = existing.clone().unwrap_or(Permissions::from_mode(0o666));
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
    file.write_all(content)?;
    if let Some(existing) = existing {
        file.as_file().set_permissions(existing)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Whether [`replace`] could write there now. Nothing is changed.
pub(crate) fn check_replaceable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        Ok(_) => tempfile::tempfile_in(folder_of(&fs::canonicalize(path)?)).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tempfile::tempfile_in(folder_of(path)).map(drop)
        }
        Err(error) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_later_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        check_replaceable(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "old").unwrap();
        check_replaceable(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let missing = dir.path().join("missing/report.html");
        assert_eq!(check_replaceable(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        let directory = check_replaceable(dir.path()).unwrap_err();
        assert_eq!(directory.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        std::fs::write(&path, "old").unwrap();
        replace(&path, b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_keeps_its_permissions_and_a_link_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("out.json"), dir.path().join("link.json"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_is_no_file_is_written_to_and_never_replaced() {
        // Not a device of the machine's own: as root, a mistake here would take it away from everybody.
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        replace(&pipe, b"new\n").unwrap();
        assert_eq!(reader.join().unwrap(), "new\n");
        assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());
        assert_eq!(replace(dir.path(), b"x").unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
