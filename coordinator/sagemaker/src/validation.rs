//! A document against the table of shapes: everything that is wrong with it, in AWS's words.
//!
//! `2 validation errors detected: Value 'x' at 'jobName' failed to satisfy constraint: …; Value …`.
//! Members that the table does not know are ignored, as AWS does. Null is the same as absent.

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    error::ApiError,
    operation::Operation,
    schema::{Limits, Schema, Shape, ShapeId, Structure},
    timestamp::Timestamp,
};

/// Messages list this many violations; more are counted only.
pub const MOST_LISTED: usize = 20;

/// Values are quoted up to this many characters: an answer must not grow with a hostile request.
const MOST_QUOTED: usize = 200;

/// A limit that is broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The value, quoted as AWS does.
    pub value: String,
    /// The member, as in `inputConfig.trafficPattern.phases.1.member.spawnRate`.
    pub path: String,
    /// What the member must do.
    pub constraint: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// The first [`MOST_LISTED`]: a hostile request must not fill the memory with complaints.
    pub listed: Vec<Violation>,
    pub count: usize,
}

/// A value of another type than its member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    pub path: String,
    /// What it has to be, and what it is.
    pub problem: String,
}

/// Checks a request.
///
/// # Errors
/// `SerializationException` when a value has another type than its member,
/// `ValidationException` with every violation otherwise.
pub fn check(operation: Operation, document: &Value) -> Result<(), ApiError> {
    let schema = Schema::get();
    let violations = violations(schema, schema.request(operation), document).map_err(|wrong| {
        ApiError::serialization(format!("{} at '{}'", wrong.problem, wrong.path))
    })?;
    if violations.count == 0 {
        return Ok(());
    }
    Err(ApiError::validation(violations.to_string()))
}

/// The violations, in the order of the table.
///
/// # Errors
/// [`WrongType`] for the first value of another type than its member has.
pub fn violations(
    schema: &Schema,
    shape: ShapeId,
    document: &Value,
) -> Result<Violations, WrongType> {
    let mut walk = Walk { schema, path: String::new(), found: Violations::default() };
    walk.value(shape, document)?;
    Ok(walk.found)
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} validation error{plural} detected: ", self.count)?;
        for (index, violation) in self.listed.iter().enumerate() {
            let Violation { value, path, constraint } = violation;
            let separator = if index == 0 { "" } else { "; " };
            write!(
                f,
                "{separator}Value {value} at '{path}' failed to satisfy constraint: {constraint}"
            )?;
        }
        Ok(())
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    path: String,
    found: Violations,
}

