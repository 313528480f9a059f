//! What the GPUs tell and what they do not, with one thing to do about it each.

use crate::hardware::nvml::{Survey, Unreadable, Unseen};

use super::Check;

const NAME: &str = "GPUs";

/// One line for the driver, and one for each GPU.
pub(super) fn checks(
    opened: &Result<(Option<String>, Vec<Survey>), Unseen>,
    driver_loaded: bool,
) -> Vec<Check> {
    match opened {
        Ok((driver, gpus)) => {
            let driver = driver.as_deref().unwrap_or("of unknown version");
            let found = format!("{} seen through NVML, driver {driver}", gpus.len());
            let mut checks = vec![Check::good(NAME, found)];
            checks.extend(gpus.iter().map(one));
            checks
        }
        Err(Unseen::NoDriver(_)) if !driver_loaded => vec![Check::good(NAME, "none")],
        Err(unseen) => vec![Check::weak(NAME, unseen.to_string(), fix_of_unseen(unseen))],
    }
}

fn fix_of_unseen(unseen: &Unseen) -> &'static str {
    match unseen {
        Unseen::NoDriver(_) => {
            "install the driver's libnvidia-ml.so.1, in containers with the NVIDIA container toolkit"
        }
        Unseen::NoPermission => {
            "let this user read and write /dev/nvidiactl and /dev/nvidia*: add it to their group, or run the agent as root"
        }
        Unseen::Other(_) => "see whether nvidia-smi works; if not, load the driver again or reboot",
    }
}

fn one(gpu: &Survey) -> Check {
    let name = gpu.name.as_deref().unwrap_or("unknown GPU");
    let memory = gpu.memory.map(|memory| format!(", {memory}")).unwrap_or_default();
    let divided = if gpu.mig { ", divided (MIG)" } else { "" };
    let readable: Vec<&str> =
        gpu.figures.iter().filter(|(_, read)| read.is_ok()).map(|(figure, _)| *figure).collect();
    let unreadable: Vec<(&str, Unreadable)> =
        gpu.figures.iter().filter_map(|(figure, read)| Some((*figure, (*read).err()?))).collect();
    let mut found = format!("{}: {name}{memory}{divided}", gpu.index);
    if !readable.is_empty() {
        found.push_str(&format!("; reads {}", readable.join(", ")));
    }
    let gravest = unreadable.iter().map(|(_, why)| *why).min();
    let Some(gravest) = gravest else {
        return Check::good("GPU", found);
    };
    let missing: Vec<String> =
        unreadable.iter().map(|(figure, why)| format!("{figure} ({})", describe(*why))).collect();
    found.push_str(&format!("; cannot read {}", missing.join(", ")));
    Check::weak("GPU", found, fix(gravest, gpu.mig))
}

fn describe(why: Unreadable) -> &'static str {
    match why {
        Unreadable::Lost => "lost",
        Unreadable::NoPermission => "no permission",
        Unreadable::NotInLibrary => "not in the driver's library",
        Unreadable::NotSupported => "not supported",
        Unreadable::Failed => "failed",
    }
}

fn fix(why: Unreadable, mig: bool) -> &'static str {
    match why {
        Unreadable::Lost => {
            "the GPU fell off the bus: see the kernel's log for Xid messages, reset it or reboot"
        }
        Unreadable::NoPermission => {
            "run the agent as root, or let the driver answer other users too (NVreg_RestrictProfilingToAdminUsers=0)"
        }
        Unreadable::NotInLibrary => {
            "update the driver: reports leave out what its library does not have"
        }
        Unreadable::NotSupported if mig => {
            "measure on a whole GPU (nvidia-smi -mig 0): these figures do not exist for a divided one"
        }
        Unreadable::NotSupported => "nothing to do: reports leave these figures out",
        Unreadable::Failed => "see whether nvidia-smi shows them; if not, load the driver again",
    }
}

#[cfg(test)]
mod tests {
    use nvml_wrapper::error::NvmlError;

    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_machine_without_a_driver_needs_no_gpu() {
        let unseen = || Unseen::NoDriver(NvmlError::DriverNotLoaded);
        assert_eq!(checks(&Err(unseen()), false)[0].status, Status::Good);
        assert_eq!(checks(&Err(unseen()), true)[0].status, Status::Weak);
        assert_eq!(checks(&Err(Unseen::NoPermission), false)[0].status, Status::Weak);
    }

    #[test]
    fn the_hint_is_for_the_gravest_reason() {
        let figures = vec![
            ("power", Err(Unreadable::NotSupported)),
            ("energy", Err(Unreadable::NoPermission)),
            ("memory", Ok(())),
        ];
        let check = one(&Survey { index: 1, name: None, memory: None, mig: false, figures });
        assert!(check.fix.unwrap().contains("root"));
        assert_eq!(
            check.found,
            "1: unknown GPU; reads memory; cannot read power (not supported), energy (no permission)"
        );
    }
}
