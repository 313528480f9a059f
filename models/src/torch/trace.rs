//! Tracing a function over tch tensors to TorchScript, its weights kept as named parameters and buffers.
//!
//! tch's own tracing turns weights into constants of the graph, which cannot be counted, converted to
//! another precision or moved to another device.
#![expect(unsafe_code, reason = "a callback through C++, with tch's tensors as bare pointers")]

use std::{
    ffi::{c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
};

use tch::Tensor;

use super::{Module, TorchError, c_text, raw};

/// A named weight of the function.
pub(crate) struct TracedWeight {
    /// Dotted, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// The tensor that the function uses.
    pub tensor: Tensor,
    /// Whether it is a buffer and no parameter.
    pub is_buffer: bool,
}

/// Traces `run` over `input`; `name` becomes the class, `input_name` the argument of `forward`.
pub(crate) fn trace(
    name: &str,
    weights: &[TracedWeight],
    (input_name, input): (&str, &Tensor),
    mut run: &dyn Fn(&Tensor) -> Tensor,
) -> Result<Module, TorchError> {
    let (name, input_name) = (c_text(name)?, c_text(input_name)?);
    let names = weights.iter().map(|weight| c_text(&weight.name)).collect::<Result<Vec<_>, _>>()?;
    let raw_weights: Vec<raw::AssayWeight> = weights
        .iter()
        .zip(&names)
        .map(|(weight, name)| raw::AssayWeight {
            name: name.as_ptr(),
            tensor: weight.tensor.as_ptr().cast::<c_void>(),
            is_buffer: i32::from(weight.is_buffer),
        })
        .collect();
    // SAFETY: all pointers are valid for the call; `call` gets the context it expects.
    Module::made(|module| unsafe {
        raw::assay_module_trace(
            name.as_ptr(),
            raw_weights.as_ptr(),
            raw_weights.len(),
            input.as_ptr().cast::<c_void>(),
            input_name.as_ptr().cast::<c_char>(),
            call,
            (&raw mut run).cast::<c_void>(),
            module,
        )
    })
}

/// Runs the traced function.
///
/// # Safety
/// `context` points to a `&dyn Fn(&Tensor) -> Tensor` and `input` to an `at::Tensor`.
unsafe extern "C" fn call(context: *mut c_void, input: *const c_void) -> *mut c_void {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as promised by the caller; the tensor is a new reference to the same data.
        let (run, input) = unsafe {
            (
                &*context.cast::<&dyn Fn(&Tensor) -> Tensor>(),
                Tensor::clone_from_ptr(input.cast_mut().cast()),
            )
        };
        run(&input)
    }));
    match outcome {
        Ok(output) => std::mem::ManuallyDrop::new(output).as_ptr().cast_mut().cast::<c_void>(),
        Err(_) => std::ptr::null_mut(),
    }
}
