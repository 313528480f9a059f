//! Reading and checking price files.

use super::*;

const HEADER: &str = "instance_type,region,usd_per_hour,source,as_of\n";

fn parse(text: &str, format: PriceFileFormat) -> Result<PriceTable, PriceFileError> {
    PriceTable::parse(text, format)
}

#[test]
fn csv_and_toml_read_the_same_and_csv_survives_itself() {
    let csv = format!(
        "{HEADER}ml.c5.large,us-east-1,0.102,price list,2026-09-01\n\"onprem.a\",*,3.2,\"us, own\",2026\n"
    );
    let toml = r#"
        [[price]]
        instance_type = "ml.c5.large"
        region = "us-east-1"
        usd_per_hour = 0.102
        source = "price list"
        as_of = 2026-09-01

        [[price]]
        instance_type = "onprem.a"
        region = "*"
        usd_per_hour = "3.20"
        source = "us, own"
        as_of = "2026"
    "#;
    let from_csv = parse(&csv, PriceFileFormat::Csv).unwrap();
    assert_eq!(from_csv, parse(toml, PriceFileFormat::Toml).unwrap());
    assert_eq!(PriceFileFormat::of_file_name("a/Prices.TOML"), PriceFileFormat::Toml);
    assert_eq!(PriceFileFormat::of_file_name("prices"), PriceFileFormat::Csv);
}

#[test]
fn a_bad_csv_line_is_named() {
    for (body, line, reason) in [
        (
            "ml.c5.large,us-east-1,0.1,s,2026-01-01\nml.c5.large,us-east-1,ten,s,2026-01-01\n",
            3,
            "\"ten\" is not a price",
        ),
        ("ML.C5,us-east-1,0.1,s,2026\n", 2, "not a valid instance type"),
        ("ml.c5.large,,0.1,s,2026\n", 2, "the region is empty"),
        ("ml.c5.large,us-east-1,0.1\n", 2, "3 fields instead of 5"),
        ("ml.c5.large,us-east-1,-0.1,s,2026\n", 2, "not a price"),
    ] {
        let error = parse(&format!("{HEADER}{body}"), PriceFileFormat::Csv).unwrap_err();
        assert_eq!(error.line, line, "{body:?}: {error}");
        assert!(error.reason.contains(reason), "{body:?}: {error}");
    }
    let error = parse("instance_type,region\n", PriceFileFormat::Csv).unwrap_err();
    assert!(error.to_string().starts_with("line 1: the column usd_per_hour is missing"), "{error}");
}

#[test]
fn a_bad_toml_value_is_named() {
    let file = |price: &str| {
        format!(
            "[[price]]\ninstance_type = \"a\"\nregion = \"r\"\nusd_per_hour = {price}\nas_of = \"x\"\n"
        )
    };
    let error = parse(&file("true"), PriceFileFormat::Toml).unwrap_err();
    assert_eq!(error.line, 4, "{error}");
    let error = parse(&file("1\nusd = 2"), PriceFileFormat::Toml).unwrap_err();
    assert_eq!(error.line, 5, "{error}");
    assert!(error.reason.contains("usd"), "{error}");
    assert_eq!(parse("[[price]\n", PriceFileFormat::Toml).unwrap_err().line, 1);
}

#[test]
fn a_price_for_exactly_the_region_wins_and_the_last_of_several_counts() {
    let rows = "a,*,1,s,d\na,r,2,s,d\na,r,3,s,d\n";
    let mut table = parse(&format!("{HEADER}{rows}"), PriceFileFormat::Csv).unwrap();
    let kind: InstanceTypeName = "a".parse().unwrap();
    let price = |table: &PriceTable, region: &str| {
        table.find(&kind, region).unwrap().usd_per_hour.to_string()
    };
    assert_eq!((price(&table, "r").as_str(), price(&table, "elsewhere").as_str()), ("3", "1"));
    let row = PriceRow { usd_per_hour: "4".parse().unwrap(), ..table.rows()[2].clone() };
    table.set(row);
    assert_eq!((price(&table, "r").as_str(), table.rows().len()), ("4", 2));
}

#[test]
fn checking_finds_stale_undated_repeated_free_and_unknown() {
    let rows =
        "ml.c5.large,r,1,s,2024-01-01\nml.c5.large,r,0,s,2026-06-01\nml.c5.lrage,r,1,s,soon\n";
    let table = parse(&format!("{HEADER}{rows}"), PriceFileFormat::Csv).unwrap();
    let found = table.check(Catalogue::builtin(), "2026-11-22".parse().unwrap());
    let problems: Vec<&PriceProblem> = found.iter().map(|finding| &finding.problem).collect();
    let meant = Some("ml.c5.large".parse().unwrap());
    assert_eq!(
        problems,
        [
            &PriceProblem::Stale { days: 1056 },
            &PriceProblem::Duplicate,
            &PriceProblem::Zero,
            &PriceProblem::Undated { as_of: "soon".to_owned() },
            &PriceProblem::UnknownInstanceType { suggestion: meant },
        ]
    );
    assert_eq!(
        found[4].to_string(),
        "ml.c5.lrage in r: not in the catalogue; perhaps ml.c5.large is meant"
    );
}
