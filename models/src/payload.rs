//! Payloads: from a content type and a body to named tensors.
//!
//! Pure: nothing here reads a socket, a clock or libtorch, and no input makes it panic. Whether the
//! tensors fit the model (count, names, element types, shapes) is the engine's question; decoders use
//! what is known of the model only where the format leaves something open, such as the element type of
//! a JSON number. Where the format allows it, tensors share the body's memory.

mod csv_rows;
mod image_file;
mod image_layout;
mod json;
mod json_lines;
mod npy;
mod npz;
mod number_types;
mod raw;

use std::fmt;

use assay_measure::input_spec::{DType, InputSpec};
use bytes::Bytes;
use thiserror::Error;

pub(crate) use self::image_file::ImageSettings;
pub(crate) use self::json::NumberArray;
pub(crate) use self::number_types::{Decoded, NumberTypes, Open};
use crate::{engine::InputFacts, tensor::WireTensor};

// Wire tensors are little-endian, and so is the memory of every machine that libtorch is built for.
const _: () = assert!(cfg!(target_endian = "little"));

/// A payload format that the host understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ContentType {
    /// One array as NumPy saves it.
    Npy,
    /// Several named arrays as `numpy.savez` saves them.
    Npz,
    /// Nested arrays of numbers, or named ones in an object.
    Json,
    /// One such document on each line, joined along the first dimension.
    JsonLines,
    Csv,
    /// The bare elements of one tensor whose type and shape were declared.
    OctetStream,
    Jpeg,
    Png,
    WebP,
    Bmp,
    /// A picture of any of these encodings, told by its first bytes.
    Image,
}

/// Other names that clients use.
const ALSO_KNOWN_AS: [(&str, ContentType); 5] = [
    ("image/jpg", ContentType::Jpeg),
    ("image/x-ms-bmp", ContentType::Bmp),
    ("application/jsonl", ContentType::JsonLines),
    ("application/x-jsonlines", ContentType::JsonLines),
    ("application/x-ndjson", ContentType::JsonLines),
];

impl ContentType {
    pub(crate) const ALL: [Self; 11] = [
        Self::Npy,
        Self::Npz,
        Self::Json,
        Self::JsonLines,
        Self::Csv,
        Self::OctetStream,
        Self::Jpeg,
        Self::Png,
        Self::WebP,
        Self::Bmp,
        Self::Image,
    ];

    /// Reads a `Content-Type` header; parameters such as `charset` are tolerated.
    pub(crate) fn parse(header: &str) -> Result<Self, UnknownContentType> {
        let essence = header.split(';').next().unwrap_or_default().trim();
        let same = |known: &str| essence.eq_ignore_ascii_case(known);
        let also = ALSO_KNOWN_AS.into_iter().find(|(name, _)| same(name)).map(|(_, format)| format);
        also.or_else(|| Self::ALL.into_iter().find(|format| same(format.as_str())))
            .ok_or_else(|| UnknownContentType(header.to_owned()))
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Npy => "application/x-npy",
            Self::Npz => "application/x-npz",
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonlines",
            Self::Csv => "text/csv",
            Self::OctetStream => "application/octet-stream",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Bmp => "image/bmp",
            Self::Image => "application/x-image",
        }
    }

    /// Whether decoding a body of this size is work that must not hold up other connections.
    pub(crate) const fn is_slow_to_decode(self, body_bytes: usize) -> bool {
        match self {
            Self::Npy | Self::OctetStream => false,
            Self::Json | Self::JsonLines | Self::Csv | Self::Npz => body_bytes > 16 * 1024,
            Self::Jpeg | Self::Png | Self::WebP | Self::Bmp | Self::Image => true,
        }
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A `Content-Type` names no format that the host understands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("content type {0:?} is not understood; known are {list}", list = ContentType::ALL.map(ContentType::as_str).join(", "))]
pub(crate) struct UnknownContentType(pub String);

/// What is known about one input of the model before the payload is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpectedInput {
    pub name: Option<String>,
    /// Its element type, when declared.
    pub dtype: Option<DType>,
    /// Its shape, when declared; -1 is a free dimension.
    pub shape: Option<Vec<i64>>,
    /// What the first dimension was declared as, where the shape has it free because requests may batch.
    pub declared_first: Option<i64>,
}

impl From<&InputSpec> for ExpectedInput {
    fn from(spec: &InputSpec) -> Self {
        Self {
            name: spec.name().map(str::to_owned),
            dtype: Some(spec.dtype()),
            shape: spec.shape().iter().map(|&dim| i64::try_from(dim).ok()).collect(),
            declared_first: None,
        }
    }
}

