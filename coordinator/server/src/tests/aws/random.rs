//! Requests that nobody would write: drawn from the table of shapes, right in most places and wrong in some.
//!
//! `ASSAY_API_CASES=200000 cargo test -p assay-server whatever_is_asked` goes on for minutes; `ASSAY_API_SEED`
//! draws others.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};

use assay_sagemaker::{
    operation::Operation,
    schema::{Limits, Pattern, Schema, Shape, ShapeId, Structure},
    validation::violations,
};
use serde_json::{Map, Value, json};

use super::post;
use crate::tests::support::Coordinator;

const ARN: &str = "arn:aws:sagemaker:us-east-1:000000000000:";
const GROUP: &str = "/aws/sagemaker/InferenceRecommendationsJobs";
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

/// The same numbers for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit as u64).unwrap()
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

struct Writer<'a> {
    schema: &'static Schema,
    dice: &'a mut Dice,
    /// How often in a hundred a value is anything at all.
    wildness: usize,
}

impl Writer<'_> {
    fn value(&mut self, shape: ShapeId) -> Value {
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

fn number_from(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test]
async fn whatever_is_asked_the_answer_has_its_shape_or_the_refusal_is_a_4xx() {
    let coordinator = Coordinator::start().await;
    let schema = Schema::get();
    let mut dice = Dice(number_from("ASSAY_API_SEED", 1));
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    let mut codes = BTreeSet::new();
    for case in 0..number_from("ASSAY_API_CASES", 600) {
        let operation = dice.of(Operation::ALL);
        let wildness = dice.of(&[0, 0, 2, 20]);
        let mut writer = Writer { schema, dice: &mut dice, wildness };
        let mut body = writer.value(schema.request(operation)).to_string().into_bytes();
        if dice.percent(2) {
            let place = dice.below(body.len());
            body[place] = u8::try_from(dice.below(256)).unwrap();
        }
        let target = operation.target();
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let answer = post(&coordinator.url, &headers, &body).await;
        let asked = String::from_utf8_lossy(&body);
        assert!(answer.status < 500, "case {case}: {target} {asked}\n{answer:?}");
        if answer.status != 200 {
            codes.insert(answer.refusal().0);
            continue;
        }
        *answered.entry(operation.name()).or_default() += 1;
        match schema.response(operation) {
            Some(shape) => {
                let wrong = violations(schema, shape, &answer.json());
                let wrong = wrong.unwrap_or_else(|wrong| panic!("case {case}: {target} {wrong:?}"));
                assert_eq!(wrong.count, 0, "case {case}: {target} {asked}\n{answer:?}\n{wrong}");
            }
            None => assert_eq!(answer.body, "", "case {case}: {target}"),
        }
    }
    // It has to get somewhere, or it shows nothing.
    assert!(answered.len() >= 10, "{answered:?} {codes:?}");
    assert!(codes.len() >= 4, "{codes:?}");
}
