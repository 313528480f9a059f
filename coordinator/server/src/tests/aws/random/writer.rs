//! Requests drawn from the table of shapes: right in most places, and anything at all in some.

use assay_sagemaker::schema::{Limits, Pattern, Schema, Shape, ShapeId, Structure};
use serde_json::{Map, Value, json};

use super::dice::Dice;

pub(super) const ARN: &str = "arn:aws:sagemaker:us-east-1:000000000000:";
pub(super) const GROUP: &str = "/aws/sagemaker/InferenceRecommendationsJobs";
const WORDS: [&str; 26] = [
    "a",
    "b",
    "a/1",
    "a/2",
    "a/execution",
    "a/abcdefgh",
    "ml.c5.large",
    "onprem.h200",
    "ml.t2.medium",
    "P95",
    "P50",
    "PYTORCH",
    "2.11",
    "file:///nonexistent/model.pt",
    "http://127.0.0.1:1/model.pt",
    "s3://",
    "[[1,3,224,224]]",
    "application/x-npy",
    "OMP_NUM_THREADS",
    "4",
    "LD_PRELOAD",
    "arn:aws:iam::123456789012:role/r",
    "",
    "\u{1f9ea} \u{0}",
    "${jndi}",
    GROUP,
];

pub(super) struct Writer<'a> {
    pub(super) schema: &'static Schema,
    pub(super) dice: &'a mut Dice,
    /// Words of earlier answers: names, ARNs, tokens.
    pub(super) seen: &'a [String],
    /// How often in a hundred a value is anything at all.
    pub(super) wildness: usize,
}

impl Writer<'_> {
    pub(super) fn value(&mut self, shape: ShapeId) -> Value {
        if self.dice.percent(self.wildness) {
            return self.anything();
        }
        match self.schema.shape(shape) {
            Shape::String { length, pattern } => json!(self.text(*length, pattern.as_ref())),
            Shape::Enum(words) => json!(self.dice.of(words)),
            Shape::Integer(limits) | Shape::Long(limits) => json!(self.number(*limits)),
            Shape::Float => json!(self.dice.of(&[0.0, -1.0, 0.5, 1e300])),
            Shape::Boolean => json!(self.dice.percent(50)),
            Shape::Timestamp => json!(self.dice.of(&[0.0, 1.7e9, 4e9, -1e10, 1e18, 1.5e-9])),
            Shape::Structure(structure) => Value::Object(self.members(structure)),
            Shape::List { size, member } => {
                let size = self.size(*size);
                (0..size).map(|_| self.value(*member)).collect()
            }
            Shape::Map { size, key, value } => {
                let size = self.size(*size);
                let entry = |writer: &mut Self| {
                    let key = writer.value(*key);
                    (key.as_str().unwrap_or("k").to_owned(), writer.value(*value))
                };
                Value::Object((0..size).map(|_| entry(self)).collect())
            }
        }
    }

    fn members(&mut self, structure: &Structure) -> Map<String, Value> {
        let one = self.dice.below(structure.members.len().max(1));
        let mut written = Map::new();
        for (index, member) in structure.members.iter().enumerate() {
            let chance = match (structure.is_union, member.required) {
                (true, _) => 100 * usize::from(index == one),
                (false, true) => 99,
                (false, false) => 30,
            };
            if self.dice.percent(chance) {
                written.insert(member.name.clone(), self.value(member.shape));
            }
        }
        written
    }

    fn anything(&mut self) -> Value {
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
        self.dice.of(&[
            Value::Null,
            json!(true),
            json!(-1),
            json!(u64::MAX),
            json!(1e308),
            json!("NaN"),
            json!("x".repeat(5000)),
            json!([]),
            json!({}),
            json!({"A": [{"B": null}]}),
            deep,
        ])
    }

    /// A word that fits, if one is found soon.
    fn text(&mut self, length: Limits, pattern: Option<&Pattern>) -> String {
        let mut words: Vec<String> = WORDS.iter().map(ToString::to_string).collect();
        for _ in 0..if self.seen.is_empty() { 0 } else { WORDS.len() } {
            words.push(self.dice.of(self.seen));
        }
        let kinds = ["model/a", "model-package-group/a", "model-package/a/1", "model-package/b"];
        words.extend(kinds.iter().map(|kind| format!("{ARN}{kind}")));
        words.push(format!("{ARN}inference-recommendations-job/a"));
        let mut word = self.dice.of(&words);
        for _ in 0..40 {
            let count = i64::try_from(word.chars().count()).unwrap();
            if length.hold(count) && pattern.is_none_or(|one| one.matcher.is_match(&word)) {
                break;
            }
            word = self.dice.of(&words);
        }
        word
    }

    fn number(&mut self, limits: Limits) -> i64 {
        let least = limits.min.unwrap_or(0);
        let most = limits.max.unwrap_or(1000);
        let far = [least.saturating_sub(1), most.saturating_add(1), i64::MAX];
        if self.dice.percent(self.wildness) {
            self.dice.of(&far)
        } else {
            self.dice.of(&[least, most])
        }
    }

    fn size(&mut self, limits: Limits) -> usize {
        let least = usize::try_from(limits.min.unwrap_or(0)).unwrap_or(0).min(4);
        least + self.dice.below(3)
    }
}
