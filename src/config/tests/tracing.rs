//! `tracing`: what reaches its place, and what a bad one is answered with.

use std::path::Path;
use std::time::Duration;

use super::bad_input::{answers, assert_answers};
use super::load;
use crate::model::settings::{Otlp, TraceSettings};

const AROUND: &str = "service: lb\nfrontends: {}\nfarms: {}\nPATCH\n";

fn loaded(text: &str) -> (Option<TraceSettings>, Vec<String>) {
    let loaded = load(&AROUND.replace("PATCH", text)).unwrap_or_else(|errors| panic!("{errors}"));
    (loaded.settings.tracing, loaded.warnings)
}

#[test]
fn tracing_is_off_on_with_its_defaults_or_as_it_is_written() {
    assert_eq!(loaded("").0, None);
    let plain = TraceSettings { sample_ppm: 10_000, service_name: "farmgate".into(), otlp: None };
    assert_eq!(loaded("tracing: {}"), (Some(plain.clone()), Vec::new()));
    let (near, warnings) = loaded("tracing: {otlp: {url: 'http://127.0.0.1:4318/v1/traces'}}");
    let url = "http://127.0.0.1:4318/v1/traces".into();
    let otlp = Otlp { url, headers: Vec::new(), ca: None, timeout: Duration::from_secs(5) };
    assert_eq!((near, warnings), (Some(TraceSettings { otlp: Some(otlp), ..plain }), Vec::new()));
    let far = "tracing: {sample: 0.25%, service_name: edge-1, otlp: {url: 'https://h/v1/traces', ca: /ca.pem, \
               timeout: 1s, headers: {Authorization: 'Bearer hush', x-a: b}}}";
    let (far, warnings) = loaded(far);
    let far = far.unwrap();
    assert_eq!((far.sample_ppm, &*far.service_name, warnings), (2500, "edge-1", Vec::new()));
    let otlp = far.otlp.unwrap();
    let headers: Vec<_> = otlp.headers.iter().map(|(name, value)| (&**name, value.reveal())).collect();
    assert_eq!(headers, [("authorization", "Bearer hush"), ("x-a", "b")]);
    assert_eq!((otlp.ca.as_deref(), otlp.timeout), (Some(Path::new("/ca.pem")), Duration::from_secs(1)));
    let (_, warnings) = loaded("tracing: {otlp: {url: 'http://collector.example/v1/traces'}}");
    assert!(warnings[0].contains("leave this machine in the clear"), "{warnings:?}");
}

#[test]
fn bad_tracing() {
    let said = answers(
        AROUND,
        &[
            "tracing: true",
            "tracing: {samples: 1%}",
            "tracing: {sample: 0.01}",
            "tracing: {sample: 101%}",
            "tracing: {sample: 0.00001%}",
            "tracing: {service_name: ''}",
            "tracing: {otlp: 'http://h/'}",
            "tracing: {otlp: {}}",
            "tracing: {otlp: {url: 'h:4317'}}",
            "tracing: {otlp: {url: 'https://user:hush@h/'}}",
            "tracing: {otlp: {url: 'http://127.0.0.1/', ca: /ca.pem}}",
            "tracing: {otlp: {url: 'https://h/', timeout: 2m}}",
            "tracing: {otlp: {url: 'https://h/', headers: 'Authorization: hush'}}",
            "tracing: {otlp: {url: 'https://h/', headers: {Content-Type: text/plain, 'a b': c, x: y, X: z}}}",
            "tracing: {otlp: {url: 'https://h/', headers: {a: \"hush\\n\", b: '', c: [d]}}}",
        ],
    );
    let answered: Vec<_> = said.lines().filter(|line| line.starts_with(' ')).collect();
    assert!(answered.iter().all(|line| !line.contains("hush")), "{answered:?}");
    assert_answers!(said);
}
