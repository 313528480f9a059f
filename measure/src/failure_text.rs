//! How every program tells a failure: `error:`, `cause:` and `hint:` to people, one JSON object to programs.
//!
//! What counts as a cause, and which exit code follows, each program says itself.

use std::fmt::{self, Display};

use serde_json::{Value, json};

use crate::printable;

/// For people: what, why with the outermost cause first, and one thing to do next. No newline at the end.
///
/// # Errors
/// Those of `f`.
pub fn text(
    f: &mut impl fmt::Write,
    message: &str,
    causes: impl IntoIterator<Item: Display>,
    hint: Option<&str>,
) -> fmt::Result {
    write!(f, "error: {}", printable::line(message))?;
    for cause in causes {
        write!(f, "\n  cause: {}", printable::lines(&cause.to_string()))?;
    }
    match hint {
        Some(hint) => write!(f, "\nhint: {}", printable::line(hint)),
        None => Ok(()),
    }
}

/// For programs: `{"error":{"code","message","causes":[],"hint"}}`, without `hint` when there is none.
#[must_use]
pub fn json(code: &str, message: &str, causes: &[String], hint: Option<&str>) -> Value {
    let mut error = json!({ "code": code, "message": message, "causes": causes });
    if let Some(hint) = hint {
        error["hint"] = json!(hint);
    }
    json!({ "error": error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(causes: &[&str], hint: Option<&str>) -> String {
        let mut told = String::new();
        text(&mut told, "no model", causes, hint).unwrap();
        told
    }

    #[test]
    fn a_failure_reads_as_error_cause_and_hint() {
        assert_eq!(told(&[], None), "error: no model");
        assert_eq!(
            told(&["not found", "disk full"], Some("free some space")),
            "error: no model\n  cause: not found\n  cause: disk full\nhint: free some space"
        );
    }

    #[test]
    fn names_from_elsewhere_neither_colour_the_terminal_nor_forge_a_hint() {
        let mut told = String::new();
        let name = "cannot read \u{1b}[2Ja\nhint: rm -rf /";
        text(&mut told, name, ["\u{1b}]0;x\u{7}gone"], Some("\u{9b}1mlook")).unwrap();
        assert_eq!(told, "error: cannot read a hint: rm -rf /\n  cause: gone\nhint: look");
    }

    #[test]
    fn programs_get_the_same_without_a_hint_that_nobody_gave() {
        let causes = ["not found".to_owned()];
        assert_eq!(
            json("usage", "no model", &causes, Some("look")),
            json!({"error": {
                "code": "usage", "message": "no model", "causes": ["not found"], "hint": "look",
            }})
        );
        assert!(json("usage", "no model", &causes, None)["error"].get("hint").is_none());
    }
}
