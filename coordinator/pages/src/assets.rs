//! What browsers load besides the pages. All of it is compiled in.

use sha2::{Digest, Sha256};

/// A file that pages refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name below `/assets/`.
    pub name: &'static str,
    pub content_type: &'static str,
    pub content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const SHEET: &str = "text/css; charset=utf-8";

impl Asset {
    /// Of its content: SHA-256 in hexadecimal digits.
    #[must_use]
    pub fn checksum(&self) -> String {
        let digest = Sha256::digest(self.content);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// How pages and reports look.
pub(crate) const STYLE: &str =
    concat!(include_str!("../assets/site.css"), include_str!("../assets/charts.css"));

/// Every asset.
pub const ASSETS: &[Asset] = &[
    Asset { name: "site.css", content_type: SHEET, content: STYLE },
    // htmx 2.0.11 and its extension for server-sent events 2.2.4, Zero-Clause BSD.
    Asset {
        name: "htmx.min.js",
        content_type: SCRIPT,
        content: include_str!("../assets/htmx.min.js"),
    },
    Asset {
        name: "htmx-sse.min.js",
        content_type: SCRIPT,
        content: include_str!("../assets/htmx-sse.min.js"),
    },
    Asset { name: "live.js", content_type: SCRIPT, content: include_str!("../assets/live.js") },
    Asset {
        name: "favicon.svg",
        content_type: "image/svg+xml",
        content: include_str!("../assets/favicon.svg"),
    },
];

/// The asset of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_as_they_published_it() {
        for (name, checksum) in [
            ("htmx.min.js", "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"),
            ("htmx-sse.min.js", "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136"),
        ] {
            assert_eq!(find(name).unwrap().checksum(), checksum, "{name}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for asset in ASSETS.iter().filter(|asset| !asset.name.starts_with("htmx")) {
            let elsewhere = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("://") && !elsewhere.contains("@import"), "{}", asset.name);
        }
        assert!(!include_str!("../assets/report.js").contains("://"));
    }
}
