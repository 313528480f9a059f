//! `DataInputConfig`: the names and shapes of a model's inputs, in every notation that AWS documents.
//!
//! `[[1,3,224,224]]`, `[1,3,224,224]`, `{"input0": [1,3,224,224]}`, `{"input0": {"shape": [1,3,224,224]}}` and
//! `[{"shape": [1,3,224,224]}]` are the same. A `shape` may have ranges (`"1..10"`) or be a list of shapes;
//! `default_shape` says which one counts, without it the lower ends and the first. Quotes may be single ones, or
//! escaped as for a shell, and lists may be tuples. Beside AWS's words an input may have a `name` and a `dtype`.

use assay_measure::input_spec::{DType, InputSpec, InputSpecError};
use thiserror::Error;

mod notation;

use self::notation::Literal;

/// The inputs that a text declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// In the order of the text; float32 unless it says otherwise.
    pub inputs: Vec<InputSpec>,
    /// Whether any of them has a `dtype` of its own.
    pub has_types: bool,
    /// What was chosen, and what changes nothing here: whole sentences.
    pub remarks: Vec<String>,
}

/// A text is not a `DataInputConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "DataInputConfig {text:?} is not understood: {reason}. Write it like [[1,3,224,224]], \
     {{\"input0\": [1,3,224,224]}} or [{{\"shape\": [\"1..10\",3,224,224], \"default_shape\": [1,3,224,224]}}]."
)]
pub struct DataInputConfigError {
    /// The text, cut where it is long.
    text: String,
    reason: String,
}

/// As much of the text as is quoted.
const QUOTED: usize = 120;
/// The words that describe an input; any other key of a dictionary is the name of one.
const WORDS: [&str; 7] = ["name", "dtype", SHAPE, DEFAULT_SHAPE, "type", "bias", "scale"];
const SHAPE: &str = "shape";
const DEFAULT_SHAPE: &str = "default_shape";

/// Reads a `DataInputConfig`.
///
/// # Errors
/// [`DataInputConfigError`] when anything in it is not understood: nothing is left out.
pub fn parse(text: &str) -> Result<Declared, DataInputConfigError> {
    read(text).map_err(|reason| DataInputConfigError {
        text: text.chars().take(QUOTED).collect(),
        reason,
    })
}

fn read(text: &str) -> Result<Declared, String> {
    let mut declared = Declared::default();
    match notation::read(text)? {
        Literal::List(items) if !items.is_empty() && items.iter().all(is_dimension) => {
            declared.add(None, &Literal::List(items))?;
        }
        Literal::List(items) => {
            for item in &items {
                if is_dimension(item) {
                    return Err(format!("{item} stands beside whole shapes"));
                }
                declared.add(None, item)?;
            }
        }
        one @ Literal::Dictionary(_) if one.get(SHAPE).is_some() => declared.add(None, &one)?,
        Literal::Dictionary(named) => {
            for (name, input) in &named {
                declared.add(Some(name), input)?;
            }
        }
        other @ (Literal::Text(_) | Literal::Bare(_)) => {
            return Err(format!("it is neither a list nor a dictionary, but {other}"));
        }
    }
    Ok(declared)
}

fn is_dimension(literal: &Literal) -> bool {
    matches!(literal, Literal::Bare(_) | Literal::Text(_))
}

impl Declared {
    fn add(&mut self, name: Option<&str>, input: &Literal) -> Result<(), String> {
        let place = name.map_or_else(|| format!("input {}", self.inputs.len()), str::to_owned);
        let (spec, remarks) =
            one_input(name, input).map_err(|reason| format!("{place}: {reason}"))?;
        self.inputs.push(spec);
        self.has_types |= input.get("dtype").is_some();
        self.remarks.extend(remarks.into_iter().map(|remark| format!("{place}: {remark}.")));
        Ok(())
    }
}

fn one_input(name: Option<&str>, input: &Literal) -> Result<(InputSpec, Vec<String>), String> {
    let shapes = match input {
        Literal::Dictionary(members) => {
            if let Some((word, _)) =
                members.iter().find(|(word, _)| !WORDS.contains(&word.as_str()))
            {
                return Err(format!("there is no {word:?}, only {}", WORDS.join(", ")));
            }
            input.get(SHAPE).or(input.get(DEFAULT_SHAPE)).ok_or("it has no \"shape\"")?
        }
        shape @ (Literal::List(_) | Literal::Text(_) | Literal::Bare(_)) => shape,
    };
    let mut remarks = Vec::new();
    let shapes = Shapes::of(shapes)?;
    let shape = match input.get(DEFAULT_SHAPE) {
        Some(default) => shapes.default(default)?,
        None => shapes.chosen(&mut remarks)?,
    };
    let dtype = match input.get("dtype") {
        Some(word) => word.text()?.parse::<DType>().map_err(|error| error.to_string())?,
        None => DType::Float32,
    };
    preprocessing(input, &mut remarks)?;
    let name = match input.get("name") {
        Some(word) => Some(word.text()?),
        None => name,
    };
    let spec = named(name, dtype, &shape, &mut remarks).map_err(|error| error.to_string())?;
    Ok((spec, remarks))
}

