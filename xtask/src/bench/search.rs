//! `bench search`: how close the capacity search comes on simulated servers whose capacity is known,
//! beside the search rules of other tools.
//!
//! The simulation is an example of `assay-measure`; here it is started, its rows are judged by the
//! goals, and the table is made. Simulated time: a busy machine only makes it slower, except for the
//! time that deciding takes.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Bench, figures::verdict, report::Section};
use crate::{checkout::Checkout, process::shown};

const SEARCHES: u32 = 50;
/// Those of other tools take longer and need less precision.
const SEARCHES_OF_OTHERS: u32 = 16;
/// No constant of the search was chosen on these seeds.
const FIRST_SEED: u32 = 90_000;
/// Servers for each of two processes, about equally long; small letters are the held-out ones.
const SHARES: [&str; 2] = ["ACEGace", "BDFHIbdf"];
const DECIDING_GOAL_MS: f64 = 100.0;
const QUICK_GOAL_S: f64 = 80.0;
/// A quick search may call so many steady servers drifting, in per cent.
const FALSE_ALARMS_PCT: f64 = 5.0;

/// One method on one server, as the simulation printed it.
#[derive(Debug, Clone)]
struct Row {
    fields: Vec<String>,
}

/// What a full search of one server is to reach.
#[derive(Debug, Clone, Copy)]
struct Goal {
    bias_pct: f64,
    rmse_pct: f64,
    coverage_pct: f64,
    median_s: f64,
}

/// Runs both halves of the simulation side by side and makes one table of them.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    bench.say("building the simulation");
    bench.checkout.run_cargo("build --release --package assay-measure --example search_table")?;
    bench.say(&format!("{SEARCHES} searches of every server in either mode"));
    let started = SHARES.map(|letters| start(bench.checkout, letters));
    let mut rows = Vec::new();
    for child in started {
        let (child, command) = child?;
        let output = child.wait_with_output().with_context(|| format!("`{command}` was lost"))?;
        if !output.status.success() {
            bail!("`{command}` ended with {}", output.status);
        }
        rows.extend(parse(&String::from_utf8_lossy(&output.stdout))?);
    }
    rows.sort_by_key(sort_key);
    Ok(Section { name: "search", title: "Capacity search", body: body(&rows)? })
}

fn start(checkout: &Checkout, letters: &str) -> Result<(Child, String)> {
    let mut command = Command::new(checkout.release_binary("examples/search_table"));
    let numbers = [SEARCHES, FIRST_SEED].map(|number| number.to_string());
    command.args(&numbers).arg(letters).arg(SEARCHES_OF_OTHERS.to_string());
    let text = shown(&command);
    let child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
    Ok((child.with_context(|| format!("cannot start `{text}`"))?, text))
}

/// Published servers before held-out ones, otherwise as printed.
fn sort_key(row: &Row) -> (bool, String) {
    let server = row.server().to_owned();
    (server.starts_with(|letter: char| letter.is_ascii_lowercase()), server)
}

fn parse(printed: &str) -> Result<Vec<Row>> {
    const FIELDS: usize = 15;
    printed
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            if fields.len() != FIELDS {
                bail!("not a row of the simulation's table: {line}");
            }
            Ok(Row { fields })
        })
        .collect()
}

impl Row {
    fn server(&self) -> &str {
        &self.fields[0]
    }

    fn method(&self) -> &str {
        &self.fields[1]
    }

    fn number(&self, field: usize) -> Result<f64> {
        let text = &self.fields[field];
        text.parse()
            .with_context(|| format!("{text:?} is no number in the row of {}", self.server()))
    }

    /// What was missed, in words; empty for a row of another tool.
    fn missed(&self) -> Result<Option<Vec<String>>> {
        let mut missed = Vec::new();
        let mut at_most = |name: &str, value: f64, limit: f64| {
            if value.abs() > limit {
                missed.push(format!("{name} {value} > {limit}"));
            }
        };
        let letter = self.server().chars().next().unwrap_or('?').to_ascii_uppercase();
        // G to I show what batch times are worth where batches are uneven; nothing was promised there.
        if ('G'..='I').contains(&letter) {
            return Ok(None);
        }
        match self.method() {
            "Assay, full" | "Assay, full, white box" => {
                let goal = goal(letter);
                at_most("bias", self.number(4)?, goal.bias_pct);
                at_most("rmse", self.number(5)?, goal.rmse_pct);
                at_most("median time", self.number(7)?, goal.median_s);
                at_most("deciding", self.number(14)?, DECIDING_GOAL_MS);
                let coverage = self.number(6)?;
                if coverage < goal.coverage_pct {
                    missed.push(format!("coverage {coverage} < {}", goal.coverage_pct));
                }
            }
            "Assay, quick" | "Assay, quick, white box" => {
                at_most("median time", self.number(7)?, QUICK_GOAL_S);
                at_most("deciding", self.number(14)?, DECIDING_GOAL_MS);
                let (drift, suspect) = (self.number(9)?, self.number(10)?);
                match letter {
                    'E' if suspect < 95.0 => missed.push(format!("suspect {suspect} < 95")),
                    'A'..='D' if drift > FALSE_ALARMS_PCT => {
                        missed.push(format!("false alarms {drift} > {FALSE_ALARMS_PCT}"));
                    }
                    _ => {}
                }
            }
            _ => return Ok(None),
        }
        Ok(Some(missed))
    }
}

