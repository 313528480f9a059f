//! The charts as a page gets them: as snapshots, and as what holds for every drawing whatever its figures.

mod data;

use std::collections::HashSet;
use std::sync::LazyLock;

use assay_pages::chart::comparison::{Row, Verdict};
use assay_pages::chart::cost_demand::Line;
use assay_pages::chart::latency_cost::Candidate;
use assay_pages::chart::latency_percentiles::Curve;
use assay_pages::chart::load_curve::{Capacity, Step};
use assay_pages::chart::load_overlay::Run;
use assay_pages::chart::utilization::{Band, Mark, Series, Unit};
use assay_pages::chart::{
    Limit, comparison, cost_demand, latency_cost, latency_percentiles, load_curve, load_overlay,
    utilization,
};
use quick_xml::Reader;
use quick_xml::events::Event;

const WIDTHS: [u32; 5] = [0, 320, 720, 1200, u32::MAX];

/// Every chart of the figures as measured.
fn measured(width: u32) -> Vec<String> {
    let limit = data::limit();
    vec![
        latency_cost::draw(&data::candidates(), Some(&limit), width),
        latency_cost::draw(&data::many_candidates(), Some(&limit), width),
        load_curve::draw(&data::steps(), Some(&data::capacity()), Some(&limit), width),
        load_overlay::draw(&data::runs(), width),
        utilization::draw(&data::series(), &data::bands(), &data::marks(), "one", width),
        latency_percentiles::draw(&data::curves(), width),
        cost_demand::draw(&data::lines(), 30_000.0, Some(12_000.0), width),
        comparison::draw(&data::rows(), 3.0, width),
    ]
}

/// Every chart without figures.
fn empty(width: u32) -> Vec<String> {
    vec![
        latency_cost::draw(&[], Some(&data::limit()), width),
        load_curve::draw(&[], Some(&data::capacity()), None, width),
        load_overlay::draw(&[Run { name: "nothing".to_owned(), steps: Vec::new() }], width),
        utilization::draw(&[], &data::bands(), &data::marks(), "two", width),
        latency_percentiles::draw(&[], width),
        cost_demand::draw(&[], 100.0, Some(1.0), width),
        cost_demand::draw(&data::lines(), f64::NAN, None, width),
        comparison::draw(&[], 3.0, width),
    ]
}

/// Every chart of these values, each with each label.
fn drawn_of(values: &[f64], micros: &[u64], labels: &[String], width: u32) -> Vec<String> {
    let places = values.len().max(labels.len());
    let at = |index: usize| {
        let value = values[index % values.len()];
        let other = values[(index * 5 + 3) % values.len()];
        (labels[index % labels.len()].clone(), value, other, micros[index % micros.len()])
    };
    let each: Vec<(String, f64, f64, u64)> = (0..places).map(at).collect();
    let limit = Limit { label: each[0].0.clone(), latency_us: each[0].3 };
    let candidates = each.iter().map(|(label, value, other, latency_us)| Candidate {
        label: label.clone(),
        usd_per_million: *value,
        usd_per_million_ci95: Some([*other, *value]),
        latency_us: *latency_us,
        meets: *latency_us > 1,
        is_best: *latency_us == 1,
    });
    let steps = each.iter().map(|(_, value, _, latency_us)| Step {
        invocations_per_min: *value,
        p50_us: *latency_us,
        p95_us: *latency_us,
        p99_us: latency_us.saturating_mul(3),
    });
    let series = [Unit::Percent, Unit::Watts].map(|unit| Series {
        name: each[0].0.clone(),
        unit,
        samples: each.iter().map(|(_, value, other, _)| (*value, *other)).collect(),
    });
    let bands = each.iter().map(|(label, value, other, latency_us)| Band {
        from_s: *value,
        to_s: *other,
        label: label.clone(),
        disturbed: latency_us % 2 == 0,
    });
    let marks = each.iter().map(|(label, at_s, ..)| Mark { at_s: *at_s, label: label.clone() });
    let curves = each.iter().map(|(label, value, other, latency_us)| Curve {
        name: label.clone(),
        points: [*value, *other, 0.5, 0.99, 1.0].map(|quantile| (quantile, *latency_us)).to_vec(),
    });
    let lines = each.iter().map(|(label, value, other, _)| Line {
        label: label.clone(),
        usd_per_hour: *value,
        usable_per_min: *other,
    });
    let rows = each.iter().map(|(label, value, other, latency_us)| Row {
        label: label.clone(),
        change_pct: *value,
        ci95_pct: Some([*other, *value]),
        verdict: if *latency_us > 1 { Verdict::Improved } else { Verdict::Inconclusive },
    });
    let capacity = Capacity { invocations_per_min: each[0].1, ci95: Some([each[0].2, each[0].1]) };
    let [bands, marks] = [(bands.collect::<Vec<_>>(), vec![]), (vec![], marks.collect::<Vec<_>>())];
    let lines: Vec<Line> = lines.collect();
    let steps: Vec<Step> = steps.collect();
    let runs: Vec<Run> =
        labels.iter().map(|label| Run { name: label.clone(), steps: steps.clone() }).collect();
    let mut drawn = vec![
        load_overlay::draw(&runs, width),
        latency_cost::draw(&candidates.collect::<Vec<_>>(), Some(&limit), width),
        load_curve::draw(&steps, Some(&capacity), Some(&limit), width),
        utilization::draw(&series, &bands.0, &marks.1, &limit.label, width),
        latency_percentiles::draw(&curves.collect::<Vec<_>>(), width),
        comparison::draw(&rows.collect::<Vec<_>>(), each[0].2, width),
    ];
    drawn.extend(values.iter().map(|value| cost_demand::draw(&lines, *value, Some(*value), width)));
    drawn
}

