//! `application/json`: nested arrays of numbers.
//!
//! `[[1, 2], [3, 4]]` is one unnamed tensor, `{"inputs": …}` and `{"instances": …}` wrap one or an
//! object of named ones, any other object is named arrays. Arrays are read straight into one flat list,
//! so a large body costs no tree of values. The expected element type decides what numbers become;
//! without one, integers are int64, other numbers float32, and true and false bool.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{ContentType, ExpectedInput, PayloadError, expected_for};
use crate::tensor::WireTensor;

mod scalars;

use self::scalars::Scalar;

const MAX_DIMENSIONS: usize = 8;
/// The most numbers in an array inside another document.
const MAX_NUMBERS: usize = 16 * 1024 * 1024;
/// Keys that other servers' clients send beside the arrays and that change nothing here.
const IGNORED_KEYS: [&str; 3] = ["parameters", "signature_name", "id"];

pub(super) fn decode(
    body: &Bytes,
    expected: &[ExpectedInput],
    limit_bytes: usize,
) -> Result<Vec<WireTensor>, PayloadError> {
    let limit = NumberArray::most(limit_bytes);
    into_tensors(read(ContentType::Json, body, expected, limit)?, expected)
}

/// The arrays of one document, at least one, of no more numbers than the limit.
pub(super) fn read(
    format: ContentType,
    body: &[u8],
    expected: &[ExpectedInput],
    limit: usize,
) -> Result<Vec<NumberArray>, PayloadError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let arrays = reader
        .deserialize_any(Document { expected, limit })
        .and_then(|arrays| reader.end().map(|()| arrays))
        .map_err(|error| malformed(format, &explain(body, &error)))?;
    if arrays.is_empty() {
        return Err(PayloadError::malformed(format, "at the top", "the object names no array"));
    }
    Ok(arrays)
}

/// The arrays as the inputs want them.
pub(super) fn into_tensors(
    arrays: Vec<NumberArray>,
    expected: &[ExpectedInput],
) -> Result<Vec<WireTensor>, PayloadError> {
    arrays
        .into_iter()
        .enumerate()
        .map(|(index, array)| {
            let dtype = expected_for(&array.name, index, expected).and_then(|input| input.dtype);
            array.into_tensor(dtype)
        })
        .collect()
}

/// serde names the line and column in its message.
fn malformed(format: ContentType, said: &str) -> PayloadError {
    match said.rsplit_once(" at line ") {
        Some((what, place)) => PayloadError::malformed(format, format!("at line {place}"), what),
        None => PayloadError::malformed(format, "somewhere", said),
    }
}

/// JSON has no NaN: say so instead of "expected value".
fn explain(body: &[u8], error: &serde_json::Error) -> String {
    let line =
        body.split(|&byte| byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let at = error.column().saturating_sub(1).min(line.len());
    let start = line[..at].iter().rposition(|byte| !is_word(byte)).map_or(0, |before| before + 1);
    let word: Vec<u8> = line[start..].iter().copied().take_while(is_word).take(12).collect();
    match word.as_slice() {
        b"NaN" | b"-NaN" | b"nan" | b"Infinity" | b"-Infinity" | b"inf" | b"-inf" => {
            let word = String::from_utf8_lossy(&word);
            let (line, column) = (error.line(), error.column());
            format!(
                "{word} is not JSON (use application/x-npy for such values) at line {line} column {column}"
            )
        }
        _ => error.to_string(),
    }
}

/// One array as read: all numbers in order, and how many there are at each depth.
#[derive(Debug)]
pub(crate) struct NumberArray {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    values: Vec<Scalar>,
}

impl NumberArray {
    /// As many numbers as any one body may hold under a limit of bytes.
    pub(super) const fn most(limit_bytes: usize) -> usize {
        limit_bytes / size_of::<Scalar>()
    }

    pub(super) const fn numbers(&self) -> usize {
        self.values.len()
    }

    /// Makes this the first of a list of arrays of its shape.
    pub(super) fn stack(&mut self) {
        self.shape.insert(0, 1);
    }

    /// Takes in the rows of another one, whose shape but for the first dimension is the same.
    pub(super) fn append(&mut self, mut rows: Self) {
        self.shape[0] += rows.shape[0];
        self.values.append(&mut rows.values);
    }
}

/// Reads one array inside another document; there it is called `data`.
impl<'de> Deserialize<'de> for NumberArray {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        filled("data".to_owned(), MAX_NUMBERS, |level| level.deserialize(deserializer))
    }
}

