//! What the coordinator's own environment does to fetching: a proxy that stands between, credentials that are not
//! there. Errors of the libraries below name neither.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::FetchError;

/// Where credentials are asked for that no variable gives.
const METADATA_SERVICE: &str = "http://169.254.169.254";
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
/// Each is enough by itself, as far as variables go.
const OTHER_CREDENTIALS: [&str; 4] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

type Lookup = fn(&str) -> Option<String>;

/// The environment, as far as fetching depends on it.
pub(super) struct Surroundings {
    proxies: Matcher,
    variable: Lookup,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process. The clients decide about proxies by the same code.
    pub(super) fn of_this_process() -> Self {
        Self { proxies: Matcher::from_system(), variable: |name| std::env::var(name).ok() }
    }

    /// A failure to fetch a URL, with what the environment has to do with it.
    pub(super) fn explain(&self, url: &str, error: FetchError) -> FetchError {
        let is_s3 = url.starts_with("s3://");
        match error {
            FetchError::Failed { url, cause, .. }
                if is_s3 && cause.contains(METADATA_SERVICE) && self.has_no_credentials() =>
            {
                FetchError::NoCredentials { url, missing: self.missing() }
            }
            FetchError::TimedOut { url, .. } if is_s3 && self.has_no_credentials() => {
                FetchError::NoCredentials { url, missing: self.missing() }
            }
            FetchError::Failed { url: shown, cause, .. } => {
                FetchError::Failed { url: shown, via: self.via(url), cause }
            }
            FetchError::TimedOut { url: shown, patience, .. } => {
                FetchError::TimedOut { url: shown, via: self.via(url), patience }
            }
            error @ (FetchError::NotAUrl(_)
            | FetchError::NotAllowed(_)
            | FetchError::Missing(_)
            | FetchError::NotAFile(_)
            | FetchError::Denied(_)
            | FetchError::Empty(_)
            | FetchError::NoCredentials { .. }
            | FetchError::TooLarge { .. }
            | FetchError::Storing { .. }) => error,
        }
    }

    /// ` through the proxy …`, or nothing.
    fn via(&self, url: &str) -> String {
        let asked = match url.strip_prefix("s3://") {
            Some(rest) => self.s3_endpoint(rest.split('/').next().unwrap_or_default()),
            None => url.to_owned(),
        };
        let Some(proxy) = asked.parse::<Uri>().ok().and_then(|uri| self.proxies.intercept(&uri))
        else {
            return String::new();
        };
        // Without the user and the password that may stand before the host.
        let address = proxy.uri();
        let host = address.host().unwrap_or_default();
        let port = address.port().map_or_else(String::new, |port| format!(":{port}"));
        let scheme = address.scheme_str().unwrap_or("http");
        format!(
            " through the proxy {scheme}://{host}{port} (of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY where the \
             coordinator runs; NO_PROXY lists hosts that are reached without)"
        )
    }

    fn s3_endpoint(&self, bucket: &str) -> String {
        let set = ENDPOINTS.into_iter().find_map(self.variable);
        set.unwrap_or_else(|| {
            let region = (self.variable)("AWS_DEFAULT_REGION").or((self.variable)("AWS_REGION"));
            let region = region.unwrap_or_else(|| "us-east-1".to_owned());
            format!("https://{bucket}.s3.{region}.amazonaws.com")
        })
    }

    fn is_set(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| !value.is_empty())
    }

    fn has_no_credentials(&self) -> bool {
        let has_key = self.is_set(KEY_ID) && self.is_set(SECRET);
        !has_key && !OTHER_CREDENTIALS.iter().any(|name| self.is_set(name))
    }

    fn missing(&self) -> String {
        let missing = [KEY_ID, SECRET].into_iter().filter(|name| !self.is_set(name));
        missing.collect::<Vec<_>>().join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn surroundings(variable: Lookup) -> Surroundings {
        let proxies = Matcher::builder()
            .all("http://user:secret@proxy.example:3128")
            .no("localhost,127.0.0.1")
            .build();
        Surroundings { proxies, variable }
    }

    fn failed(url: &str, cause: &str) -> FetchError {
        FetchError::Failed { url: url.to_owned(), via: String::new(), cause: cause.to_owned() }
    }

    #[test]
    fn a_failure_names_the_proxy_that_stood_between_and_no_password() {
        let surroundings = surroundings(|_| None);
        for url in ["http://host/x", "https://host/x?signature=1", "s3://bucket/x"] {
            let told = surroundings.explain(url, failed(url, "Connection refused")).to_string();
            assert!(
                told.contains("through the proxy http://proxy.example:3128 (of HTTP_"),
                "{told}"
            );
            assert!(told.ends_with(": Connection refused") && !told.contains("secret"), "{told}");
        }
        let url = "http://127.0.0.1:9/x";
        let told = surroundings.explain(url, failed(url, "Connection refused")).to_string();
        assert_eq!(told, "http://127.0.0.1:9/x cannot be read: Connection refused");
        let late = FetchError::TimedOut {
            url: "http://host/x".to_owned(),
            via: String::new(),
            patience: Duration::from_secs(60),
        };
        let told = surroundings.explain("http://host/x", late).to_string();
        assert!(told.starts_with("http://host/x did not answer within 60 s through the"), "{told}");
        let own = super::Surroundings {
            variable: |name| {
                (name == "AWS_ENDPOINT_URL").then(|| "http://localhost:9000".to_owned())
            },
            ..surroundings
        };
        let told = own.explain("s3://bucket/x", failed("s3://bucket/x", "refused")).to_string();
        assert_eq!(told, "s3://bucket/x cannot be read: refused");
    }

    #[test]
    fn without_credentials_the_variables_that_are_missing_are_named() {
        let cause =
            "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token";
        let told = |variable: Lookup| {
            surroundings(variable).explain("s3://b/k", failed("s3://b/k", cause)).to_string()
        };
        let nothing = told(|_| None);
        assert!(
            nothing.contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set"),
            "{nothing}"
        );
        let half = told(|name| (name == KEY_ID).then(|| "AKIA".to_owned()));
        assert!(half.contains("with AWS_SECRET_ACCESS_KEY not set"), "{half}");
        let role = told(|name| (name == "AWS_CONTAINER_CREDENTIALS_FULL_URI").then(|| "u".into()));
        assert!(role.contains("169.254.169.254"), "{role}");
        // What the bucket itself answers is another matter.
        let other = failed("s3://b/k", "the bucket is in another region");
        let other = surroundings(|_| None).explain("s3://b/k", other).to_string();
        assert!(other.contains("another region"), "{other}");
    }
}