/// Names of other frameworks (`input_tensor:0`) cannot be those of arguments: such inputs go by position.
fn named(
    name: Option<&str>,
    dtype: DType,
    shape: &[u64],
    remarks: &mut Vec<String>,
) -> Result<InputSpec, InputSpecError> {
    match InputSpec::new(name.map(str::to_owned), dtype, shape.to_vec()) {
        Err(InputSpecError::Grammar(_)) => {
            remarks.push("the name cannot be that of an argument, so its place counts".to_owned());
            InputSpec::new(None, dtype, shape.to_vec())
        }
        other => other,
    }
}

/// What Core ML's converter would build into the model.
fn preprocessing(given: &Literal, remarks: &mut Vec<String>) -> Result<(), String> {
    if let Some(kind) = given.get("type") {
        match kind.text()? {
            "Tensor" | "Image" => {}
            other => return Err(format!("the type is Tensor or Image, not {other:?}")),
        }
    }
    let told: Vec<&str> =
        ["bias", "scale"].into_iter().filter(|word| given.get(word).is_some()).collect();
    if !told.is_empty() {
        remarks.push(format!(
            "{} would be built into a Core ML model and changes nothing here",
            told.join(" and ")
        ));
    }
    Ok(())
}

/// One dimension of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Size(u64),
    Range(u64, u64),
    /// -1 or None: any size.
    Free,
}

impl Dimension {
    fn of(literal: &Literal) -> Result<Self, String> {
        let bad = || {
            format!(
                "{literal} is no dimension: it is a whole number of at least 1 or a range like \"1..10\""
            )
        };
        let size = |digits: &str| digits.trim().parse().ok().filter(|&size: &u64| size > 0);
        match literal {
            Literal::Bare(word) if matches!(word.as_str(), "-1" | "None" | "null") => {
                Ok(Self::Free)
            }
            Literal::Bare(word) => size(word).map(Self::Size).ok_or_else(bad),
            Literal::Text(range) => {
                match range.split_once("..").map(|(low, high)| (size(low), size(high))) {
                    Some((Some(low), Some(high))) if low <= high => Ok(Self::Range(low, high)),
                    Some(_) | None => Err(bad()),
                }
            }
            Literal::List(_) | Literal::Dictionary(_) => Err(bad()),
        }
    }

    fn allows(self, size: u64) -> bool {
        match self {
            Self::Size(only) => only == size,
            Self::Range(low, high) => (low..=high).contains(&size),
            Self::Free => true,
        }
    }
}

/// The shapes that an input may have.
struct Shapes(Vec<Vec<Dimension>>);

impl Shapes {
    fn of(literal: &Literal) -> Result<Self, String> {
        let Literal::List(items) = literal else {
            return Err(format!("{literal} is no shape: it is a list like [1,3,224,224]"));
        };
        let dimensions =
            |items: &[Literal]| items.iter().map(Dimension::of).collect::<Result<Vec<_>, _>>();
        if items.is_empty() || items.iter().any(is_dimension) {
            return Ok(Self(vec![dimensions(items)?]));
        }
        let shape = |item: &Literal| match item {
            Literal::List(items) => dimensions(items),
            other @ (Literal::Dictionary(_) | Literal::Text(_) | Literal::Bare(_)) => {
                Err(format!("{other} is no shape: it is a list like [1,3,224,224]"))
            }
        };
        items.iter().map(shape).collect::<Result<_, _>>().map(Self)
    }

    fn default(&self, literal: &Literal) -> Result<Vec<u64>, String> {
        let sizes = |dimension: &Dimension| match dimension {
            Dimension::Size(size) => Some(*size),
            Dimension::Range(..) | Dimension::Free => None,
        };
        let default = match Self::of(literal)?.0.as_slice() {
            [one] => one.iter().map(sizes).collect::<Option<Vec<u64>>>(),
            _ => None,
        };
        let default =
            default.ok_or_else(|| format!("{literal} is no default_shape: it has sizes only"))?;
        let allows = |shape: &Vec<Dimension>| {
            shape.len() == default.len()
                && shape.iter().zip(&default).all(|(one, &size)| one.allows(size))
        };
        if !self.0.iter().any(allows) {
            return Err(format!("the default_shape {literal} is none that the shape allows"));
        }
        Ok(default)
    }

    /// Without a default: the first shape, and of a range its lower end.
    fn chosen(&self, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        let first = self.0.first().ok_or("it has no shape")?;
        let size = |dimension: &Dimension| match dimension {
            Dimension::Size(size) | Dimension::Range(size, _) => Ok(*size),
            Dimension::Free => {
                Err("a dimension has no size, and there is no default_shape".to_owned())
            }
        };
        let shape = first.iter().map(size).collect::<Result<Vec<u64>, _>>()?;
        let has_range = first.iter().any(|one| matches!(one, Dimension::Range(..)));
        if self.0.len() > 1 || has_range {
            remarks.push(format!("without a default_shape {shape:?} is taken of what it allows"));
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests;
