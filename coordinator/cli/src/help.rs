//! Help topics, completion scripts and manual pages.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    cli::Cli,
    config::nearest,
    failure::{EXIT_CODES, ExitCode, Failure, OrFail},
    output,
};

const EXIT_CODES_TOPIC: &str = "exit-codes";

/// `assay help [TOPIC…]`.
pub(crate) fn topic(words: &[String]) -> Result<ExitCode, Failure> {
    if words.first().is_some_and(|word| word == EXIT_CODES_TOPIC) {
        output::write(EXIT_CODES)?;
        return Ok(ExitCode::Done);
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for word in words {
        let known: Vec<String> =
            command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        if !known.contains(word) {
            let names: Vec<&str> =
                known.iter().map(String::as_str).chain([EXIT_CODES_TOPIC]).collect();
            let failure = Failure::usage(format!("no help on {word:?}"));
            return Err(match nearest(word, &names) {
                Some(near) => failure.hint(format!("did you mean {near:?}?")),
                None => failure.hint("`assay help` lists the commands"),
            });
        }
        command = command
            .find_subcommand_mut(word)
            .expect("the name was just found among the subcommands");
    }
    output::write(&command.render_long_help().ansi().to_string())?;
    Ok(ExitCode::Done)
}

/// `assay completions SHELL`.
pub(crate) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "assay", &mut script);
    output::write(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Done)
}

/// `assay man DIR`.
pub(crate) fn manual(dir: &Path) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .or_failed(format_args!("cannot write manual pages into {}", dir.display()))?;
    Ok(ExitCode::Done)
}
