//! Finding the device at run time: the same program runs with and without CUDA.

use std::num::NonZeroU32;

use assay_measure::configuration::Device;

use super::EngineError;
use crate::torch::{self, TorchError};

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

/// What libtorch keeps for each thread that calls it.
pub(crate) fn set_up_thread(
    device: Device,
    intra_op_threads: NonZeroU32,
) -> Result<(), TorchError> {
    torch::set_intra_op_threads(intra_op_threads.get());
    match device {
        Device::Cpu => Ok(()),
        Device::Cuda(index) => torch::use_own_stream(index),
    }
}