impl Walk<'_> {
    fn value(&mut self, shape: ShapeId, value: &Value) -> Result<(), WrongType> {
        let schema = self.schema;
        match schema.shape(shape) {
            Shape::String { length, pattern } => {
                let text = value.as_str().ok_or_else(|| self.wrong("a String", value))?;
                self.length(*length, text);
                if let Some(pattern) = pattern.as_ref().filter(|one| !one.matcher.is_match(text)) {
                    let shown = &pattern.shown;
                    let rule = format!("Member must satisfy regular expression pattern: {shown}");
                    self.violation(quoted(text), rule);
                }
            }
            Shape::Enum(words) => {
                let text = value.as_str().ok_or_else(|| self.wrong("a String", value))?;
                if !words.iter().any(|word| word == text) {
                    let set = words.join(", ");
                    let rule = format!("Member must satisfy enum value set: [{set}]");
                    self.violation(quoted(text), rule);
                }
            }
            Shape::Integer(limits) => {
                let number = value.as_i64().filter(|number| i32::try_from(*number).is_ok());
                let number = number.ok_or_else(|| self.wrong("an Integer", value))?;
                self.number(*limits, number);
            }
            Shape::Long(limits) => {
                let number = value.as_i64().ok_or_else(|| self.wrong("a Long", value))?;
                self.number(*limits, number);
            }
            Shape::Float => {
                value.as_f64().ok_or_else(|| self.wrong("a Float", value))?;
            }
            Shape::Boolean => {
                value.as_bool().ok_or_else(|| self.wrong("a Boolean", value))?;
            }
            Shape::Timestamp => {
                let time = value.as_f64().and_then(Timestamp::from_epoch_seconds);
                time.ok_or_else(|| self.wrong("a Timestamp in epoch seconds", value))?;
            }
            Shape::Structure(structure) => {
                let members = value.as_object().ok_or_else(|| self.wrong("a structure", value))?;
                self.structure(structure, members)?;
            }
            Shape::List { size, member } => {
                let items = value.as_array().ok_or_else(|| self.wrong("a list", value))?;
                self.size(*size, items.len(), value);
                for (index, item) in items.iter().enumerate() {
                    self.at(&format!("{}.member", index + 1), item, *member)?;
                }
            }
            Shape::Map { size, key, value: of } => {
                let entries = value.as_object().ok_or_else(|| self.wrong("a map", value))?;
                self.size(*size, entries.len(), value);
                for (name, entry) in entries {
                    self.at("key", &Value::String(name.clone()), *key)?;
                    self.at(&format!("{}.value", shortened(name)), entry, *of)?;
                }
            }
        }
        Ok(())
    }

    fn structure(
        &mut self,
        structure: &Structure,
        given: &Map<String, Value>,
    ) -> Result<(), WrongType> {
        let mut present = 0;
        for member in &structure.members {
            let name = lower_first(&member.name);
            match given.get(&member.name).filter(|value| !value.is_null()) {
                Some(value) => {
                    present += 1;
                    self.at(&name, value, member.shape)?;
                }
                None if member.required => self.under(&name, |walk| {
                    walk.violation("null".to_owned(), "Member must not be null".to_owned());
                    Ok(())
                })?,
                None => {}
            }
        }
        if structure.is_union && present != 1 {
            let rule = "Member must have exactly one member set".to_owned();
            self.violation(format!("with {present} members"), rule);
        }
        Ok(())
    }

    /// A value below the present one, where null is not allowed.
    fn at(&mut self, name: &str, value: &Value, shape: ShapeId) -> Result<(), WrongType> {
        self.under(name, |walk| {
            if value.is_null() {
                walk.violation("null".to_owned(), "Member must not be null".to_owned());
                return Ok(());
            }
            walk.value(shape, value)
        })
    }

    fn under<R>(&mut self, name: &str, act: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = act(self);
        self.path.truncate(length);
        result
    }

    fn length(&mut self, limits: Limits, text: &str) {
        let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        self.limits(limits, count, "length", || quoted(text));
    }

    fn size(&mut self, limits: Limits, count: usize, value: &Value) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.limits(limits, count, "length", || quoted(&value.to_string()));
    }

    fn number(&mut self, limits: Limits, number: i64) {
        self.limits(limits, number, "value", || quoted(&number.to_string()));
    }

    fn limits(&mut self, limits: Limits, count: i64, what: &str, value: impl Fn() -> String) {
        let broken = [
            limits.min.filter(|min| count < *min).map(|min| ("greater", min)),
            limits.max.filter(|max| count > *max).map(|max| ("less", max)),
        ];
        for (direction, limit) in broken.into_iter().flatten() {
            let rule = format!("Member must have {what} {direction} than or equal to {limit}");
            self.violation(value(), rule);
        }
    }

    fn violation(&mut self, value: String, constraint: String) {
        self.found.count += 1;
        if self.found.listed.len() < MOST_LISTED {
            self.found.listed.push(Violation { value, path: self.path.clone(), constraint });
        }
    }

    fn wrong(&self, expected: &str, value: &Value) -> WrongType {
        let found = match value {
            Value::Null => "NULL_VALUE",
            Value::Bool(_) => "BOOLEAN_VALUE",
            Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
            Value::Number(_) => "NUMBER_VALUE",
            Value::String(_) => "STRING_VALUE",
            Value::Array(_) => "LIST_VALUE",
            Value::Object(_) => "STRUCTURE_VALUE",
        };
        let problem = format!("{found} can not be converted to {expected}");
        WrongType { path: self.path.clone(), problem }
    }
}

/// `JobName` is `jobName` in messages.
fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn quoted(text: &str) -> String {
    format!("'{}'", shortened(text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
