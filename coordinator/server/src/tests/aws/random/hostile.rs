//! Bodies that no serializer writes: broken, ambiguous, deep, huge.

use serde_json::Value;

use super::dice::Dice;

const HERE: &str = "@@here@@";
const LITERALS: [&str; 22] = [
    "1e400",
    "-1e400",
    "1E+99999",
    "1e-99999",
    "-0",
    "00",
    "0x10",
    "Infinity",
    "NaN",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1.0",
    "5e0",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u0000\"",
    "\"\\uD83E\\uDDEA\"",
    "\"\t\"",
    "'a'",
    "nul",
    "/* a */ 1",
];
/// Just below and above what the reader takes, and far beyond.
const DEPTHS: [usize; 6] = [10, 126, 127, 128, 1000, 100_000];

/// A body made of a document in which something is wrong.
pub(super) fn body(document: &Value, dice: &mut Dice) -> Vec<u8> {
    let plain = || document.to_string().into_bytes();
    match dice.below(12) {
        0 => with_a_byte_changed(plain(), dice),
        1 => cut(plain(), dice),
        2 => replaced(document, b"\"\xff\xc0\x80\"", dice),
        3 => with_a_member_twice(document, dice),
        4 | 5 => replaced(document, dice.of(&LITERALS).as_bytes(), dice),
        6 => replaced(document, "9".repeat(dice.of(&[40, 400, 4000])).as_bytes(), dice),
        7 => replaced(document, &nested(dice), dice),
        8 => replaced(document, &long_text(dice), dice),
        9 => [dice.of(&["\u{feff}", " ", "\0", "[", "{}"]).as_bytes(), &plain()].concat(),
        10 => [&plain()[..], dice.of(&["{}", "\0", ",", "}", "\u{feff}"]).as_bytes()].concat(),
        _ => with_many_members(document, dice),
    }
}

fn with_a_byte_changed(mut body: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let place = dice.below(body.len());
    body[place] = u8::try_from(dice.below(256)).unwrap();
    body
}

fn cut(mut body: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    body.truncate(dice.below(body.len()));
    body
}

fn nested(dice: &mut Dice) -> Vec<u8> {
    let depth = dice.of(&DEPTHS);
    let (open, close) = dice.of(&[("[", "]"), ("{\"A\":", "}")]);
    let closed = if dice.percent(50) { depth } else { 0 };
    [open.repeat(depth), "1".to_owned(), close.repeat(closed)].concat().into_bytes()
}

/// Up to just below the limit of a request, now and then.
fn long_text(dice: &mut Dice) -> Vec<u8> {
    let length = if dice.percent(5) { (1 << 20) - 2000 } else { dice.of(&[300, 3000, 30_000]) };
    let letter = dice.of(&["x", "\u{e9}", "\\n", "\\u0001"]);
    format!("\"{}\"", letter.repeat(length / letter.len())).into_bytes()
}

fn with_a_member_twice(document: &Value, dice: &mut Dice) -> Vec<u8> {
    let whole = document.to_string();
    let Some(members) = document.as_object().filter(|members| !members.is_empty()) else {
        return whole.into_bytes();
    };
    let names: Vec<&String> = members.keys().collect();
    let name = Value::from(dice.of(&names).as_str());
    let other = dice.of(&["null", "\"a\"", "{}", "1", "[]"]);
    let rest = &whole[1..whole.len() - 1];
    match dice.percent(50) {
        true => format!("{{{name}:{other},{rest}}}"),
        false => format!("{{{rest},{name}:{other}}}"),
    }
    .into_bytes()
}

fn with_many_members(document: &Value, dice: &mut Dice) -> Vec<u8> {
    let whole = document.to_string();
    let count = dice.of(&[100, 5000]);
    let members: Vec<String> = (0..count).map(|number| format!("\"m{number}\":{number}")).collect();
    let rest = whole[1..].to_owned();
    let comma = if rest == "}" { "" } else { "," };
    format!("{{{}{comma}{rest}", members.join(",")).into_bytes()
}

/// Puts text that need not be JSON in the place of some value.
fn replaced(document: &Value, with: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut marked = document.clone();
    *somewhere(&mut marked, dice) = Value::from(HERE);
    let text = marked.to_string();
    let mark = format!("\"{HERE}\"");
    let (before, after) = text.split_once(&mark).unwrap_or((&text, ""));
    [before.as_bytes(), with, after.as_bytes()].concat()
}

/// Some value inside a document, often a deep one.
pub(super) fn somewhere<'a>(value: &'a mut Value, dice: &mut Dice) -> &'a mut Value {
    let inside = match value {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    if inside == 0 || dice.percent(10) {
        return value;
    }
    let chosen = dice.below(inside);
    let inner = match value {
        Value::Object(members) => members.values_mut().nth(chosen),
        Value::Array(items) => items.get_mut(chosen),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    somewhere(inner.expect("counted before"), dice)
}