/// Every chart of bad figures and bad labels.
fn hostile(width: u32) -> Vec<String> {
    let labels = data::hostile_labels();
    let mut drawn = drawn_of(&data::VALUES, &data::MICROS, &labels, width);
    for value in data::VALUES {
        drawn.extend(drawn_of(&[value], &[0], &labels[..1], width));
        drawn.extend(drawn_of(&[value, 7.0], &[u64::MAX, 5], &labels[1..3], width));
    }
    drawn
}

/// Every chart of every kind of figures at every width.
static ALL: LazyLock<Vec<String>> = LazyLock::new(|| {
    WIDTHS
        .into_iter()
        .flat_map(|width| measured(width).into_iter().chain(empty(width)).chain(hostile(width)))
        .collect()
});

/// The attributes of all elements, as names and values; panics where it is not well-formed.
fn attributes(svg: &str) -> Vec<(String, String)> {
    let mut reader = Reader::from_str(svg);
    let mut found = Vec::new();
    let mut depth = 0;
    loop {
        let event = reader.read_event().expect("well-formed XML");
        let element = match &event {
            Event::Start(element) => {
                depth += 1;
                element
            }
            Event::Empty(element) => element,
            Event::End(_) => {
                depth -= 1;
                continue;
            }
            Event::Eof => break,
            Event::Text(_) | Event::GeneralRef(_) => continue,
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => panic!("{event:?} in {svg}"),
        };
        for attribute in element.attributes() {
            let attribute = attribute.expect("well-formed attributes");
            found.push((
                String::from_utf8(attribute.key.as_ref().to_vec()).expect("UTF-8"),
                String::from_utf8(attribute.value.to_vec()).expect("UTF-8"),
            ));
        }
    }
    assert_eq!(depth, 0, "{svg}");
    found
}

#[test]
fn candidates_are_drawn_by_latency_and_cost() {
    let limit = data::limit();
    insta::assert_snapshot!(latency_cost::draw(&data::candidates(), Some(&limit), 720));
}

#[test]
fn many_candidates_have_numbers() {
    insta::assert_snapshot!(latency_cost::draw(&data::many_candidates(), None, 320));
}

#[test]
fn a_load_test_is_drawn_with_its_capacity() {
    let limit = data::limit();
    let svg = load_curve::draw(&data::steps(), Some(&data::capacity()), Some(&limit), 720);
    insta::assert_snapshot!(svg);
}

#[test]
fn two_runs_are_drawn_one_over_the_other() {
    insta::assert_snapshot!(load_overlay::draw(&data::runs(), 720));
}

#[test]
fn a_machine_is_drawn_over_time() {
    let mut series = data::series();
    for one in &mut series {
        one.samples.truncate(20);
    }
    let svg = utilization::draw(&series, &data::bands(), &data::marks(), "job-1", 720);
    insta::assert_snapshot!(svg);
}

#[test]
fn latencies_are_drawn_by_percentile() {
    insta::assert_snapshot!(latency_percentiles::draw(&data::curves(), 720));
}

#[test]
fn costs_are_drawn_by_demand() {
    insta::assert_snapshot!(cost_demand::draw(&data::lines(), 30_000.0, Some(12_000.0), 720));
}

