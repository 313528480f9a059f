//! NVIDIA GPUs through NVML, opened at run time. No library, no driver and no GPU are all the same: absent.
//!
//! The library takes tens of megabytes, so it is open only while somebody needs it: for the facts at
//! start and during a trial, never in an idle agent.

use std::ffi::OsString;

use assay_measure::{hardware::GpuFacts, units::Bytes};
use nvml_wrapper::{
    Device, Nvml,
    bitmasks::device::ThrottleReasons,
    enum_wrappers::device::{Clock, TemperatureSensor},
    error::NvmlError,
};
use thiserror::Error;

/// Names another library file, for drivers in unusual places.
const LIBRARY_VARIABLE: &str = "ASSAY_NVML";
/// The name under which every driver installs it; the plain `.so` comes only with development files.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// The GPUs of this machine.
#[derive(Debug)]
pub struct Gpus {
    nvml: Nvml,
    count: u32,
}

/// One GPU at one moment; what it does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuSample {
    pub index: u32,
    /// Share of the last moments in which a kernel ran, per cent.
    pub utilization_pct: Option<f64>,
    pub memory_used: Option<Bytes>,
    pub power_w: Option<f64>,
    pub temperature_c: Option<f64>,
    pub sm_clock_mhz: Option<f64>,
    /// Energy since the driver was loaded, in joules.
    pub energy_j: Option<f64>,
    /// Reasons for throttling, in the driver's words.
    pub throttle_reasons: Vec<&'static str>,
    /// Whether there was any such reason.
    pub throttled: Option<bool>,
    /// Processes that hold a context on it.
    pub process_ids: Option<Vec<u32>>,
    /// It is divided into instances.
    pub mig: Option<bool>,
    /// It fell off the bus, or does not answer any more.
    pub lost: bool,
}

/// Why no GPU can be seen.
#[derive(Debug, Error)]
pub enum Unseen {
    /// There is no library, or no driver behind it: most likely no GPU either.
    #[error("{0}")]
    NoDriver(NvmlError),
    #[error("the driver does not let this user see the GPUs")]
    NoPermission,
    #[error("{0}")]
    Other(NvmlError),
}

impl Unseen {
    fn from_answer(error: NvmlError) -> Self {
        if matches!(error, NvmlError::NoPermission) {
            Self::NoPermission
        } else if matches!(
            error,
            NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound
        ) {
            Self::NoDriver(error)
        } else {
            Self::Other(error)
        }
    }
}

/// Why a figure cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unreadable {
    /// The GPU does not answer any more.
    Lost,
    NoPermission,
    /// The driver's library is too old (or too new) to have the function.
    NotInLibrary,
    /// This GPU, or this GPU as it is set up, does not have it.
    NotSupported,
    /// The driver answered with some other failure.
    Failed,
}

impl Unreadable {
    fn from_answer(error: &NvmlError) -> Self {
        // The binding's enum has dozens of members, and grows.
        if matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired) {
            Self::Lost
        } else if matches!(error, NvmlError::NoPermission) {
            Self::NoPermission
        } else if matches!(error, NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound) {
            Self::NotInLibrary
        } else if matches!(error, NvmlError::NotSupported) {
            Self::NotSupported
        } else {
            Self::Failed
        }
    }
}

/// What one GPU tells and what it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    pub index: u32,
    pub name: Option<String>,
    pub memory: Option<Bytes>,
    /// It is divided into instances.
    pub mig: bool,
    /// Each figure, and why it cannot be read if so.
    pub figures: Vec<(&'static str, Result<(), Unreadable>)>,
}

impl Gpus {
    /// Opens the driver's library.
    ///
    /// # Errors
    /// Why there is no GPU to see.
    pub fn open() -> Result<Self, Unseen> {
        let library = std::env::var_os(LIBRARY_VARIABLE).unwrap_or_else(|| OsString::from(LIBRARY));
        let nvml = Nvml::builder().lib_path(&library).init().map_err(Unseen::from_answer)?;
        let count = nvml.device_count().map_err(Unseen::from_answer)?;
        Ok(Self { nvml, count })
    }

    #[must_use]
    pub fn driver(&self) -> Option<String> {
        self.nvml.sys_driver_version().ok()
    }

    /// What the GPUs are. One that was lost meanwhile is left out.
    #[must_use]
    pub fn facts(&self) -> Vec<GpuFacts> {
        let driver = self.driver();
        let one = |index| {
            let device = self.nvml.device_by_index(index).ok()?;
            Some(GpuFacts {
                index,
                name: device.name().unwrap_or_else(|_| "unknown GPU".to_owned()),
                memory_bytes: Bytes::new(device.memory_info().map_or(0, |memory| memory.total)),
                driver: driver.clone(),
            })
        };
        (0..self.count).filter_map(one).collect()
    }

    /// How they are now. One that was lost meanwhile says only that.
    #[must_use]
    pub fn sample(&self) -> Vec<GpuSample> {
        let one = |index| match self.nvml.device_by_index(index) {
            Ok(device) => sample(index, &device),
            Err(_) => GpuSample { index, lost: true, ..GpuSample::default() },
        };
        (0..self.count).map(one).collect()
    }

