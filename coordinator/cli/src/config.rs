//! Settings and where they come from: flag, environment, `--config` or `./assay.toml`,
//! `/etc/assay/assay.toml`, default; the first that has a value wins.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, parser::ValueSource};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{ColorChoice, Global, OutputFormat, ProgressMode},
    failure::{Failure, OrFail},
};

const SYSTEM_FILE: &str = "/etc/assay/assay.toml";
const LOCAL_FILE: &str = "assay.toml";

/// What a configuration file may hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileSettings {
    server: Option<String>,
    token_file: Option<PathBuf>,
    ca_cert: Option<PathBuf>,
    output: Option<OutputFormat>,
    color: Option<ColorChoice>,
    progress: Option<ProgressMode>,
    agent_binary: Option<PathBuf>,
    host_binary: Option<PathBuf>,
}

const KEYS: [&str; 8] = [
    "server",
    "token-file",
    "ca-cert",
    "output",
    "color",
    "progress",
    "agent-binary",
    "host-binary",
];

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) server: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_cert: Option<PathBuf>,
    pub(crate) output: OutputFormat,
    pub(crate) color: ColorChoice,
    pub(crate) progress: ProgressMode,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) agent_binary: Option<PathBuf>,
    pub(crate) host_binary: Option<PathBuf>,
    /// Every setting with its origin.
    pub(crate) origins: Vec<Origin>,
}

/// One setting for `assay config show`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Origin {
    /// The key, as in a configuration file.
    pub(crate) key: &'static str,
    /// Its value; absent when unset.
    pub(crate) value: Option<String>,
    /// Where the value comes from.
    pub(crate) origin: String,
}

impl Settings {
    pub(crate) fn settle(global: &Global, matches: &ArgMatches) -> Result<Self, Failure> {
        let mut layers = Layers { matches, files: Vec::new(), origins: Vec::new() };
        match &global.config {
            Some(path) => layers.files.push((path.display().to_string(), read(path)?)),
            None if Path::new(LOCAL_FILE).exists() => {
                layers.files.push((LOCAL_FILE.to_owned(), read(Path::new(LOCAL_FILE))?));
            }
            None => {}
        }
        if Path::new(SYSTEM_FILE).exists() {
            layers.files.push((SYSTEM_FILE.to_owned(), read(Path::new(SYSTEM_FILE))?));
        }
        let path_text = |path: &PathBuf| path.display().to_string();
        Ok(Self {
            server: layers.pick(
                "server",
                global.server.clone(),
                |f| f.server.clone(),
                Clone::clone,
            ),
            token_file: layers.pick(
                "token-file",
                global.token_file.clone(),
                |f| f.token_file.clone(),
                path_text,
            ),
            ca_cert: layers.pick(
                "ca-cert",
                global.ca_cert.clone(),
                |f| f.ca_cert.clone(),
                path_text,
            ),
            output: layers
                .pick("output", global.output, |f| f.output, |o| format!("{o:?}").to_lowercase())
                .unwrap_or(OutputFormat::Table),
            color: layers
                .pick("color", global.color, |f| f.color, |c| format!("{c:?}").to_lowercase())
                .unwrap_or(ColorChoice::Auto),
            progress: layers
                .pick(
                    "progress",
                    global.quiet.then_some(ProgressMode::None).or(global.progress),
                    |f| f.progress,
                    |p| format!("{p:?}").to_lowercase(),
                )
                .unwrap_or(ProgressMode::Auto),
            quiet: global.quiet,
            verbose: global.verbose,
            agent_binary: layers.pick("agent-binary", None, |f| f.agent_binary.clone(), path_text),
            host_binary: layers.pick("host-binary", None, |f| f.host_binary.clone(), path_text),
            origins: layers.origins,
        })
    }
}

struct Layers<'a> {
    matches: &'a ArgMatches,
    files: Vec<(String, FileSettings)>,
    origins: Vec<Origin>,
}

impl Layers<'_> {
    fn pick<T>(
        &mut self,
        key: &'static str,
        given: Option<T>,
        of_file: impl Fn(&FileSettings) -> Option<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let (value, origin) = match given {
            Some(value) => (Some(value), self.origin_of_argument(key)),
            None => self
                .files
                .iter()
                .find_map(|(name, file)| Some((Some(of_file(file)?), name.clone())))
                .unwrap_or((None, "default".to_owned())),
        };
        self.origins.push(Origin { key, value: value.as_ref().map(show), origin });
        value
    }

    fn origin_of_argument(&self, key: &str) -> String {
        let id = key.replace('-', "_");
        match self.matches.value_source(&id) {
            Some(ValueSource::EnvVariable) => format!("ASSAY_{}", id.to_uppercase()),
            Some(_) | None => "flag".to_owned(),
        }
    }
}

fn read(path: &Path) -> Result<FileSettings, Failure> {
    let text = std::fs::read_to_string(path)
        .or_usage(format_args!("cannot read the configuration file {}", path.display()))?;
    parse(&text).map_err(|(error, hint)| {
        let failure =
            Failure::usage(format!("the configuration file {} is not valid", path.display()))
                .cause(error.trim_end());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// The settings of a file's text; otherwise the error with a caret, and a suggestion.
fn parse(text: &str) -> Result<FileSettings, (String, Option<String>)> {
    toml::from_str(text).map_err(|error| {
        let unknown =
            error.message().strip_prefix("unknown field `").and_then(|m| m.split('`').next());
        let hint = unknown
            .and_then(|word| nearest(word, &KEYS))
            .map(|key| format!("did you mean {key:?}?"));
        (error.to_string(), hint)
    })
}

/// The known word closest to a mistyped one, if it is close.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|&key| (strsim::jaro_winkler(word, key), key))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_a_caret_and_a_suggestion() {
        let (error, hint) = parse("sever = \"http://x\"\n").unwrap_err();
        assert!(error.contains('^'), "{error}");
        assert_eq!(hint.as_deref(), Some("did you mean \"server\"?"));
        assert!(parse("output = \"yaml\"").is_err());
        assert_eq!(parse("output = \"json\"").unwrap().output, Some(OutputFormat::Json));
    }
}