#[test]
fn changes_are_drawn_with_the_gate() {
    insta::assert_snapshot!(comparison::draw(&data::rows(), 3.0, 720));
}

#[test]
fn a_chart_without_figures_says_so() {
    for svg in empty(720) {
        assert!(svg.contains(">No data</text>"), "{svg}");
    }
    insta::assert_snapshot!(latency_cost::draw(&[], None, 320));
}

#[test]
fn every_drawing_is_well_formed_and_says_what_it_shows() {
    for svg in ALL.iter() {
        let attributes = attributes(svg);
        let has = |name: &str, value: &str| attributes.contains(&(name.into(), value.into()));
        assert!(has("role", "img") && has("class", "c-chart"), "{svg}");
        assert!(attributes.iter().any(|(name, _)| name == "viewBox"), "{svg}");
        assert!(svg.contains("<title>") && svg.contains("<desc>"), "{svg}");
        assert!(!svg.contains("<desc></desc>"), "{svg}");
    }
}

#[test]
fn every_coordinate_is_a_number() {
    for svg in ALL.iter() {
        for (name, value) in attributes(svg) {
            if ["x", "y", "x1", "x2", "y1", "y2", "width", "height"].contains(&name.as_str()) {
                let number: f64 = value.parse().unwrap();
                assert!(number.is_finite() && number >= 0.0, "{name}={value} in {svg}");
                assert!(number < 5000.0, "{name}={value} in {svg}");
            }
            if name == "d" {
                assert!(!value.contains("NaN") && !value.contains("inf"), "{svg}");
            }
        }
    }
}

#[test]
fn a_drawing_has_no_style_of_its_own() {
    for svg in ALL.iter() {
        for (name, value) in attributes(svg) {
            assert!(name != "style" && !name.starts_with("on"), "{svg}");
            assert!(name != "fill" || value.starts_with("url(#c-"), "{svg}");
        }
        assert!(!svg.contains("<style") && !svg.contains("<script"), "{svg}");
    }
}

#[test]
fn every_class_is_in_the_sheet() {
    let sheet = include_str!("../../assets/charts.css");
    let known: HashSet<&str> = sheet
        .split('.')
        .filter_map(|rest| {
            let end = rest.find(|one: char| !one.is_ascii_alphanumeric() && one != '-');
            rest.get(..end?)
        })
        .collect();
    // These look like any text or like a plain line.
    let plain = ["c-legend", "c-figure", "c-d1"];
    for svg in ALL.iter() {
        for (name, value) in attributes(svg) {
            for class in value.split(' ').filter(|_| name == "class") {
                assert!(known.contains(class) || plain.contains(&class), "{class}");
            }
        }
    }
}

#[test]
fn a_hostile_label_is_text() {
    for svg in hostile(720) {
        assert!(!svg.contains("<img") && !svg.contains("<b>"), "{svg}");
        assert!(!svg.chars().any(|one| one.is_control() || one == '\u{202e}'), "{svg}");
        assert!(!svg.contains(&"m".repeat(60)), "{svg}");
    }
}

#[test]
fn ids_are_unique_on_a_page() {
    let draw = |id: &str| utilization::draw(&data::series(), &data::bands(), &[], id, 720);
    let page = format!("<div>{}{}</div>", draw("job-1"), draw("job-2"));
    let attributes = attributes(&page);
    let ids: Vec<&String> =
        attributes.iter().filter(|(name, _)| name == "id").map(|(_, value)| value).collect();
    assert_eq!(ids, ["c-job-1-hatching", "c-job-2-hatching"]);
    for (_, reference) in attributes.iter().filter(|(name, _)| name == "fill") {
        let id = reference.trim_start_matches("url(#").trim_end_matches(')');
        assert!(ids.iter().any(|known| *known == id), "{reference}");
    }
}

#[test]
fn a_drawing_is_small() {
    for svg in measured(720) {
        assert!(svg.len() < 20_000, "{}", svg.len());
    }
    let limit = data::limit();
    let svg = load_curve::draw(&data::steps(), Some(&data::capacity()), Some(&limit), 1200);
    assert!(svg.len() < 6_000, "{}", svg.len());
    assert!(cost_demand::draw(&data::lines(), 1e9, None, 1200).len() < 40_000);
    let long = Series {
        name: "CPU".to_owned(),
        unit: Unit::Percent,
        samples: (0..200_000_u32).map(|at| (f64::from(at), f64::from(at * 31 % 97))).collect(),
    };
    assert!(utilization::draw(&[long], &[], &[], "long", 1200).len() < 80_000);
}
