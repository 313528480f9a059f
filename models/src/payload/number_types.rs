//! Which element types the numbers of a text become where nobody has declared them.
//!
//! JSON and CSV do not say whether `5` is a token's number or a measured value, and models differ: an
//! embedding takes only int64, a linear layer only its own float type. So a body is first read as it is
//! written (JSON: whole numbers are int64, others float32; CSV: float32). If the model raises on that, it is
//! tried with the same numbers as other types, and what it takes then is remembered and used from then on.
//! A model that takes numbers as they are written gets them so.
//!
//! Only types that can hold every number of the body are tried, and none any more once the model has taken the
//! types at hand: then its complaint is about something else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock},
};

use assay_measure::input_spec::DType;
use bytes::Bytes;

use super::{ContentType, DecodeSettings, ExpectedInput, PayloadError, decode, expected_for};
use crate::tensor::WireTensor;

/// What all undeclared inputs are tried as, in this order.
const ALL_AS: [DType; 6] =
    [DType::Float32, DType::Int64, DType::Float64, DType::Float16, DType::Bfloat16, DType::Int32];
/// Up to so many inputs are tried in every mixture of int64 and float32.
const MOST_MIXED: usize = 4;
/// Callers choose the names of arrays: so many sets of them are remembered at most.
const MOST_REMEMBERED: usize = 64;

/// The names of a body's tensors, which may be empty, in order.
type Names = Vec<String>;

/// What was found out about a model.
#[derive(Debug, Default)]
pub(crate) struct NumberTypes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Found by trying, after the model had refused what was written.
    wanted: BTreeMap<Names, Vec<DType>>,
    accepted: BTreeSet<(Names, Vec<DType>)>,
}

/// A body's tensors, and what of their types was left open.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) tensors: Vec<WireTensor>,
    pub(crate) open: Option<Open>,
}

/// A reading whose types the model has yet to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    names: Names,
    dtypes: Vec<DType>,
    /// Which of them nobody has declared.
    undeclared: Vec<bool>,
}

impl NumberTypes {
    /// Decodes a body, numbers without a declared type as the model was found to want them.
    pub(crate) fn decode(
        &self,
        content_type: ContentType,
        body: &Bytes,
        expected: &[ExpectedInput],
        settings: &DecodeSettings,
    ) -> Result<Decoded, PayloadError> {
        let is_text =
            matches!(content_type, ContentType::Json | ContentType::JsonLines | ContentType::Csv);
        let all_declared =
            !expected.is_empty() && expected.iter().all(|input| input.dtype.is_some());
        if !is_text || all_declared {
            let tensors = decode(content_type, body, expected, settings)?;
            return Ok(Decoded { tensors, open: None });
        }
        if let Some(tensors) = self.decode_as_wanted(content_type, body, expected, settings) {
            return Ok(Decoded { tensors, open: None });
        }
        let tensors = decode(content_type, body, expected, settings)?;
        let open = self.open(&tensors, expected);
        Ok(Decoded { tensors, open })
    }

    /// `None` when nothing is known of such a body, or what is known does not suit its numbers.
    fn decode_as_wanted(
        &self,
        content_type: ContentType,
        body: &Bytes,
        expected: &[ExpectedInput],
        settings: &DecodeSettings,
    ) -> Option<Vec<WireTensor>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.wanted.iter().find_map(|(names, dtypes)| {
            let typed = typed(names, dtypes, expected);
            let tensors = decode(content_type, body, &typed, settings).ok()?;
            tensors.iter().map(|tensor| &tensor.name).eq(names).then_some(tensors)
        })
    }

    fn open(&self, tensors: &[WireTensor], expected: &[ExpectedInput]) -> Option<Open> {
        let names: Names = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        let dtypes: Vec<DType> = tensors.iter().map(|tensor| tensor.dtype).collect();
        let undeclared: Vec<bool> = tensors
            .iter()
            .enumerate()
            .map(|(index, tensor)| {
                let input = expected_for(&tensor.name, index, expected);
                input.and_then(|input| input.dtype).is_none() && tensor.dtype != DType::Bool
            })
            .collect();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let place = (names, dtypes);
        let settled = !undeclared.contains(&true) || known.accepted.contains(&place);
        let (names, dtypes) = place;
        (!settled).then_some(Open { names, dtypes, undeclared })
    }

    /// The model has taken a reading.
    pub(crate) fn accepted(&self, open: Open) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.accepted.len() < MOST_REMEMBERED {
            known.accepted.insert((open.names, open.dtypes));
        }
    }

    /// The model has refused a reading, and taken these types instead.
    pub(crate) fn wants(&self, open: Open, dtypes: Vec<DType>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.wanted.len() < MOST_REMEMBERED {
            tracing::info!(?dtypes, "numbers without a declared type are taken as the model wants");
            known.wanted.insert(open.names, dtypes);
        }
    }
}

