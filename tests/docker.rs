//! What stands under `docker/` fits the program: its config loads, its dashboard asks for metrics that exist.

use std::fs;

use farmgate::config;
use farmgate::metrics::names;

#[test]
fn docker_config_loads_without_a_warning() {
    let env = |name: &str| (name == "FARMGATE_TOKEN").then(|| "0123456789abcdef0123456789abcdef".to_owned());
    let text = fs::read_to_string("docker/farmgate.yaml").unwrap();
    let loaded = config::parse("docker/farmgate.yaml", &text, &env, &|path| fs::read_to_string(path));
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn docker_dashboard_names_metrics_that_exist() {
    let text = fs::read_to_string("docker/grafana/dashboards/farmgate.json").unwrap();
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("farmgate_"));
    let mut count = 0;
    for word in words {
        let name = word.strip_suffix("_bucket").unwrap_or(word);
        assert!(names::ALL.iter().any(|metric| metric.name == name), "{word}");
        count += 1;
    }
    assert!(count > 10, "the dashboard was not read");
}
