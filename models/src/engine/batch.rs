//! Joining requests along dimension 0 and splitting the answer again. Pure.

use bytes::{Bytes, BytesMut};

use crate::tensor::WireTensor;

/// The inputs of one request, in the order of `forward`'s arguments; `None` is an argument left out.
pub(super) type Inputs = Vec<Option<WireTensor>>;

/// How many rows (dimension 0) a request has; `None` when its inputs disagree or one is a scalar, so that
/// it cannot share a forward pass.
pub(super) fn rows(inputs: &Inputs) -> Option<i64> {
    let mut found = None;
    for tensor in inputs.iter().flatten() {
        let rows = *tensor.shape.first()?;
        if rows < 1 || found.is_some_and(|before| before != rows) {
            return None;
        }
        found = Some(rows);
    }
    found
}

/// The same, lent to a forward pass.
pub(super) fn borrowed(inputs: &Inputs) -> Vec<Option<&WireTensor>> {
    inputs.iter().map(Option::as_ref).collect()
}

/// Whether two requests differ in nothing but rows and values.
pub(super) fn alike(one: &Inputs, other: &Inputs) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|pair| match pair {
            (Some(one), Some(other)) => {
                one.dtype == other.dtype
                    && one.shape.len() == other.shape.len()
                    && one.shape.iter().zip(&other.shape).skip(1).all(|(a, b)| a == b)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
}

/// The requests below each other. All must be [`alike`].
pub(super) fn joined(requests: &[&Inputs]) -> Inputs {
    let Some((first, _)) = requests.split_first() else { return Vec::new() };
    let column =
        |index: usize| requests.iter().filter_map(move |inputs| inputs.get(index)?.as_ref());
    first
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let first = input.as_ref()?;
            let mut shape = first.shape.clone();
            if let Some(rows) = shape.first_mut() {
                *rows = column(index).filter_map(|tensor| tensor.shape.first()).sum();
            }
            let mut data =
                BytesMut::with_capacity(column(index).map(|tensor| tensor.data.len()).sum());
            column(index).for_each(|tensor| data.extend_from_slice(&tensor.data));
            Some(WireTensor {
                name: first.name.clone(),
                dtype: first.dtype,
                shape,
                data: data.freeze(),
            })
        })
        .collect()
}

/// The answer for each request, given the rows of each; `None` when an output does not have one row per
/// input row, so that nobody can tell whose it is.
pub(super) fn split(outputs: &[WireTensor], rows: &[i64]) -> Option<Vec<Vec<WireTensor>>> {
    let all: i64 = rows.iter().sum();
    if all < 1 || !outputs.iter().all(|output| output.shape.first() == Some(&all)) {
        return None;
    }
    let mut row = 0;
    rows.iter()
        .map(|&own| {
            let parts = outputs.iter().map(|output| slice_rows(output, row, own, all)).collect();
            row += own;
            parts
        })
        .collect()
}

fn slice_rows(output: &WireTensor, from: i64, count: i64, all: i64) -> Option<WireTensor> {
    let row_bytes = output.data.len() / usize::try_from(all).ok()?;
    let start = row_bytes.checked_mul(usize::try_from(from).ok()?)?;
    let end = start.checked_add(row_bytes.checked_mul(usize::try_from(count).ok()?)?)?;
    let mut shape = output.shape.clone();
    *shape.first_mut()? = count;
    let data = if end <= output.data.len() { output.data.slice(start..end) } else { Bytes::new() };
    Some(WireTensor { name: output.name.clone(), dtype: output.dtype, shape, data })
}

#[cfg(test)]
mod tests {
    use assay_measure::input_spec::DType;
    use proptest::prelude::*;

    use super::*;

    fn bytes_tensor(shape: &[i64], seed: u8) -> WireTensor {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        let data = (0..count)
            .map(|i| u8::try_from(i % 251).unwrap().wrapping_add(seed))
            .collect::<Vec<_>>();
        WireTensor {
            name: "x".to_owned(),
            dtype: DType::Uint8,
            shape: shape.to_vec(),
            data: data.into(),
        }
    }

    proptest! {
        #[test]
        fn splitting_undoes_joining(rows in prop::collection::vec(1i64..5, 1..6), width in 0i64..4) {
            let requests: Vec<Inputs> =
                rows.iter().zip(0u8..).map(|(&rows, i)| vec![Some(bytes_tensor(&[rows, width, 2], i))]).collect();
            let all = joined(&requests.iter().collect::<Vec<_>>());
            let outputs: Vec<WireTensor> = all.into_iter().flatten().collect();
            let parts = split(&outputs, &rows).unwrap();
            let expected: Vec<Vec<WireTensor>> =
                requests.into_iter().map(|inputs| inputs.into_iter().flatten().collect()).collect();
            prop_assert_eq!(parts, expected);
        }
    }

    #[test]
    fn an_output_without_a_row_per_input_row_is_not_split() {
        assert!(split(&[bytes_tensor(&[4, 2], 0), bytes_tensor(&[1], 0)], &[2, 2]).is_none());
        assert!(split(&[bytes_tensor(&[], 0)], &[1, 1]).is_none());
    }

    #[test]
    fn only_requests_of_equal_type_and_trailing_shape_are_alike() {
        let base = vec![Some(bytes_tensor(&[1, 3], 0))];
        assert!(alike(&base, &vec![Some(bytes_tensor(&[2, 3], 9))]));
        assert!(!alike(&base, &vec![Some(bytes_tensor(&[1, 4], 0))]));
        assert!(!alike(&base, &vec![Some(bytes_tensor(&[1, 3, 1], 0))]));
        assert!(!alike(
            &base,
            &vec![Some(WireTensor { dtype: DType::Int8, ..bytes_tensor(&[1, 3], 0) })]
        ));
        assert!(!alike(&base, &vec![None]));
    }

    #[test]
    fn a_scalar_or_uneven_rows_keep_a_request_alone() {
        assert_eq!(
            rows(&vec![Some(bytes_tensor(&[2, 3], 0)), None, Some(bytes_tensor(&[2], 0))]),
            Some(2)
        );
        assert_eq!(rows(&vec![Some(bytes_tensor(&[2, 3], 0)), Some(bytes_tensor(&[3], 0))]), None);
        assert_eq!(rows(&vec![Some(bytes_tensor(&[], 0))]), None);
        assert_eq!(rows(&vec![]), None);
    }
}