fn goal(letter: char) -> Goal {
    let usual = Goal { bias_pct: 1.0, rmse_pct: 2.0, coverage_pct: 90.0, median_s: 165.0 };
    match letter {
        'D' => Goal { median_s: 260.0, ..usual },
        'E' => Goal { coverage_pct: 85.0, ..usual },
        'F' => Goal { bias_pct: 2.5, rmse_pct: 4.0, coverage_pct: 85.0, median_s: 310.0 },
        _ => usual,
    }
}

fn body(rows: &[Row]) -> Result<String> {
    let mut body = format!(
        "{SEARCHES} simulated searches each ({SEARCHES_OF_OTHERS} of the other tools' rules), seeds from {FIRST_SEED}. \
         Servers A to F are those that the search was tuned on, with other seeds; a to f took no part in it. \
         G to I take batches and are uneven, without goals. White box: the search is told every batch, as our own host does. \
         Errors in per cent of the true rate; a positive bias promises more than the server holds. \
         Coverage: intervals that hold the truth. Times are simulated, deciding is real.\n"
    );
    let (mut server, mut met, mut judged) = ("", 0, 0);
    for row in rows {
        if row.server() != server {
            server = row.server();
            body.push_str(&format!(
                "\n**{server}** (true capacity {}/s)\n\n| method | bias % | rmse % | coverage % | median s | no answer % | drift found % | suspect % | deciding, ms | goals |\n|---|---|---|---|---|---|---|---|---|---|\n",
                row.fields[3]
            ));
        }
        let goals = match row.missed()? {
            None => String::new(),
            Some(missed) => {
                judged += 1;
                met += i32::from(missed.is_empty());
                let said = verdict(missed.is_empty());
                if missed.is_empty() {
                    said.to_owned()
                } else {
                    format!("{said}: {}", missed.join(", "))
                }
            }
        };
        let shown = [1, 4, 5, 6, 7, 8, 9, 10, 14].map(|field| row.fields[field].as_str());
        body.push_str(&format!("| {} | {goals} |\n", shown.join(" | ")));
    }
    body.push_str(&format!(
        "\nGoals met in {met} of {judged} rows of ours. Full: bias ≤ 1 %, rmse ≤ 2 % (F: 2.5 and 4), coverage ≥ 90 % \
         (E, F: 85), median ≤ 165 s (D: 260, F: 310). Quick: median ≤ {QUICK_GOAL_S} s, at most {FALSE_ALARMS_PCT} % of \
         steady servers said to drift, throttling ones suspect. Deciding ≤ {DECIDING_GOAL_MS} ms per segment. \
         The other tools' rules are re-implementations."
    ));
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(method: &str, coverage: &str) -> Row {
        let line = format!(
            "A  one\t{method}\t50\t69.38\t+0.10\t0.30\t{coverage}\t120\t0\t0\t0\t0.2\t100\t100\t3.1"
        );
        parse(&format!("heading\n{line}\n")).unwrap().remove(0)
    }

    #[test]
    fn a_row_says_which_goal_it_misses() {
        assert!(row("Assay, full", "96").missed().unwrap().unwrap().is_empty());
        let missed = row("Assay, full", "88").missed().unwrap().unwrap();
        assert_eq!(missed, vec!["coverage 88 < 90".to_owned()]);
        assert_eq!(row("stairs", "-").missed().unwrap(), None);
    }

    #[test]
    fn a_torn_row_is_an_error() {
        assert!(parse("heading\nA\tB\n").unwrap_err().to_string().contains("not a row"));
    }

    #[test]
    fn servers_stand_under_their_own_heading() {
        let body = body(&[row("Assay, full", "96"), row("stairs", "-")]).unwrap();
        assert_eq!(body.matches("true capacity 69.38/s").count(), 1);
        assert!(body.contains("| met |") && body.contains("Goals met in 1 of 1"), "{body}");
    }
}