    /// What each of them tells.
    #[must_use]
    pub fn survey(&self) -> Vec<Survey> {
        let one = |index| match self.nvml.device_by_index(index) {
            Ok(device) => survey(index, &device),
            Err(error) => {
                let figures = vec![("everything", Err(Unreadable::from_answer(&error)))];
                Survey { index, name: None, memory: None, mig: false, figures }
            }
        };
        (0..self.count).map(one).collect()
    }
}

/// Takes answers apart: figures are kept, and whether any of them said that the GPU is lost.
#[derive(Default)]
struct Answers {
    lost: bool,
}

impl Answers {
    fn take<T>(&mut self, answer: Result<T, NvmlError>) -> Option<T> {
        if let Err(error) = &answer {
            self.lost |= Unreadable::from_answer(error) == Unreadable::Lost;
        }
        answer.ok()
    }
}

fn sample(index: u32, device: &Device<'_>) -> GpuSample {
    let mut answers = Answers::default();
    let per_thousand = |value: u32| f64::from(value) / 1000.0;
    let rates = answers.take(device.utilization_rates());
    let reasons = answers.take(device.current_throttle_reasons()).map(slowing_reasons);
    GpuSample {
        index,
        utilization_pct: rates.map(|rates| f64::from(rates.gpu)),
        memory_used: answers.take(device.memory_info()).map(|memory| Bytes::new(memory.used)),
        power_w: answers.take(device.power_usage()).map(per_thousand),
        temperature_c: answers.take(device.temperature(TemperatureSensor::Gpu)).map(f64::from),
        sm_clock_mhz: answers.take(device.clock_info(Clock::SM)).map(f64::from),
        energy_j: answers
            .take(device.total_energy_consumption())
            .map(|millijoules| millijoules as f64 / 1000.0),
        throttled: reasons.as_ref().map(|reasons| !reasons.is_empty()),
        throttle_reasons: reasons.unwrap_or_default(),
        process_ids: process_ids(device),
        mig: divided(device),
        lost: answers.lost,
    }
}

/// GPUs that cannot be divided do not know the question.
fn divided(device: &Device<'_>) -> Option<bool> {
    device.mig_mode().ok().map(|mode| mode.current != 0)
}

fn survey(index: u32, device: &Device<'_>) -> Survey {
    fn answered<T>(answer: &Result<T, NvmlError>) -> Result<(), Unreadable> {
        answer.as_ref().map(|_| ()).map_err(Unreadable::from_answer)
    }
    let memory = device.memory_info();
    Survey {
        index,
        name: device.name().ok(),
        figures: vec![
            ("utilization", answered(&device.utilization_rates())),
            ("memory", answered(&memory)),
            ("power", answered(&device.power_usage())),
            ("energy", answered(&device.total_energy_consumption())),
            ("temperature", answered(&device.temperature(TemperatureSensor::Gpu))),
            ("clocks", answered(&device.clock_info(Clock::SM))),
            ("throttling", answered(&device.current_throttle_reasons())),
            ("processes", answered(&device.running_compute_processes())),
        ],
        memory: memory.ok().map(|memory| Bytes::new(memory.total)),
        mig: divided(device) == Some(true),
    }
}

fn process_ids(device: &Device<'_>) -> Option<Vec<u32>> {
    let compute = device.running_compute_processes().ok();
    let graphics = device.running_graphics_processes().ok();
    if compute.is_none() && graphics.is_none() {
        return None;
    }
    let mut ids: Vec<u32> =
        compute.into_iter().chain(graphics).flatten().map(|process| process.pid).collect();
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

/// The reasons that mean "slower than it could be". Idling and clocks that somebody set on purpose
/// are reasons to the driver, too, but not to us.
fn slowing_reasons(reasons: ThrottleReasons) -> Vec<&'static str> {
    [
        (ThrottleReasons::SW_POWER_CAP, "sw_power_cap"),
        (ThrottleReasons::HW_SLOWDOWN, "hw_slowdown"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "sw_thermal_slowdown"),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hw_thermal_slowdown"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "hw_power_brake_slowdown"),
    ]
    .into_iter()
    .filter_map(|(reason, word)| reasons.contains(reason).then_some(word))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_and_chosen_clocks_are_not_throttling() {
        assert!(
            slowing_reasons(
                ThrottleReasons::GPU_IDLE | ThrottleReasons::APPLICATIONS_CLOCKS_SETTING
            )
            .is_empty()
        );
        let hot = ThrottleReasons::GPU_IDLE | ThrottleReasons::HW_THERMAL_SLOWDOWN;
        assert_eq!(slowing_reasons(hot), vec!["hw_thermal_slowdown"]);
    }

    #[test]
    fn a_missing_library_is_an_answer_and_no_failure() {
        let error =
            Nvml::builder().lib_path("/nonexistent/libnvidia-ml.so.1".as_ref()).init().unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
