//! The table of shapes: every member of every request and answer, with its type and limits.
//!
//! It is read from `data/shapes.txt`, which explains its own format, once, on first use.

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;
use thiserror::Error;

use crate::operation::Operation;

mod parse;

/// A shape and its limits.
#[derive(Debug)]
pub enum Shape {
    String {
        length: Limits,
        /// What it must look like.
        pattern: Option<Pattern>,
    },
    /// One of a closed set of words.
    Enum(Vec<String>),
    /// A whole number of 32 bits.
    Integer(Limits),
    /// A whole number of 64 bits.
    Long(Limits),
    Float,
    Boolean,
    /// Epoch seconds.
    Timestamp,
    Structure(Structure),
    /// Any number of members of one shape.
    List {
        size: Limits,
        member: ShapeId,
    },
    /// Texts to values of one shape.
    Map {
        size: Limits,
        key: ShapeId,
        value: ShapeId,
    },
}

/// The least and the most that is allowed, of whatever is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

/// What a text must look like.
#[derive(Debug)]
pub struct Pattern {
    /// As documented; messages show it.
    pub shown: String,
    /// Matches the whole text or nothing, in time linear in its length.
    pub matcher: Regex,
}

#[derive(Debug)]
pub struct Structure {
    /// Exactly one member must be present.
    pub is_union: bool,
    pub members: Vec<Member>,
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    /// Whether it must be present.
    pub required: bool,
    pub shape: ShapeId,
}

/// A shape's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeId(usize);

/// All shapes, and which of them an operation takes and gives.
#[derive(Debug)]
pub struct Schema {
    shapes: Vec<Shape>,
    operations: HashMap<&'static str, (ShapeId, Option<ShapeId>)>,
}

/// The table cannot be read.
#[derive(Debug, Error)]
#[error("line {line} of the table of shapes: {problem}")]
pub struct BadTable {
    line: usize,
    problem: String,
}

impl Schema {
    /// The table of this crate.
    #[must_use]
    pub fn get() -> &'static Self {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            parse::parse(include_str!("../data/shapes.txt"))
                .expect("the table is part of this crate and read in its tests")
        });
        &SCHEMA
    }

    #[must_use]
    pub fn shape(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0]
    }

    #[must_use]
    pub fn request(&self, operation: Operation) -> ShapeId {
        self.operations[operation.name()].0
    }

    /// The shape of an operation's answer; `None` for an empty body.
    #[must_use]
    pub fn response(&self, operation: Operation) -> Option<ShapeId> {
        self.operations[operation.name()].1
    }
}

impl Limits {
    #[must_use]
    pub fn hold(self, count: i64) -> bool {
        self.min.is_none_or(|min| min <= count) && self.max.is_none_or(|max| count <= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_every_operation_and_nothing_is_left_over() {
        let schema = Schema::get();
        assert_eq!(schema.operations.len(), Operation::ALL.len());
        for operation in Operation::ALL {
            assert!(matches!(schema.shape(schema.request(*operation)), Shape::Structure(_)));
        }
        assert!(schema.response(Operation::DeleteModel).is_none());
    }

    #[test]
    fn a_broken_table_names_the_line() {
        for (text, problem) in [
            ("blob X", "line 1 of the table of shapes: unknown kind \"blob\""),
            (
                "string X 3..1",
                "line 1 of the table of shapes: the limits \"3..1\" exclude everything",
            ),
            ("string X [", "line 1 of the table of shapes: the pattern \"[\" cannot be matched"),
            ("list X Y", "line 1 of the table of shapes: no shape \"Y\" before this line"),
            (
                "structure X\n  A B",
                "line 2 of the table of shapes: no shape \"B\" before this line",
            ),
            ("float A\nfloat A", "line 2 of the table of shapes: \"A\" is there already"),
            ("  A B", "line 1 of the table of shapes: a member without a structure"),
            ("", "line 0 of the table of shapes: CreateInferenceRecommendationsJob is missing"),
        ] {
            let error = parse::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{text:?}: {error}");
        }
    }

    #[test]
    fn limits_include_their_ends() {
        let limits = Limits { min: Some(1), max: Some(3) };
        assert_eq!([0, 1, 3, 4].map(|count| limits.hold(count)), [false, true, true, false]);
        assert!(Limits::default().hold(i64::MIN));
    }
}