struct Document<'a> {
    expected: &'a [ExpectedInput],
    limit: usize,
}

impl Document<'_> {
    fn expects(&self, name: &str) -> bool {
        self.expected.iter().any(|input| input.name.as_deref() == Some(name))
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<NumberArray>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers, or an object of arrays")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<NumberArray>, A::Error> {
        Ok(vec![filled(String::new(), self.limit, |level| level.visit_seq(seq))?])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<NumberArray>, A::Error> {
        let (mut wrapped, mut named) = (Vec::new(), Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            if IGNORED_KEYS.contains(&key.as_str()) && !self.expects(&key) {
                map.next_value::<IgnoredAny>()?;
            } else if key == "inputs" || key == "instances" {
                let plain = self.expects(&key);
                for array in
                    map.next_value_seed(Wrapped { key, limit: self.limit, keep_name: plain })?
                {
                    push_new(if array.name.is_empty() { &mut wrapped } else { &mut named }, array)?;
                }
            } else {
                let array = filled(key, self.limit, |level| map.next_value_seed(level))?;
                push_new(&mut named, array)?;
            }
        }
        match (wrapped.is_empty(), named.first()) {
            (true, _) => Ok(named),
            (false, None) => Ok(wrapped),
            (false, Some(array)) => Err(A::Error::custom(format!(
                "the unnamed array under \"inputs\" stands beside the named array {:?}; name all arrays or none",
                array.name
            ))),
        }
    }
}

fn push_new<E: serde::de::Error>(
    arrays: &mut Vec<NumberArray>,
    array: NumberArray,
) -> Result<(), E> {
    if arrays.iter().any(|known| known.name == array.name) {
        return Err(E::custom(format!("the array {:?} is given twice", array.name)));
    }
    arrays.push(array);
    Ok(())
}

