//! The published JSON Schema holds for reports: as much of JSON Schema as `report.schema.json` uses.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{self, recorded, report};
use crate::stacks::stacked;
use serde_json::Value;
use std::collections::BTreeSet;
use trapline_analyzer::{By, Options, Report, SCHEMA_VERSION};
use trapline_formats::{ExitKind, Header, Trace};

/// Words that this check understands; any other in the schema fails it.
const WORDS: [&str; 16] = [
    "$schema",
    "title",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "pattern",
    "minimum",
    "minItems",
    "maxItems",
    "$id",
];

fn schema() -> Value {
    serde_json::from_str(include_str!("../../report.schema.json")).unwrap()
}

/// What is wrong with a value, and where.
pub fn errors(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let rules = schema.as_object().unwrap();
    let mut all = Vec::new();
    let mut check = |is: bool, what: &str| {
        if !is {
            all.push(format!("{at}: {what}: {value}"));
        }
    };
    for word in rules.keys() {
        check(WORDS.contains(&word.as_str()), word);
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    check(types.is_empty() || types.iter().any(|t| is_of(t.as_str().unwrap(), value)), "type");
    check(rules.get("const").is_none_or(|c| c == value), "const");
    check(rules.get("enum").is_none_or(|e| e.as_array().unwrap().contains(value)), "enum");
    check(
        value.as_f64().is_none_or(|v| schema["minimum"].as_f64().is_none_or(|least| v >= least)),
        "minimum",
    );
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        check(regex::Regex::new(pattern).unwrap().is_match(text), "pattern");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        check(choices.iter().any(|choice| errors(choice, value, at).is_empty()), "anyOf");
    }
    if let Some(object) = value.as_object().filter(|_| rules.contains_key("properties")) {
        let names: BTreeSet<_> = object.keys().map(String::as_str).collect();
        let known: BTreeSet<_> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let required: BTreeSet<_> =
            schema["required"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
        check(names.is_subset(&known), "a member that is not described");
        check(required.is_subset(&names), "a member is missing");
        for (name, inner) in object.iter().filter(|(name, _)| known.contains(name.as_str())) {
            all.extend(errors(&schema["properties"][name], inner, &format!("{at}.{name}")));
        }
    }
    if let Some(items) = value.as_array() {
        for (i, item) in items.iter().enumerate().filter(|_| rules.contains_key("items")) {
            all.extend(errors(&schema["items"], item, &format!("{at}[{i}]")));
        }
    }
    all
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

#[test]
fn reports_of_every_grouping_are_as_the_schema_says() {
    let (dir, path) = recorded();
    let killed = firmware::trace(&dir.path().join("killed.trap"), &header()).killed();
    let mut untimed =
        SyntheticTrace::create(&dir.path().join("untimed.trap"), &Header { tick_hz: 0, ..header() });
    let site = untimed.site(ExitKind::PortWrite, 0x80, 1, 0x8000, &[0xee]);
    (0..50).for_each(|_| untimed.exit(site, &[1], 0, 0));
    for path in [path, killed, untimed.end(halted())] {
        for by in By::ALL {
            let json: Value = serde_json::from_str(&report(&path, by).to_json(None).unwrap()).unwrap();
            assert_eq!(errors(&schema(), &json, "report"), [""; 0], "{} {by}", path.display());
        }
        let options = Options { histograms: true, ..Options::default() };
        let report = Report::with(&Trace::open(&path).unwrap(), options, &mut |_| {}).unwrap();
        let json: Value = serde_json::from_str(&report.to_json(None).unwrap()).unwrap();
        assert!(!json["histograms"].as_array().unwrap().is_empty());
        assert_eq!(errors(&schema(), &json, "report"), [""; 0], "{} with histograms", path.display());
        let stacked =
            Report::with_symbols(&Trace::open(&path).unwrap(), By::Site, stacked(&path), &mut |_| {});
        let json: Value = serde_json::from_str(&stacked.unwrap().to_json(None).unwrap()).unwrap();
        assert!(!json["stacks"].as_array().unwrap().is_empty());
        assert_eq!(errors(&schema(), &json, "report"), [""; 0], "{} with stacks", path.display());
    }
}

#[test]
fn the_schema_is_of_this_version_and_notices_what_is_wrong() {
    assert_eq!(schema()["properties"]["schema_version"]["const"], SCHEMA_VERSION);
    let (_dir, path) = recorded();
    let good: Value = serde_json::from_str(&report(&path, By::Site).to_json(None).unwrap()).unwrap();
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        change(&mut json);
        errors(&schema(), &json, "report").len()
    };
    assert_eq!(wrong(&|_| ()), 0);
    assert_eq!(wrong(&|json| json["rows"][0]["count"] = "many".into()), 1);
    assert_eq!(wrong(&|json| json["rows"][0]["address"] = "1016".into()), 1);
    assert_eq!(wrong(&|json| json["by"] = "moon".into()), 1);
    assert_eq!(wrong(&|json| json["more"] = 1.into()), 1);
    assert_eq!(wrong(&|json| drop(json.as_object_mut().unwrap().remove("totals"))), 1);
    assert_eq!(wrong(&|json| json["suggestions"][0]["exits"] = Value::Null), 1);
}
