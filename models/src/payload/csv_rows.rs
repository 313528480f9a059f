//! `text/csv`: one row per item, one number per cell, no header row.
//!
//! Without a declared shape the tensor is `[rows, columns]`; a row that holds as many numbers as one
//! declared item takes the item's shape, and a body that holds exactly the declared tensor takes its.

use assay_measure::input_spec::DType;
use bytes::Bytes;
use half::{bf16, f16};

use super::{ContentType, ExpectedInput, PayloadError};
use crate::tensor::WireTensor;

pub(super) fn decode(
    body: &Bytes,
    expected: Option<&ExpectedInput>,
    limit_bytes: usize,
) -> Result<WireTensor, PayloadError> {
    let dtype = expected.and_then(|input| input.dtype).unwrap_or(DType::Float32);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(body.as_ref());
    let mut record = csv::StringRecord::new();
    let (mut data, mut rows, mut columns) = (Vec::new(), 0usize, 0usize);
    while reader
        .read_record(&mut record)
        .map_err(|error| malformed("in the text", error.to_string()))?
    {
        rows += 1;
        if rows == 1 {
            columns = record.len();
        } else if record.len() != columns {
            let reason = format!("it has {} columns, the first row has {columns}", record.len());
            return Err(malformed(&format!("in row {rows}"), reason));
        }
        for (index, cell) in record.iter().enumerate() {
            append(&mut data, cell, dtype)
                .map_err(|reason| wrong_cell(cell, rows, index + 1, dtype, reason))?;
        }
        if data.len() > limit_bytes {
            return Err(PayloadError::too_many_bytes(
                ContentType::Csv,
                data.len() as u64,
                limit_bytes,
            ));
        }
    }
    if rows == 0 {
        return Err(malformed("at the start", "it has no rows"));
    }
    let shape = shape_of(rows, columns, expected.and_then(|input| input.shape.as_deref()));
    Ok(WireTensor { name: String::new(), dtype, shape, data: data.into() })
}

fn malformed(place: &str, reason: impl Into<String>) -> PayloadError {
    PayloadError::malformed(ContentType::Csv, place, reason)
}

fn wrong_cell(
    cell: &str,
    row: usize,
    column: usize,
    dtype: DType,
    reason: &'static str,
) -> PayloadError {
    let header = if row == 1 && !cell.is_empty() { " (the format has no header row)" } else { "" };
    PayloadError::WrongElement {
        value: format!("{:?}", cell.chars().take(40).collect::<String>()),
        place: format!("in row {row}, column {column}"),
        dtype,
        reason: format!("{reason}{header}"),
    }
}

fn append(data: &mut Vec<u8>, cell: &str, dtype: DType) -> Result<(), &'static str> {
    const FLOAT: &str = "it is no number";
    const INTEGER: &str = "it is no integer in range";
    match dtype {
        DType::Float64 => data.extend(cell.parse::<f64>().map_err(|_| FLOAT)?.to_le_bytes()),
        DType::Float32 => data.extend(cell.parse::<f32>().map_err(|_| FLOAT)?.to_le_bytes()),
        DType::Float16 => {
            data.extend(f16::from_f64(cell.parse().map_err(|_| FLOAT)?).to_le_bytes())
        }
        DType::Bfloat16 => {
            data.extend(bf16::from_f64(cell.parse().map_err(|_| FLOAT)?).to_le_bytes())
        }
        DType::Int64 => data.extend(cell.parse::<i64>().map_err(|_| INTEGER)?.to_le_bytes()),
        DType::Int32 => data.extend(cell.parse::<i32>().map_err(|_| INTEGER)?.to_le_bytes()),
        DType::Int16 => data.extend(cell.parse::<i16>().map_err(|_| INTEGER)?.to_le_bytes()),
        DType::Int8 => data.extend(cell.parse::<i8>().map_err(|_| INTEGER)?.to_le_bytes()),
        DType::Uint8 => data.push(cell.parse::<u8>().map_err(|_| INTEGER)?),
        DType::Bool => data.push(match cell {
            "0" | "false" | "False" => 0,
            "1" | "true" | "True" => 1,
            _ => return Err("it is neither true, false, 0 nor 1"),
        }),
    }
    Ok(())
}

fn shape_of(rows: usize, columns: usize, declared: Option<&[i64]>) -> Vec<i64> {
    let as_dim = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let as_written = vec![as_dim(rows), as_dim(columns)];
    let Some(declared) = declared else { return as_written };
    let product = |dims: &[i64]| {
        dims.iter().try_fold(1i64, |all, &dim| all.checked_mul(dim)).filter(|&n| n >= 0)
    };
    if product(declared) == Some(as_dim(rows * columns)) && declared.len() != 2 {
        return declared.to_vec();
    }
    match declared.split_first() {
        Some((_, item)) if !item.is_empty() && product(item) == Some(as_dim(columns)) => {
            std::iter::once(as_dim(rows)).chain(item.iter().copied()).collect()
        }
        _ if product(declared) == Some(as_dim(rows * columns)) => declared.to_vec(),
        _ => as_written,
    }
}
