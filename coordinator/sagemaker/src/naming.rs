//! Names that are derived from a job: recommendations, endpoints, log streams.
//!
//! The same candidate gives the same recommendation and the same trial the same endpoint for ever: names are
//! hashes, not counters, so that neither the order of a list nor a restart changes them.

/// The log group of all jobs.
pub const LOG_GROUP: &str = "/aws/sagemaker/InferenceRecommendationsJobs";

/// The only variant of an endpoint.
pub const VARIANT: &str = "AllTraffic";

/// Names of endpoints keep so much of the job's name.
const KEPT_OF_JOB_NAME: usize = 40;

const WORD_LENGTH: usize = 8;

/// `<job>/<8 word characters>`, which is what the SDK's `deploy()` accepts.
///
/// `parts` are what tells one candidate from the others: its instance type and how the model is served.
#[must_use]
pub fn recommendation_id(owner: &str, parts: &[&str]) -> String {
    format!("{owner}/{}", word(parts))
}

/// The owner and the word of a recommendation's id.
#[must_use]
pub fn split_recommendation_id(id: &str) -> Option<(&str, &str)> {
    let (owner, word) = id.rsplit_once('/')?;
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (!owner.is_empty() && word.len() == WORD_LENGTH && word.bytes().all(is_word))
        .then_some((owner, word))
}

/// The name of the endpoint that a candidate was measured as: one measured twice was two endpoints, so the
/// trial is a part of it.
#[must_use]
pub fn endpoint(job: &str, parts: &[&str]) -> String {
    let kept: String = job.chars().take(KEPT_OF_JOB_NAME).collect();
    format!("{}-{}", kept.trim_end_matches('-'), word(parts))
}

/// The log stream of a job as a whole.
#[must_use]
pub fn execution_stream(job: &str) -> String {
    format!("{job}/execution")
}

/// The log stream of one candidate.
#[must_use]
pub fn endpoint_stream(job: &str, endpoint: &str) -> String {
    format!("{job}/Endpoint/{endpoint}")
}

/// The job and the endpoint that a log stream belongs to; the endpoint is absent for the job as a whole.
#[must_use]
pub fn split_stream(stream: &str) -> Option<(&str, Option<&str>)> {
    let (job, rest) = stream.split_once('/')?;
    if rest == "execution" {
        return Some((job, None));
    }
    rest.strip_prefix("Endpoint/").map(|endpoint| (job, Some(endpoint)))
}

/// Eight letters and digits that depend on every part: FNV-1a over the parts, each ended by a byte that no
/// UTF-8 text contains, mixed once more because its high bits are weak.
fn word(parts: &[&str]) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let mut hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let mut word = String::with_capacity(WORD_LENGTH);
    for _ in 0..WORD_LENGTH {
        let digit = usize::try_from(hash % 36).expect("less than 36");
        word.push(char::from(DIGITS[digit]));
        hash /= 36;
    }
    word
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regex::Regex;

    use super::*;

    #[test]
    fn the_sdk_accepts_the_ids_of_recommendations() {
        let accepted = Regex::new(r"\A[a-zA-Z0-9](-*[a-zA-Z0-9]){0,63}/\w{8}\z").unwrap();
        for number in 0..100 {
            let id =
                recommendation_id("resnet18-2026-11-22", &[&format!("t/{number}"), "ml.c5.large"]);
            assert!(accepted.is_match(&id), "{id}");
            assert_eq!(split_recommendation_id(&id).unwrap().0, "resnet18-2026-11-22");
        }
        for wrong in ["", "/abcdefgh", "job/abcdefg", "job/abc-efgh", "abcdefgh"] {
            assert_eq!(split_recommendation_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_stay_what_they_are() {
        assert_eq!(recommendation_id("demo", &["demo/0", "ml.c5.large"]), "demo/wi95gl1r");
    }

    #[test]
    fn a_thousand_candidates_have_a_thousand_ids() {
        let ids: BTreeSet<String> =
            (0..1000).map(|n| word(&[&format!("demo/{n}"), "ml.c5.large"])).collect();
        assert_eq!(ids.len(), 1000);
        assert_ne!(word(&["ab", "c"]), word(&["a", "bc"]));
    }

    #[test]
    fn an_endpoint_has_a_valid_name_that_keeps_40_characters_of_the_job() {
        let job = format!("{}-{}", "a".repeat(39), "b".repeat(20));
        let name = endpoint(&job, &["t/1", "ml.c5.large"]);
        let valid = Regex::new(r"\A[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}\z").unwrap();
        assert!(valid.is_match(&name), "{name}");
        assert_eq!(name.len(), 39 + 1 + 8);
    }

    #[test]
    fn streams_are_told_apart() {
        assert_eq!(split_stream(&execution_stream("demo")), Some(("demo", None)));
        assert_eq!(split_stream(&endpoint_stream("demo", "e-1")), Some(("demo", Some("e-1"))));
        assert_eq!(split_stream("demo/other"), None);
        assert_eq!(split_stream("demo"), None);
    }
}
