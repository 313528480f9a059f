//! Reads the table of shapes. A shape may only use those that stand before it, so shapes cannot be
//! recursive and walking them ends.

use std::collections::HashMap;

use regex::Regex;

use super::{BadTable, Limits, Member, Pattern, Schema, Shape, ShapeId, Structure};
use crate::operation::Operation;

/// Begins the line after a pattern that cannot be matched, or not in linear time, as it is shown.
const MATCHED_AS: &str = "  matched-as ";

pub(super) fn parse(text: &str) -> Result<Schema, BadTable> {
    let mut reader = Reader::default();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        reader.line = index + 1;
        let matched_as = lines.next_if(|(_, next)| next.starts_with(MATCHED_AS));
        reader.read(line, matched_as.map(|(_, next)| &next[MATCHED_AS.len()..]))?;
    }
    for operation in Operation::ALL {
        if !reader.operations.contains_key(operation.name()) {
            return Err(BadTable { line: 0, problem: format!("{operation} is missing") });
        }
    }
    Ok(Schema { shapes: reader.shapes, operations: reader.operations })
}

#[derive(Default)]
struct Reader {
    line: usize,
    shapes: Vec<Shape>,
    names: HashMap<String, ShapeId>,
    operations: HashMap<&'static str, (ShapeId, Option<ShapeId>)>,
}

impl Reader {
    fn read(&mut self, line: &str, matched_as: Option<&str>) -> Result<(), BadTable> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("  ") {
            return self.read_member(rest);
        }
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if kind == "operation" {
            return self.read_operation(name, rest);
        }
        let shape = self.read_shape(kind, rest, matched_as)?;
        if self.names.insert(name.to_owned(), ShapeId(self.shapes.len())).is_some() {
            return Err(self.bad(format!("{name:?} is there already")));
        }
        self.shapes.push(shape);
        Ok(())
    }

    fn read_shape(
        &self,
        kind: &str,
        rest: &str,
        matched_as: Option<&str>,
    ) -> Result<Shape, BadTable> {
        let (limits, rest) = self.take_limits(rest)?;
        Ok(match kind {
            "string" => {
                let pattern =
                    (!rest.is_empty()).then(|| self.pattern(rest, matched_as)).transpose()?;
                Shape::String { length: limits, pattern }
            }
            "enum" => Shape::Enum(rest.split(' ').map(str::to_owned).collect()),
            "integer" => Shape::Integer(limits),
            "long" => Shape::Long(limits),
            "float" | "double" => Shape::Float,
            "boolean" => Shape::Boolean,
            "timestamp" => Shape::Timestamp,
            "structure" | "union" => {
                Shape::Structure(Structure { is_union: kind == "union", members: Vec::new() })
            }
            "list" => Shape::List { size: limits, member: self.id(rest)? },
            "map" => {
                let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
                Shape::Map { size: limits, key: self.id(key)?, value: self.id(value)? }
            }
            _ => return Err(self.bad(format!("unknown kind {kind:?}"))),
        })
    }

    /// A member of the last structure.
    fn read_member(&mut self, text: &str) -> Result<(), BadTable> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let shape = self.id(rest);
        let Some(Shape::Structure(structure)) = self.shapes.last_mut() else {
            return Err(self.bad("a member without a structure".to_owned()));
        };
        let required = name.ends_with('!');
        let name = name.trim_end_matches('!').to_owned();
        structure.members.push(Member { name, required, shape: shape? });
        Ok(())
    }

    fn read_operation(&mut self, name: &str, rest: &str) -> Result<(), BadTable> {
        let Some(operation) = Operation::ALL.iter().find(|operation| operation.name() == name)
        else {
            return Err(self.bad(format!("unknown operation {name:?}")));
        };
        let (request, response) = rest.split_once(' ').unwrap_or((rest, ""));
        let response = if response == "-" { None } else { Some(self.id(response)?) };
        self.operations.insert(operation.name(), (self.id(request)?, response));
        Ok(())
    }

    /// `MIN..MAX`, either of which may be missing, if that is the first word.
    fn take_limits<'a>(&self, text: &'a str) -> Result<(Limits, &'a str), BadTable> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let end =
            |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
        let ends = word.split_once("..").and_then(|(min, max)| Some((end(min)?, end(max)?)));
        let Some((min, max)) = ends else { return Ok((Limits::default(), text)) };
        if min.zip(max).is_some_and(|(min, max): (i64, i64)| min > max) {
            return Err(self.bad(format!("the limits {word:?} exclude everything")));
        }
        Ok((Limits { min, max }, rest))
    }

    fn pattern(&self, shown: &str, matched_as: Option<&str>) -> Result<Pattern, BadTable> {
        let matcher = self.matcher(matched_as.unwrap_or(shown))?;
        Ok(Pattern { shown: shown.to_owned(), matcher })
    }

    fn matcher(&self, pattern: &str) -> Result<Regex, BadTable> {
        Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(|error| {
            self.bad(format!("the pattern {pattern:?} cannot be matched: {error}"))
        })
    }

    fn id(&self, name: &str) -> Result<ShapeId, BadTable> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| self.bad(format!("no shape {name:?} before this line")))
    }

    fn bad(&self, problem: String) -> BadTable {
        BadTable { line: self.line, problem }
    }
}
