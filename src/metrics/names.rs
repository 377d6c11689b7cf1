//! Every metric: its name, kind, unit, labels and what it tells. The only place where a metric's name is written.
//!
//! Base units only (seconds, bytes). Series are bounded by the config: frontends × servers of their farm × 6 classes
//! is the largest family. A server that a reload removes takes its series with it.

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; 0 after a start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// A metric's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, `farmgate_` first, its unit and `_total` last.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// What it is counted in: `seconds`, `bytes`, or the thing itself.
    pub unit: &'static str,
    /// Label names, in the order of the values given.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $unit:literal $help:literal)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: concat!("farmgate_", $name),
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// Every metric, in alphabetical order of its constant.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    ACCEPT_RESTS Counter "accept_rests_total" ["frontend"] "rests"
        "Times that accepting rested because file descriptors were nearly gone."
    ACCESS_LOG_LINES Counter "access_log_lines_total" ["outcome"] "lines"
        "Lines of the access log: written, dropped because the disk was slower than the traffic, refused by the disk."
    BUILD_INFO Gauge "build_info" ["version"] "none" "The version that runs; always 1."
    CERTIFICATE_EXPIRY Gauge "certificate_expiry_timestamp_seconds" ["frontend", "certificate", "algorithm"] "seconds"
        "When a certificate that clients are shown ends, in seconds since 1970, by the first name that it is for."
    CERTIFICATE_READS Counter "certificate_reads_total" ["frontend", "result"] "reads"
        "Times that changed files of TLS were read again: applied, or refused and the former kept."
    CHECK_DURATION Histogram "check_duration_seconds" ["farm"] "seconds" "How long checks of a farm's servers took."
    CHECKS Counter "checks_total" ["farm", "server", "status"] "checks"
        "Checks of a server by how they ended, in HAProxy's words."
    CONFIG_LOADED Gauge "config_last_reload_timestamp_seconds" [] "seconds"
        "When the live config was loaded, in seconds since 1970."
    CONNECT_FAILURES Counter "connect_failures_total" ["frontend", "farm", "server"] "connections"
        "Connections to a server that could not be established."
    DRAIN_SESSIONS Gauge "drain_sessions" ["farm", "server", "kind"] "sessions"
        "What is open on a server in drain or maintenance, by kind."
    EJECTED Gauge "server_ejected" ["farm", "server"] "none"
        "1 while a server is out for what its traffic showed; only where the farm observes it."
    FARM_SERVING Gauge "farm_serving" ["farm", "serving"] "none"
        "How a farm serves: 1 for the current way, 0 for the others."
    FLAP_SCORE Gauge "server_flap_score" ["farm", "server"] "transitions"
        "Changes of a server's health that the flap guard counts; only where the farm has one."
    FRONTEND_CONNECTIONS Counter "frontend_connections_total" ["frontend"] "connections"
        "Client connections that a frontend accepted."
    FRONTEND_CONNECTIONS_OPEN Gauge "frontend_connections_open" ["frontend"] "connections"
        "Client connections open now."
    FRONTEND_REFUSED Counter "frontend_refused_total" ["frontend", "reason"] "requests"
        "Clients that Farmgate itself refused, by why."
    GENERATION Gauge "generation" [] "none" "Which table the data plane works by; grows with every change of state."
    HANDSHAKE_FAILURES Counter "tls_handshake_failures_total" ["frontend", "reason"] "handshakes"
        "TLS handshakes with clients that failed, by why; only where the frontend has TLS."
    HANDSHAKES Counter "tls_handshakes_total" ["frontend", "version", "resumed"] "handshakes"
        "TLS handshakes with clients, by version and whether an earlier session was resumed; only where the frontend has TLS."
    HELD_DOWN Gauge "server_held_down" ["farm", "server"] "none"
        "1 while a server is held down for changing too often; only where the farm has a flap guard."
    IN_FLIGHT Gauge "server_in_flight" ["farm", "server"] "requests"
        "Requests (TCP: connections) under way at a server."
    INCIDENT Gauge "incident" [] "none"
        "1 while so much fails at once that Farmgate suspects itself and holds the last good rotation."
    JOURNAL_BACKLOG Gauge "journal_backlog" [] "entries" "Entries of the journal that wait for the disk."
    JOURNAL_BYTES Gauge "journal_size_bytes" [] "bytes" "The size of the journal's files; 0 without a state_dir."
    JOURNAL_DROPPED Counter "journal_dropped_total" ["kind"] "entries"
        "Entries that the journal lost, under load or because the disk refused."
    JOURNAL_FAILURES Counter "journal_failures_total" [] "failures" "Reads and writes of the journal that failed."
    JOURNAL_WRITTEN Counter "journal_written_total" ["kind"] "entries" "Entries that the journal wrote."
    MIRRORED Counter "mirrored_total" ["frontend", "result"] "requests"
        "Copies of requests for a second farm, by what became of them; only where a route makes some."
    OWN_ANSWERS Counter "own_answers_total" ["frontend", "code"] "responses"
        "Responses that Farmgate made itself, by class of their status."
    QUEUE_LENGTH Gauge "farm_queue_length" ["farm"] "requests"
        "Requests (TCP: connections) that wait for a server of a farm; only where a server has a bound."
    QUEUE_TIMED_OUT Counter "farm_queue_timeouts_total" ["farm"] "requests"
        "Requests that waited for a server until their time was up; only where a server has a bound."
    QUEUE_WAITS Counter "farm_queue_waits_total" ["farm"] "requests"
        "Requests that waited for a server of a farm; only where a server has a bound."
    READY Gauge "ready" [] "none" "1 once every server was checked once."
    RECEIVED Counter "received_bytes_total" ["frontend", "farm", "server"] "bytes"
        "Bytes that went from clients to a server: bodies (TCP: everything)."
    RELOADS Counter "reloads_total" ["result"] "reloads" "Config reloads, applied or refused."
    REQUEST_DURATION Histogram "request_duration_seconds" ["frontend", "farm"] "seconds"
        "From a request's head to the end of its response (TCP: a connection's life)."
    REQUESTS Counter "requests_total" ["frontend", "farm", "server", "code"] "requests"
        "Requests given to a server by class of the status sent; none: the client left, or the protocol has none."
    RETRIES Counter "retries_total" ["frontend", "farm", "server"] "requests"
        "Requests that left a server for another one."
    RETRIES_REFUSED Counter "farm_retries_refused_total" ["farm"] "requests"
        "Retries that were not made since the farm's budget was used up; only where it has one."
    SENT Counter "sent_bytes_total" ["frontend", "farm", "server"] "bytes"
        "Bytes that went from a server to clients: bodies (TCP: everything)."
    SERVER_ADMIN Gauge "server_admin_status" ["farm", "server", "status"] "none"
        "What the operator wants of a server: 1 for the current status, 0 for the others."
    SERVER_EFFECTIVE_WEIGHT Gauge "server_effective_weight" ["farm", "server"] "none"
        "The weight at which a server takes new work now; 0 while it takes none."
    SERVER_TLS_FAILURES Counter "server_tls_failures_total" ["frontend", "farm", "server"] "connections"
        "Connections to a server that could not be established since there was no TLS; only where the server has TLS."
    SERVER_UP Gauge "server_up" ["farm", "server"] "none" "1 while checks say Up or a server is not probed."
    SERVER_WEIGHT Gauge "server_weight" ["farm", "server"] "none" "The weight of a server, overrides applied."
    SPANS Counter "trace_spans_total" ["outcome"] "spans"
        "Spans of traces: taken by their receiver, dropped because it was slower than the traffic, refused; only where sent."
    SUSPECT Gauge "server_suspect" ["farm", "server"] "none"
        "1 while probes and traffic of a server disagree."
    TRANSITIONS Counter "server_transitions_total" ["farm", "server", "to"] "transitions"
        "Times a server's health changed, by what it changed to."
    WARMUP Gauge "server_warmup_ratio" ["farm", "server"] "none"
        "The share of its weight that a server coming back has; 1 when it is whole; only where the farm has a slow start."
    WEBHOOK_DELIVERED Counter "webhook_delivered_total" ["receiver"] "events" "Events that a receiver took."
    WEBHOOK_FAILED Counter "webhook_failed_total" ["receiver"] "attempts" "Deliveries that a receiver did not take."
    WEBHOOK_LAG Gauge "webhook_lag" ["receiver"] "events" "How far a receiver is behind the newest event."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_end_as_their_kind_asks() {
        let mut names: Vec<_> = ALL.iter().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            for unit in ["seconds", "bytes"] {
                assert_eq!(metric.unit == unit, metric.name.contains(&format!("_{unit}")), "{}", metric.name);
            }
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
