//! The schema, word for word: the snapshots are what readers get, and are meant to be read.

use super::samples::{every_kind, server};
use super::*;
use crate::model::Name;

#[test]
fn every_kind_of_event_has_its_json() {
    let lines: Vec<String> = every_kind().iter().map(json).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_kind_of_event_has_its_sentence() {
    let lines: Vec<String> = every_kind().iter().map(sentence).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_kind_of_event_is_read_back_as_it_was_written() {
    for event in every_kind() {
        let wire = EventWire::of(&event);
        assert_eq!(EventWire::parse(&wire.to_json()).as_ref(), Ok(&wire));
    }
    assert!(EventWire::parse("{}").is_err());
}

#[test]
fn event_of_a_newer_build_is_read_for_what_is_known_of_it() {
    let newer = r#"{"id":1,"at":"now","generation":2,"type":"left","text":"x","closed":3,"surprise":{"a":[1]}}"#;
    let wire = EventWire::parse(newer).unwrap();
    assert_eq!((wire.kind, wire.details.closed), (wire::EventType::Left, Some(3)));
}

#[test]
fn incident_is_about_all_its_farms_and_a_reload_about_none() {
    let mut seen = Vec::new();
    for event in every_kind() {
        let of = farms(&event.kind);
        if matches!(event.kind, EventKind::Incident { .. }) {
            assert_eq!(of, [server(1).0.farm, FarmId::derive(&Name::parse("shop").unwrap())]);
        } else if matches!(
            event.kind,
            EventKind::Certificate { .. }
                | EventKind::Commanded { .. }
                | EventKind::Credential { .. }
                | EventKind::Refresh { .. }
                | EventKind::Reloaded { .. }
        ) {
            assert_eq!(of, []);
        } else {
            assert_eq!(of, [server(1).0.farm]);
        }
        seen.push(event.id);
    }
    assert_eq!(seen, (1..=54).collect::<Vec<u64>>());
}
