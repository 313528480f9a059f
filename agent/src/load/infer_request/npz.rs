//! `.npz`: a zip archive of `.npy` files, whose names are those of the tensors.

use std::{
    fmt::Display,
    io::{Cursor, Read},
};

use assay_measure::{input_spec::InputSpec, payload_file::BODY_LIMIT};
use bytes::Bytes;
use zip::ZipArchive;

use super::{RequestError, Tensor, npy, positional_name};

pub(super) fn tensors(body: &Bytes, inputs: &[InputSpec]) -> Result<Vec<Tensor>, RequestError> {
    let mut archive = ZipArchive::new(Cursor::new(body.as_ref())).map_err(bad)?;
    let mut left = BODY_LIMIT;
    let mut tensors = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(bad)?;
        let file_name = member.name().map_err(bad)?.into_owned();
        let Some(name) = file_name.strip_suffix(".npy") else {
            return Err(bad(format!("its member {file_name:?} is no .npy file")));
        };
        let mut bytes = Vec::new();
        member.by_ref().take(left + 1).read_to_end(&mut bytes).map_err(bad)?;
        // The directory may lie about the size: what counts is what came out.
        let rest = left.checked_sub(bytes.len() as u64);
        left = rest.ok_or_else(|| bad(format!("it inflates beyond {BODY_LIMIT} bytes")))?;
        let tensor = npy(&Bytes::from(bytes), None)?;
        tensors.push(Tensor { name: name.to_owned(), ..tensor });
    }
    if tensors.is_empty() {
        return Err(bad("it holds no arrays"));
    }
    name_by_position(&mut tensors, inputs);
    Ok(tensors)
}

fn bad(reason: impl Display) -> RequestError {
    RequestError::unreadable(".npz file", reason.to_string())
}

/// Arrays that were saved without names (`arr_0`) take those of the declared inputs, in order.
fn name_by_position(tensors: &mut [Tensor], inputs: &[InputSpec]) {
    let is_declared =
        |tensor: &Tensor| inputs.iter().any(|input| input.name() == Some(&tensor.name));
    if inputs.is_empty() || tensors.iter().any(is_declared) {
        return;
    }
    for (index, tensor) in tensors.iter_mut().enumerate() {
        tensor.name = positional_name(inputs.get(index), index);
    }
}