impl Open {
    /// The types to try when the model has refused this reading, the likeliest first.
    pub(crate) fn others(&self) -> Vec<Vec<DType>> {
        let open: Vec<usize> = (0..self.dtypes.len()).filter(|&i| self.undeclared[i]).collect();
        let with = |types: &dyn Fn(usize) -> DType| {
            let mut dtypes = self.dtypes.clone();
            for (nth, &index) in open.iter().enumerate() {
                dtypes[index] = types(nth);
            }
            dtypes
        };
        let mut others: Vec<Vec<DType>> = ALL_AS.iter().map(|&dtype| with(&|_| dtype)).collect();
        if (2..=MOST_MIXED).contains(&open.len()) {
            let mixtures = (1..(1_usize << open.len()) - 1).map(|mixture| {
                with(&|nth| {
                    if mixture >> nth & 1 == 1 { DType::Float32 } else { DType::Int64 }
                })
            });
            others.extend(mixtures);
        }
        others.retain(|other| *other != self.dtypes);
        others
    }

    /// What a decoder has to expect for a body to be read so.
    pub(crate) fn expecting(
        &self,
        dtypes: &[DType],
        expected: &[ExpectedInput],
    ) -> Vec<ExpectedInput> {
        typed(&self.names, dtypes, expected)
    }
}

fn typed(names: &[String], dtypes: &[DType], expected: &[ExpectedInput]) -> Vec<ExpectedInput> {
    names
        .iter()
        .zip(dtypes)
        .enumerate()
        .map(|(index, (name, &dtype))| {
            let base = expected_for(name, index, expected).cloned().unwrap_or_default();
            ExpectedInput {
                name: (!name.is_empty()).then(|| name.clone()).or(base.name),
                dtype: base.dtype.or(Some(dtype)),
                ..base
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(types: &NumberTypes, content_type: ContentType, body: &'static str) -> Decoded {
        let settings = DecodeSettings::default();
        types.decode(content_type, &Bytes::from(body), &[], &settings).unwrap()
    }

    fn dtypes(decoded: &Decoded) -> Vec<DType> {
        decoded.tensors.iter().map(|tensor| tensor.dtype).collect()
    }

    #[test]
    fn what_the_model_was_found_to_want_is_used_where_the_numbers_allow_it() {
        let types = NumberTypes::default();
        let whole = read(&types, ContentType::Json, "[[5, 3]]");
        assert_eq!(dtypes(&whole), [DType::Int64]);
        let open = whole.open.unwrap();
        assert_eq!(open.others()[0], [DType::Float32]);
        types.wants(open, vec![DType::Float32]);
        assert_eq!(dtypes(&read(&types, ContentType::Json, "[[5, 3]]")), [DType::Float32]);

        let tokens = NumberTypes::default();
        let open = read(&tokens, ContentType::Csv, "5,3").open.unwrap();
        assert_eq!(open.dtypes, [DType::Float32]);
        tokens.wants(open, vec![DType::Int64]);
        assert_eq!(dtypes(&read(&tokens, ContentType::Csv, "5,3")), [DType::Int64]);
        // No int64 holds this.
        assert_eq!(dtypes(&read(&tokens, ContentType::Csv, "5.5,3")), [DType::Float32]);
    }

    #[test]
    fn nothing_is_tried_once_the_model_has_taken_the_types() {
        let types = NumberTypes::default();
        let open = read(&types, ContentType::Json, "[[5, 3]]").open.unwrap();
        types.accepted(open);
        assert_eq!(read(&types, ContentType::Json, "[[7, 8]]").open, None);
        assert!(read(&types, ContentType::Json, "[[0.5]]").open.is_some());
        assert_eq!(read(&types, ContentType::Json, "[true]").open, None);
    }

    #[test]
    fn inputs_are_tried_alike_first_and_then_mixed() {
        let types = NumberTypes::default();
        let body = r#"{"features": [[1, 2]], "lengths": [2]}"#;
        let open = read(&types, ContentType::Json, body).open.unwrap();
        let others = open.others();
        assert_eq!(others[0], [DType::Float32, DType::Float32]);
        assert!(others.contains(&vec![DType::Float32, DType::Int64]), "{others:?}");
        assert!(!others.contains(&open.dtypes));
    }
}
