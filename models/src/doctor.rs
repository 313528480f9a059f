//! Whether this machine can serve models, and what to do where it cannot.

use std::fmt;

use assay_measure::configuration::Allocator;
use assay_measure::input_spec::DType;
use serde::Serialize;

use crate::{
    process::MallocSetting,
    tensor::WireTensor,
    torch::{self, Module},
};

/// The release that this program is built for.
pub(crate) const LIBTORCH_VERSION: &str = "2.11.0";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Good,
    /// Not there, and not needed.
    Absent,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub name: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<&'static str>,
}

/// All checks (`assay.host-doctor/1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Diagnosis {
    /// The format of this report.
    pub schema: &'static str,
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Whether nothing is to be repaired.
    pub(crate) fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Bad)
    }
}

/// Looks at everything. `malloc` is what was set at the start of the process.
pub(crate) fn examine(allocator: Allocator, malloc: &[MallocSetting]) -> Diagnosis {
    // Before libtorch is asked anything: later it would not look for CUDA again.
    let cuda_library = torch::load_cuda_library();
    let checks = vec![
        libtorch(),
        arithmetic(),
        cuda(cuda_library.err().map(|error| error.to_string())),
        processor(),
        threads(),
        memory(allocator, malloc),
    ];
    Diagnosis { schema: "assay.host-doctor/1", checks }
}

fn check(name: &'static str, good: bool, found: String, fix: &'static str) -> Check {
    let verdict = if good { Verdict::Good } else { Verdict::Bad };
    Check { name, verdict, found, fix: (!good).then_some(fix) }
}

fn libtorch() -> Check {
    let version = torch::version();
    let place = loaded_from("libtorch_cpu.so").unwrap_or_else(|| "an unknown place".to_owned());
    let good = version.split('+').next() == Some(LIBTORCH_VERSION);
    let fix = "run `cargo xtask libtorch`, or set LIBTORCH to libtorch 2.11.0, and build again";
    check("libtorch", good, format!("{version} from {place}"), fix)
}

/// Where a shared library of this process was loaded from.
fn loaded_from(library: &str) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with(library))?;
    line.split_whitespace().last().map(str::to_owned)
}

/// A small model, compiled, run and checked.
fn arithmetic() -> Check {
    let source = "def forward(self, x: Tensor) -> Tensor:\n  return torch.matmul(x, x)\n";
    let two = WireTensor {
        name: String::new(),
        dtype: DType::Float32,
        shape: vec![1, 1],
        data: bytes::Bytes::copy_from_slice(&2.0f32.to_le_bytes()),
    };
    let outcome = Module::define("Doctor", source, &[])
        .map_err(|error| error.to_string())
        .and_then(|module| module.call(&[Some(&two)]).map_err(|error| error.to_string()));
    let fix =
        "libtorch does not work on this machine: is it complete, and built for this processor?";
    match outcome.as_deref() {
        Ok([four]) if *four.data == 4.0f32.to_le_bytes() => {
            check("model", true, "a small model was compiled and ran".to_owned(), fix)
        }
        Ok(_) => check("model", false, "a small model gave a wrong answer".to_owned(), fix),
        Err(error) => check("model", false, error.clone(), fix),
    }
}

fn cuda(library_missing: Option<String>) -> Check {
    let name = "CUDA";
    let driver =
        loaded_from("libcuda.so.1").is_some() || std::path::Path::new("/dev/nvidiactl").exists();
    match (library_missing, torch::cuda_devices()) {
        (None, devices) if devices > 0 => {
            Check { name, verdict: Verdict::Good, found: format!("{devices} device(s)"), fix: None }
        }
        (missing, _) if driver => {
            let found = missing.unwrap_or_else(|| "libtorch sees no device".to_owned());
            check(
                name,
                false,
                found,
                "a GPU is there: install libtorch's CUDA libraries, and a driver that fits them",
            )
        }
        (missing, _) => {
            let found = if missing.is_some() { "no GPU, and no CUDA libraries" } else { "no GPU" };
            Check { name, verdict: Verdict::Absent, found: found.to_owned(), fix: None }
        }
    }
}

fn processor() -> Check {
    let capability = torch::cpu_capability();
    let plain_x86 = cfg!(target_arch = "x86_64")
        && !(capability.contains("AVX2") || capability.contains("AVX512"));
    let vector_units = vector_units().map_or_else(String::new, |units| format!(" ({units})"));
    let fix =
        "this processor (or ATEN_CPU_CAPABILITY) offers no AVX2: expect a fraction of the speed";
    check(
        "processor",
        !plain_x86,
        format!("libtorch's kernels use {capability}{vector_units}"),
        fix,
    )
}

/// Those of the processor's features that matter to models.
fn vector_units() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line =
        info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    let wanted = "avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_int8 asimd bf16 sve";
    let is_wanted = |flag: &&str| wanted.split(' ').any(|known| known == *flag);
    let found: Vec<&str> = line.split_whitespace().filter(is_wanted).collect();
    (!found.is_empty()).then(|| found.join(" "))
}

fn threads() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let default = torch::intra_op_threads();
    let found = format!(
        "{cores} core(s) for this process; libtorch would use {default} thread(s), --intra-op-threads decides"
    );
    check("threads", true, found, "")
}

fn memory(allocator: Allocator, malloc: &[MallocSetting]) -> Check {
    let refused: Vec<&str> =
        malloc.iter().filter(|setting| !setting.accepted).map(|setting| setting.name).collect();
    let settings: Vec<String> =
        malloc.iter().map(|setting| format!("{}={}", setting.name, setting.bytes)).collect();
    let found = if refused.is_empty() {
        format!("{allocator} {}", settings.join(" ")).trim_end().to_owned()
    } else {
        format!("{allocator}, but malloc refused {}", refused.join(", "))
    };
    check(
        "allocator",
        refused.is_empty(),
        found,
        "this C library lacks the settings: use --allocator default",
    )
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let mark = match check.verdict {
                Verdict::Good => '✓',
                Verdict::Absent => '–',
                Verdict::Bad => '✗',
            };
            writeln!(f, "  {mark} {:<10} {}", check.name, check.found)?;
            if let Some(fix) = check.fix {
                writeln!(f, "    {:<10} fix: {fix}", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_runs_these_tests_is_found_able() {
        let diagnosis = examine(Allocator::Default, &[]);
        let found = |name| diagnosis.checks.iter().find(|check| check.name == name).unwrap();
        assert!(found("libtorch").found.starts_with(LIBTORCH_VERSION), "{diagnosis}");
        assert_eq!(found("model").verdict, Verdict::Good);
        assert!(found("libtorch").found.contains("/libtorch_cpu.so"), "{diagnosis}");
    }

    #[test]
    fn a_refused_setting_is_marked_with_its_fix() {
        let refused = MallocSetting { name: "M_TOP_PAD", bytes: 1, accepted: false };
        let check = memory(Allocator::Tuned, &[refused]);
        assert_eq!(check.verdict, Verdict::Bad);
        let text = Diagnosis { schema: "assay.host-doctor/1", checks: vec![check] }.to_string();
        assert!(
            text.contains("✗ allocator") && text.contains("M_TOP_PAD") && text.contains("fix: "),
            "{text}"
        );
    }
}