impl From<&InputFacts> for ExpectedInput {
    fn from(facts: &InputFacts) -> Self {
        Self {
            name: Some(facts.name.clone()),
            dtype: facts.dtype,
            shape: facts.shape.clone(),
            declared_first: None,
        }
    }
}

/// What to expect of a model: what its signature tells, or else what was declared.
pub(crate) fn expected(declared: &[InputSpec], inputs: &[InputFacts]) -> Vec<ExpectedInput> {
    if inputs.is_empty() {
        return declared.iter().map(ExpectedInput::from).collect();
    }
    let with_first = |(index, facts): (usize, &InputFacts)| {
        let named = declared.iter().find(|spec| spec.name() == Some(&facts.name));
        let first = named.or(declared.get(index)).and_then(|spec| spec.shape().first().copied());
        let declared_first = first.and_then(|first| i64::try_from(first).ok());
        ExpectedInput { declared_first, ..ExpectedInput::from(facts) }
    };
    inputs.iter().enumerate().map(with_first).collect()
}

/// The input that an array is for: by name, or else by its place.
fn expected_for<'a>(
    name: &str,
    index: usize,
    expected: &'a [ExpectedInput],
) -> Option<&'a ExpectedInput> {
    let named =
        expected.iter().find(|input| !name.is_empty() && input.name.as_deref() == Some(name));
    named.or(expected.get(index))
}

#[derive(Clone, Debug, PartialEq)]
pub struct DecodeSettings {
    pub image: ImageSettings,
    /// The largest size, in bytes, of all decoded tensors together: a small archive can hold a large one.
    pub limit_bytes: usize,
}

impl Default for DecodeSettings {
    fn default() -> Self {
        Self { image: ImageSettings::default(), limit_bytes: 256 * 1024 * 1024 }
    }
}

/// Why a body is not a payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PayloadError {
    #[error("the {format} body is malformed {place}: {reason}")]
    Malformed {
        format: ContentType,
        /// Where, in the format's own terms, preposition included: `in the header`, `at [0][3]`.
        place: String,
        reason: String,
    },
    /// A value cannot be an element of the expected type.
    #[error("{value} {place} cannot be {dtype}: {reason}")]
    WrongElement { value: String, place: String, dtype: DType, reason: String },
    /// The size of the body does not fit the declared input.
    #[error("the {format} body does not fit the declared input {declared}: {reason}")]
    WrongSize { format: ContentType, declared: String, reason: String },
    /// The format says nothing about type and shape, and neither does a declaration.
    #[error(
        "{format} needs {what}: declare inputs with --input NAME=DTYPE[SHAPE], for SageMaker with DataInputConfig"
    )]
    Undeclared { format: ContentType, what: &'static str },
    #[error("the {format} body holds {size}, more than the limit of {limit}")]
    TooLarge { format: ContentType, size: String, limit: String },
}

impl PayloadError {
    fn malformed(format: ContentType, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { format, place: place.into(), reason: reason.into() }
    }

    fn too_many_bytes(format: ContentType, size: u64, limit: usize) -> Self {
        Self::TooLarge { format, size: format!("{size} bytes"), limit: format!("{limit} bytes") }
    }
}

/// Reads the tensors of a payload.
pub(crate) fn decode(
    content_type: ContentType,
    body: &Bytes,
    expected: &[ExpectedInput],
    settings: &DecodeSettings,
) -> Result<Vec<WireTensor>, PayloadError> {
    let one = |tensor: WireTensor| vec![tensor];
    match content_type {
        ContentType::Npy => npy::decode(body, expected.first()).map(one),
        ContentType::Npz => npz::decode(body, expected, settings.limit_bytes),
        ContentType::Json => json::decode(body, expected, settings.limit_bytes),
        ContentType::JsonLines => json_lines::decode(body, expected, settings.limit_bytes),
        ContentType::Csv => csv_rows::decode(body, expected.first(), settings.limit_bytes).map(one),
        ContentType::OctetStream => raw::decode(body, expected).map(one),
        ContentType::Jpeg
        | ContentType::Png
        | ContentType::WebP
        | ContentType::Bmp
        | ContentType::Image => {
            image_file::decode(content_type, body, expected.first(), &settings.image).map(one)
        }
    }
}

#[cfg(test)]
mod tests;
