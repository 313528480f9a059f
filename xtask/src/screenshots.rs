//! `cargo xtask screenshots`: the pictures of the README, of pages that hold known figures.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};

use crate::{binaries, checkout::Checkout, console::Console, process};

/// The test that looks at every page, which takes the pictures.
const LOOKS: &str = "every_page_and_state_is_accessible";
/// Of the pictures that it takes, those in the README, with their names there.
const SHOWN: [(&str, &str); 2] =
    [("results-by-goals-1280-light.png", "results.png"), ("trial-1280-light.png", "trial.png")];

/// Takes pictures of every page and state, and puts two of them beside the README.
pub(crate) fn run(checkout: &Checkout, console: Console) -> Result<ExitCode> {
    binaries::build(checkout, console)?;
    let pictures = checkout.target_dir().join("screenshots");
    fs::create_dir_all(&pictures).with_context(|| format!("cannot make {}", pictures.display()))?;
    console.say("looking at every page");
    let mut looking = checkout.cargo();
    looking.args(["test", "--package", "assay-tests", "--test", "browser", "--", LOOKS]);
    looking.env("ASSAY_TEST_BINARIES", checkout.target_dir().join("debug"));
    process::run(looking.env("ASSAY_SCREENSHOTS", &pictures))?;
    let docs = checkout.root().join("docs/images");
    fs::create_dir_all(&docs).with_context(|| format!("cannot make {}", docs.display()))?;
    for (taken, shown) in SHOWN {
        let (from, to) = (pictures.join(taken), docs.join(shown));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    console.say(&format!("all of them are in {}", pictures.display()));
    Ok(ExitCode::SUCCESS)
}
