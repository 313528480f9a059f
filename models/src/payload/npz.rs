//! NumPy's `.npz` format: a zip archive of `.npy` files whose names are the inputs' names.
//!
//! Stored members share the body's memory, deflated ones are inflated under the size limit.

use std::io::{Cursor, Read};

use bytes::Bytes;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{ContentType, ExpectedInput, PayloadError, expected_for, npy};
use crate::tensor::WireTensor;

const MAX_MEMBERS: usize = 64;

pub(super) fn decode(
    body: &Bytes,
    expected: &[ExpectedInput],
    limit_bytes: usize,
) -> Result<Vec<WireTensor>, PayloadError> {
    let mut archive =
        ZipArchive::new(Cursor::new(body.as_ref())).map_err(|error| in_archive(&error))?;
    if archive.is_empty() || archive.len() > MAX_MEMBERS {
        let reason = format!("it holds {} arrays; 1 to {MAX_MEMBERS} are allowed", archive.len());
        return Err(PayloadError::malformed(ContentType::Npz, "in the archive", reason));
    }
    let mut left = limit_bytes;
    (0..archive.len())
        .map(|index| {
            let (name, bytes) = member(&mut archive, index, body, left, limit_bytes)?;
            left -= bytes.len();
            let input = expected_for(&name, index, expected);
            let tensor = npy::decode(&bytes, input).map_err(|error| in_member(&name, error))?;
            Ok(WireTensor { name, ..tensor })
        })
        .collect()
}

/// One member's name, without `.npy`, and its bytes.
fn member(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    index: usize,
    body: &Bytes,
    left: usize,
    limit_bytes: usize,
) -> Result<(String, Bytes), PayloadError> {
    let mut file = archive.by_index(index).map_err(|error| in_archive(&error))?;
    let file_name = file.name().map_err(|error| in_archive(&error))?.into_owned();
    let malformed = |reason: String| {
        PayloadError::malformed(ContentType::Npz, format!("at member {file_name:?}"), reason)
    };
    let unnamed = || malformed("its name does not end in .npy".to_owned());
    let name = file_name.strip_suffix(".npy").ok_or_else(unnamed)?;
    let too_large = |size: u64| PayloadError::too_many_bytes(ContentType::Npz, size, limit_bytes);
    let declared = usize::try_from(file.size()).map_err(|_| too_large(file.size()))?;
    if declared > left {
        return Err(too_large(limit_bytes as u64 - left as u64 + declared as u64));
    }
    if file.compression() == CompressionMethod::Stored
        && !file.encrypted()
        && file.compressed_size() == file.size()
    {
        let start = file.data_start().and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| {
            Some(start..start.checked_add(declared).filter(|&end| end <= body.len())?)
        });
        if let Some(range) = range {
            return Ok((name.to_owned(), body.slice(range)));
        }
    }
    let mut bytes = Vec::with_capacity(declared);
    let read = file.by_ref().take(left as u64 + 1).read_to_end(&mut bytes);
    let read = read.map_err(|error| malformed(error.to_string()))?;
    // The directory may lie about the size: what counts is what came out.
    if read > left {
        return Err(too_large(limit_bytes as u64 + 1));
    }
    Ok((name.to_owned(), bytes.into()))
}

fn in_archive(error: &ZipError) -> PayloadError {
    PayloadError::malformed(ContentType::Npz, "in the archive", error.to_string())
}

fn in_member(name: &str, error: PayloadError) -> PayloadError {
    let PayloadError::Malformed { place, reason, .. } = error else { return error };
    PayloadError::malformed(ContentType::Npz, format!("{place} of {name:?}"), reason)
}
