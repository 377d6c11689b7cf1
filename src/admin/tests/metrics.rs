//! The process's own numbers as a scrape sees them.

use super::*;
use crate::admin::outlets::{
    AccessLogNumbers, CertificateNumbers, JournalNumbers, MemoryNumbers, Outlets, ReadNumbers, ReceiverNumbers,
    SpanNumbers,
};

#[test]
fn metrics_are_for_a_token_unless_open() {
    let closed = Running::start();
    assert_eq!(closed.send("GET", "/metrics", &[], b"").status, 401);
    let reply = closed.call("GET", "/metrics", VIEWER, "");
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("text/plain; version=0.0.4")));
    let open = AdminSettings { metrics: MetricsAccess::Open, ..settings() };
    let open = Running::start_with(&open, None, Arc::new(NoJournal));
    assert_eq!(open.send("GET", "/metrics", &[], b"").status, 200);
    assert_eq!(open.send("GET", SERVER, &[], b"").status, 401);
}

#[test]
fn metrics_tell_cells_of_all_workers_and_the_states_of_servers() {
    let store = store_with(Arc::new(NoJournal));
    let table = store.load();
    let (front, web) = (&table.frontends[0], &table.farms[0]);
    for worker in [WorkerIx(0), WorkerIx(1)] {
        front.cells.of(worker).connections.add(2);
        front.cells.of(worker).refused[Refusal::HeaderTimeout as usize].add(1);
        front.cells.of(worker).own_answers[4].add(1);
        let edge = front.feeds[0].edges[0].of(worker);
        edge.requests[1].add(10);
        edge.requests[5].add(1);
        edge.bytes_in.add(100);
        edge.bytes_out.add(2000);
        edge.duration.observe(Duration::from_millis(3));
    }
    front.cells.of(WorkerIx(1)).connections_open.add(1);
    front.feeds[0].edges[1].of(WorkerIx(0)).connect_failures.add(3);
    front.feeds[0].edges[1].of(WorkerIx(0)).retries.add(3);
    web.servers[0].live.in_flight.of(WorkerIx(0)).add(4);
    let reloads = Arc::new(ReloadCells::default());
    reloads.started(Timestamp(5_000_000));
    reloads.refused();
    reloads.applied(Timestamp(7_000_000));
    let text = Collector::new(Arc::clone(&store), reloads).render().unwrap();
    insta::assert_snapshot!(stable(&text));
}

#[test]
fn metrics_of_a_process_without_traffic_are_whole() {
    let empty = crate::store::Store::new(crate::admin::fixture::service(), 1, Arc::new(NoJournal), Vec::new()).unwrap();
    let text = Collector::new(Arc::new(empty), Arc::default()).render().unwrap();
    assert!(text.contains("farmgate_ready 0\n"), "{text}");
    assert!(!text.contains("farmgate_server_up"), "{text}");
}

#[test]
fn metrics_tell_what_the_outlets_count() {
    struct Counted;

    impl Outlets for Counted {
        fn certificates(&self) -> Vec<CertificateNumbers> {
            let until = Timestamp(1_800_000_000_000_000);
            vec![CertificateNumbers {
                frontend: "web".into(),
                certificate: "*.shop.test".into(),
                algorithm: "rsa",
                until,
            }]
        }

        fn certificate_reads(&self) -> Vec<ReadNumbers> {
            vec![ReadNumbers { frontend: "web".into(), applied: 2, refused: 1 }]
        }

        fn access_log(&self) -> Option<AccessLogNumbers> {
            Some(AccessLogNumbers { lines: [7, 8, 9] })
        }

        fn spans(&self) -> Option<SpanNumbers> {
            Some(SpanNumbers { spans: [4, 5, 6] })
        }

        fn memory(&self) -> Option<MemoryNumbers> {
            Some(MemoryNumbers { resident: 4096, bound: Some(8192) })
        }

        fn journal(&self) -> JournalNumbers {
            JournalNumbers { written: [3, 20, 1], dropped: [0, 7, 2], failures: 1, backlog: 4, bytes: 8192 }
        }

        fn receivers(&self) -> Vec<ReceiverNumbers> {
            vec![ReceiverNumbers { name: "pager".into(), delivered: 9, failed: 2, lag: 5 }]
        }
    }

    let collector = Collector::new(store_with(Arc::new(NoJournal)), Arc::default()).with(Arc::new(Counted));
    let text = collector.render().unwrap();
    for line in [
        "farmgate_certificate_expiry_timestamp_seconds{frontend=\"web\",certificate=\"*.shop.test\",algorithm=\"rsa\"} \
         1800000000",
        "farmgate_certificate_reads_total{frontend=\"web\",result=\"applied\"} 2",
        "farmgate_certificate_reads_total{frontend=\"web\",result=\"refused\"} 1",
        "farmgate_memory_bound_bytes 8192",
        "farmgate_memory_resident_bytes 4096",
        "farmgate_journal_written_total{kind=\"event\"} 3",
        "farmgate_journal_written_total{kind=\"check\"} 20",
        "farmgate_journal_dropped_total{kind=\"check\"} 7",
        "farmgate_journal_dropped_total{kind=\"evidence\"} 2",
        "farmgate_journal_failures_total 1",
        "farmgate_journal_backlog 4",
        "farmgate_journal_size_bytes 8192",
        "farmgate_trace_spans_total{outcome=\"taken\"} 4",
        "farmgate_trace_spans_total{outcome=\"dropped\"} 5",
        "farmgate_trace_spans_total{outcome=\"refused\"} 6",
        "farmgate_webhook_delivered_total{receiver=\"pager\"} 9",
        "farmgate_webhook_failed_total{receiver=\"pager\"} 2",
        "farmgate_webhook_lag{receiver=\"pager\"} 5",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}
