//! A name for a job whose user gave none.

use assay_measure::ids::JobName;
use jiff::Timestamp;

/// `resnet18-20261122-143005`: of a file's name (or an endpoint's) up to its first dot, and the time; always valid.
///
/// # Panics
/// Never: letters, digits and inner hyphens, at most 56 of them, are a name.
#[must_use]
pub fn of(what: &str, now: Timestamp) -> JobName {
    let stem = what.split('.').next().unwrap_or_default();
    let clean: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let clean = Some(clean.trim_matches('-')).filter(|clean| !clean.is_empty()).unwrap_or("job");
    let name = format!("{clean}-{}", now.strftime("%Y%m%d-%H%M%S"));
    JobName::new(name).expect("letters, digits and inner hyphens, at most 56 of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_makes_a_valid_job_name() {
        let now: Timestamp = "2026-11-22T14:30:05Z".parse().unwrap();
        assert_eq!(of("resnet18.pt", now).as_str(), "resnet18-20261122-143005");
        for odd in ["", "..", "---.pt", "é è.pt", &"x".repeat(200)] {
            assert!(of(odd, now).as_str().ends_with("-20261122-143005"));
        }
    }
}
