//! Finding the device at run time: the same program runs with and without CUDA.

use assay_measure::configuration::Device;

use super::EngineError;
use crate::torch;

/// Makes the device usable, or says why it is not.
pub(super) fn open(device: Device) -> Result<(), EngineError> {
    let Device::Cuda(index) = device else { return Ok(()) };
    let failed = |message: String| EngineError::Device { device, message };
    torch::load_cuda_library().map_err(|error| failed(error.to_string()))?;
    match torch::cuda_devices() {
        0 => Err(failed("libtorch sees no CUDA device (no GPU, or no driver)".to_owned())),
        count if u32::from(index) >= count => {
            Err(failed(format!("libtorch sees {count} CUDA device(s), from cuda:0")))
        }
        _ => Ok(()),
    }
}
