//! The flags of `assay serve` for the SageMaker API.

use std::path::PathBuf;

use assay_server::settings::{AwsAuth, AwsSettings, LatencyUnit, OrderRule};
use clap::{Args, ValueEnum};

/// How the SageMaker API is offered.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "SageMaker API")]
pub(crate) struct AwsArgs {
    /// Whether requests must be signed [default: no on loopback without a token file, otherwise nobody is answered]
    #[arg(long, value_name = "WHO")]
    pub(crate) aws_auth: Option<Auth>,
    /// Key pairs that may sign: TOML, a table [NAME] with `access_key_id` and `secret_access_key` for each
    #[arg(long, value_name = "FILE", required_if_eq("aws_auth", "sigv4"))]
    pub(crate) aws_keys: Option<PathBuf>,
    /// The 12 digits in ARNs
    #[arg(long, default_value = "000000000000", value_name = "ID")]
    pub(crate) aws_account: String,
    /// The region in ARNs and signatures, whose prices count
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    pub(crate) aws_region: String,
    /// Unit of `ModelLatency`: as in the documentation's sample (us) or as in its text (ms)
    #[arg(long, default_value = "us", value_name = "us|ms")]
    pub(crate) aws_latency_unit: LatencyUnit,
    /// Order of recommendations: auto, cheapest-first, cheapest-last. With auto the SDK that asks deploys the cheapest
    #[arg(long, default_value = "auto", value_name = "ORDER")]
    pub(crate) aws_order: OrderRule,
    /// Take models and payloads by file:// from below this directory (repeatable)
    #[arg(long, value_name = "DIR")]
    pub(crate) allow_file_urls: Vec<PathBuf>,
}

/// Whether requests must be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// Anybody who reaches the port may ask; on loopback only.
    Off,
    /// AWS Signature Version 4, with a key pair of --aws-keys.
    #[value(name = "sigv4")]
    SigV4,
}

impl AwsArgs {
    /// What the coordinator is started with. A keys file alone means that signatures are wanted.
    pub(crate) fn settings(&self) -> AwsSettings {
        let auth = match (self.aws_auth, &self.aws_keys) {
            (Some(Auth::Off), _) => AwsAuth::Off,
            (Some(Auth::SigV4) | None, Some(keys_file)) => {
                AwsAuth::SigV4 { keys_file: keys_file.clone() }
            }
            (Some(Auth::SigV4) | None, None) => AwsAuth::Unsaid,
        };
        AwsSettings {
            auth,
            account: self.aws_account.clone(),
            region: self.aws_region.clone(),
            file_url_dirs: self.allow_file_urls.clone(),
            latency_unit: self.aws_latency_unit,
            order: self.aws_order,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        aws: AwsArgs,
    }

    fn settings(arguments: &str) -> Result<AwsSettings, String> {
        let words = ["assay"].into_iter().chain(arguments.split_whitespace());
        let parsed = Alone::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(parsed.aws.settings())
    }

    #[test]
    fn a_keys_file_means_signatures() {
        let keys = AwsAuth::SigV4 { keys_file: "k.toml".into() };
        assert_eq!(settings("--aws-keys k.toml").unwrap().auth, keys);
        assert_eq!(settings("--aws-auth sigv4 --aws-keys k.toml").unwrap().auth, keys);
        assert_eq!(settings("--aws-auth off --aws-keys k.toml").unwrap().auth, AwsAuth::Off);
        assert_eq!(settings("").unwrap().auth, AwsAuth::Unsaid);
        let refused = settings("--aws-auth sigv4").unwrap_err();
        assert!(refused.contains("--aws-keys"), "{refused}");
    }

    #[test]
    fn every_flag_arrives() {
        let given = settings(
            "--aws-account 123456789012 --aws-region eu-west-1 --aws-latency-unit ms \
             --aws-order cheapest-last --allow-file-urls /a --allow-file-urls /b",
        )
        .unwrap();
        assert_eq!((given.account.as_str(), given.region.as_str()), ("123456789012", "eu-west-1"));
        assert_eq!(given.latency_unit, LatencyUnit::Milliseconds);
        assert_eq!(given.order, "cheapest-last".parse().unwrap());
        assert_eq!(given.file_url_dirs, [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn a_word_that_is_none_is_refused_with_those_that_are() {
        for (wrong, expected) in [
            ("--aws-auth on", "off, sigv4"),
            ("--aws-latency-unit s", "us, ms"),
            ("--aws-order random", "auto, cheapest-first, cheapest-last"),
        ] {
            let refused = settings(wrong).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
