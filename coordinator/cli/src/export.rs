//! `assay export`: a job's results as a file, whole or not at all.

use std::{io::Write, path::Path};

use crate::{
    cli::{ExportArgs, ExportFormat, OutputFormat},
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure},
    output, recommend,
};

/// Writes the file, or to standard output.
pub(crate) async fn run(args: &ExportArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut client = Client::connect(settings).await?;
    let report = recommend::report_of(&mut client, &args.job).await?;
    let format = match args.format {
        ExportFormat::Json => OutputFormat::Json,
        ExportFormat::Csv => OutputFormat::Csv,
        ExportFormat::Md => OutputFormat::Md,
    };
    let text = output::rendered(&report, format)?;
    if args.out == Path::new("-") {
        output::write(&text)?;
    } else {
        replace(&args.out, &text).map_err(|error| {
            Failure::failed(format!("cannot write {}", args.out.display())).because(&error)
        })?;
    }
    Ok(ExitCode::Done)
}

/// Writes beside the target and renames, so that a reader never sees half a file.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        file.write_all(b"\n")?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_ends_with_a_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        std::fs::write(&path, "old").unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
