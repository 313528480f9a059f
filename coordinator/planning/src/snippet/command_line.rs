//! The command that serves a model the way it was measured: `assay-host serve`.

use assay_measure::{
    configuration::{Configuration, Device},
    environment::{OMP_NUM_THREADS, is_known, split},
    input_spec::InputSpec,
};

use super::{NoSnippet, Recommended, quote};

/// A command for a POSIX shell, one flag a line, with the variables that the measured process had. It listens where
/// `assay-host serve` does by default, on port 8080 of the loopback interface.
///
/// # Errors
/// [`NoSnippet`] for an endpoint, and for a type that was measured with no configuration.
pub fn command_line(recommended: Recommended<'_>) -> Result<String, NoSnippet> {
    let configuration = recommended.configuration()?;
    let mut command = String::new();
    for (name, value) in process_variables(configuration) {
        command.push_str(&format!("{name}={} \\\n  ", quote::shell(&value)));
    }
    let model = as_argument(recommended.model);
    command.push_str(&format!("assay-host serve {}", quote::shell(&model)));
    for (flag, value) in flags(configuration, configuration.device, recommended.inputs) {
        command.push_str(&format!(" \\\n  {flag} {}", quote::shell(&value)));
    }
    command.push('\n');
    Ok(command)
}

/// Every setting of a configuration as flags of `assay-host serve`, defaults as well: they may change.
pub(super) fn flags(
    configuration: &Configuration,
    device: Device,
    inputs: &[InputSpec],
) -> Vec<(&'static str, String)> {
    let c = configuration;
    let mut flags = vec![
        ("--workers", c.workers.to_string()),
        ("--intra-op-threads", c.intra_op_threads.to_string()),
        ("--max-batch", c.max_batch.to_string()),
        ("--max-batch-delay", format!("{}us", c.max_batch_delay_us)),
        ("--device", device.to_string()),
        ("--dtype", c.dtype.to_string()),
        ("--graph", c.graph.to_string()),
        ("--allocator", c.allocator.to_string()),
    ];
    flags.extend(inputs.iter().map(|input| ("--input", input.to_string())));
    flags
}

/// The variables that a measured host had: its threads, and those of the configuration that reach it. Their names
/// are of an allow-list and need no quotes.
pub(super) fn process_variables(configuration: &Configuration) -> Vec<(&str, String)> {
    let threads = configuration.intra_op_threads.to_string();
    let mut variables = vec![(OMP_NUM_THREADS, threads.clone()), ("MKL_NUM_THREADS", threads)];
    let others = split(&configuration.environment).0;
    variables.extend(
        others
            .into_iter()
            .filter(|(name, _)| !is_known(name))
            .map(|(name, value)| (name, value.to_owned())),
    );
    variables
}

/// A path that cannot be taken for a flag.
fn as_argument(path: &str) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path.to_owned() }
}
