//! Headers that clients do not send: of another service, twice, not at all, or nonsense.

use super::dice::Dice;

pub(super) type Headers = Vec<(String, String)>;

const VALUES: [&str; 12] = [
    "",
    " ",
    "*",
    "null",
    "application/json",
    "application/x-amz-json-1.1; charset=\"utf-8",
    "Logs_20140328.CreateModel",
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA256 Credential=/, SignedHeaders=;, Signature=",
    "20261399T999999Z",
    "\u{e9}\u{1f9ea}",
    "Bearer x",
];

/// One or two things about these headers are changed.
pub(super) fn spoilt(mut headers: Headers, dice: &mut Dice) -> Headers {
    for _ in 0..1 + dice.below(2) {
        if headers.is_empty() {
            return headers;
        }
        let place = dice.below(headers.len());
        match dice.below(8) {
            0 => drop(headers.remove(place)),
            1 => headers.push(headers[place].clone()),
            2 => headers.push((headers[place].0.clone(), dice.of(&VALUES).to_owned())),
            3 => headers[place].1 = dice.of(&VALUES).to_owned(),
            4 => headers[place].1 = headers[place].1.to_uppercase(),
            5 => headers[place].1 = dice.of(&["x", ",", "="]).repeat(dice.of(&[300, 9000])),
            _ => headers[place].1 = bent(&headers[place].1, dice),
        }
    }
    headers
}

/// A part is missing, doubled, or another one.
fn bent(value: &str, dice: &mut Dice) -> String {
    let separator = dice.of(&[" ", ",", ";", "/", "=", ".", ":", "-"]);
    let mut parts: Vec<&str> = value.split(separator).collect();
    let place = dice.below(parts.len());
    match dice.below(4) {
        0 => drop(parts.remove(place)),
        1 => parts.insert(place, parts[place]),
        2 => parts[place] = dice.of(&["", "0", "x", "host;host", "99999999999999999999"]),
        _ => parts.reverse(),
    }
    parts.join(separator)
}
