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
};

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
    /// Its index on the machine.
    pub index: u32,
    /// Share of the last moments in which a kernel ran, per cent.
    pub utilization_pct: Option<f64>,
    /// Memory in use.
    pub memory_used: Option<Bytes>,
    /// Power in watts.
    pub power_w: Option<f64>,
    /// Degrees Celsius.
    pub temperature_c: Option<f64>,
    /// SM clock in MHz.
    pub sm_clock_mhz: Option<f64>,
    /// Energy since the driver was loaded, in joules.
    pub energy_j: Option<f64>,
    /// Reasons for throttling, in the driver's words.
    pub throttle_reasons: Vec<&'static str>,
    /// Processes that hold a context on it.
    pub process_ids: Option<Vec<u32>>,
}

impl Gpus {
    /// Opens the driver's library.
    ///
    /// # Errors
    /// Why there is no GPU to see, as one line for people.
    pub fn open() -> Result<Self, String> {
        let library = std::env::var_os(LIBRARY_VARIABLE).unwrap_or_else(|| OsString::from(LIBRARY));
        let nvml = Nvml::builder().lib_path(&library).init().map_err(|error| error.to_string())?;
        let count = nvml.device_count().map_err(|error| error.to_string())?;
        Ok(Self { nvml, count })
    }

    /// The driver's version.
    #[must_use]
    pub fn driver(&self) -> Option<String> {
        self.nvml.sys_driver_version().ok()
    }

    /// What the GPUs are. One that was lost meanwhile is left out.
    #[must_use]
    pub fn facts(&self) -> Vec<GpuFacts> {
        let driver = self.driver();
        self.devices()
            .map(|(index, device)| GpuFacts {
                index,
                name: device.name().unwrap_or_else(|_| "unknown GPU".to_owned()),
                memory_bytes: Bytes::new(device.memory_info().map_or(0, |memory| memory.total)),
                driver: driver.clone(),
            })
            .collect()
    }

    /// How they are now. One that was lost meanwhile is left out.
    #[must_use]
    pub fn sample(&self) -> Vec<GpuSample> {
        self.devices().map(|(index, device)| sample(index, &device)).collect()
    }

    fn devices(&self) -> impl Iterator<Item = (u32, Device<'_>)> {
        (0..self.count).filter_map(|index| Some((index, self.nvml.device_by_index(index).ok()?)))
    }
}

fn sample(index: u32, device: &Device<'_>) -> GpuSample {
    let per_thousand = |value: u32| f64::from(value) / 1000.0;
    GpuSample {
        index,
        utilization_pct: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu)),
        memory_used: device.memory_info().ok().map(|memory| Bytes::new(memory.used)),
        power_w: device.power_usage().ok().map(per_thousand),
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        sm_clock_mhz: device.clock_info(Clock::SM).ok().map(f64::from),
        energy_j: device
            .total_energy_consumption()
            .ok()
            .map(|millijoules| millijoules as f64 / 1000.0),
        throttle_reasons: device
            .current_throttle_reasons()
            .map(slowing_reasons)
            .unwrap_or_default(),
        process_ids: process_ids(device),
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