/// An array of that name, read by a visitor of its outermost level.
fn filled<E>(
    name: String,
    limit: usize,
    fill: impl FnOnce(Level<'_>) -> Result<(), E>,
) -> Result<NumberArray, E> {
    let mut filling = Filling::new(name, limit);
    fill(Level { filling: &mut filling, depth: 0 })?;
    Ok(filling.into_array())
}

/// What stands under `inputs`: one array, or an object of named ones.
struct Wrapped {
    key: String,
    limit: usize,
    /// Whether the model has an input of just this name.
    keep_name: bool,
}

impl<'de> DeserializeSeed<'de> for Wrapped {
    type Value = Vec<NumberArray>;
    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Vec<NumberArray>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Wrapped {
    fn one<E>(self, fill: impl FnOnce(Level<'_>) -> Result<(), E>) -> Result<Vec<NumberArray>, E> {
        let mut array = filled(self.key, self.limit, fill)?;
        if !self.keep_name {
            array.name.clear();
        }
        Ok(vec![array])
    }
}

impl<'de> Visitor<'de> for Wrapped {
    type Value = Vec<NumberArray>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of numbers or an object of named arrays under {:?}", self.key)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<NumberArray>, A::Error> {
        let mut arrays = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.is_empty() {
                return Err(A::Error::custom(format!(
                    "an array under {:?} has an empty name",
                    self.key
                )));
            }
            let array = filled(name, self.limit, |level| map.next_value_seed(level))?;
            push_new(&mut arrays, array)?;
        }
        Ok(arrays)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<NumberArray>, A::Error> {
        self.one(|level| level.visit_seq(seq))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Vec<NumberArray>, E> {
        self.one(|level| level.visit_i64(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Vec<NumberArray>, E> {
        self.one(|level| level.visit_u64(value))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Vec<NumberArray>, E> {
        self.one(|level| level.visit_f64(value))
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Vec<NumberArray>, E> {
        self.one(|level| level.visit_bool(value))
    }
}

/// An array while it is being read.
struct Filling {
    name: String,
    limit: usize,
    /// The number of elements at each depth, once one array at that depth has ended.
    lengths: Vec<Option<usize>>,
    /// The depth at which the numbers stand, once the first was seen.
    number_depth: Option<usize>,
    path: Vec<usize>,
    values: Vec<Scalar>,
}

impl Filling {
    fn new(name: String, limit: usize) -> Self {
        Self {
            name,
            limit,
            lengths: Vec::new(),
            number_depth: None,
            path: Vec::new(),
            values: Vec::new(),
        }
    }

    fn into_array(self) -> NumberArray {
        let shape = self.lengths.into_iter().map(|length| length.unwrap_or(0)).collect();
        NumberArray { name: self.name, shape, values: self.values }
    }

    /// `inputs[0][3]`.
    fn place(&self) -> String {
        scalars::place(&self.name, &self.path)
    }

    fn push<E: serde::de::Error>(&mut self, depth: usize, value: Scalar) -> Result<(), E> {
        let expected = *self.number_depth.get_or_insert(depth);
        if expected != depth || self.lengths.len() > depth {
            return Err(E::custom(format!(
                "ragged: a number stands at {}, where other rows have an array",
                self.place()
            )));
        }
        if self.values.len() >= self.limit {
            return Err(E::custom(format!("more than {} numbers, the limit", self.limit)));
        }
        self.values.push(value);
        Ok(())
    }
}

/// One value inside an array, at a depth.
struct Level<'a> {
    filling: &'a mut Filling,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level<'_> {
    fn refuse<E: serde::de::Error>(&self, what: &str) -> E {
        E::custom(format!(
            "{what} stands at {}, where a number or an array of numbers was expected",
            self.filling.place()
        ))
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { filling, depth } = self;
        if filling.number_depth.is_some_and(|numbers| numbers <= depth) {
            let place = filling.place();
            return Err(A::Error::custom(format!(
                "ragged: an array stands at {place}, where other rows have a number"
            )));
        }
        if depth >= MAX_DIMENSIONS {
            return Err(A::Error::custom(format!(
                "arrays are nested more than {MAX_DIMENSIONS} deep at {}",
                filling.place()
            )));
        }
        if filling.lengths.len() == depth {
            filling.lengths.push(None);
        }
        let mut length = 0;
        filling.path.push(0);
        while seq.next_element_seed(Level { filling: &mut *filling, depth: depth + 1 })?.is_some() {
            length += 1;
            filling.path[depth] = length;
        }
        filling.path.pop();
        let expected = *filling.lengths[depth].get_or_insert(length);
        if expected != length {
            let place = filling.place();
            return Err(A::Error::custom(format!(
                "ragged: {place} has {length} elements, the arrays before it have {expected}"
            )));
        }
        Ok(())
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.filling.push(self.depth, Scalar::Int(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let scalar = i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Int);
        self.filling.push(self.depth, scalar)
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.filling.push(self.depth, Scalar::Float(value))
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.filling.push(self.depth, Scalar::Bool(value))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let shown: String = text.chars().take(20).collect();
        Err(self.refuse(&format!("the text {shown:?}")))
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(self.refuse("null"))
    }
    fn visit_map<A: MapAccess<'de>>(self, _map: A) -> Result<(), A::Error> {
        Err(self.refuse("an object"))
    }
}
