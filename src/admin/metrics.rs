//! The scrape: cells of every worker summed and one Snapshot read, into families made afresh each time.
//!
//! Nothing here is touched between two scrapes, so a server that is gone leaves no series behind and the data plane
//! pays for no label.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::Desc;
use prometheus::proto;
use prometheus::{Registry, TextEncoder};

use crate::clock;
use crate::farm::{FarmTable, Serving};
use crate::metrics::cells::DURATION_BOUNDS_US;
use crate::metrics::names::{self, Kind, Metric};
use crate::metrics::{
    Cell, EdgeCells, Handshake, HandshakeFailure, Histogram, Mirrored, PerWorker, Refusal, ReloadCells, StatusClass,
};
use crate::model::{AdminStatus, CheckStatus, Health};
use crate::store::{Feed, FrontendTable, Snapshot, Store, Table};

use super::outlets::{ACCESS_LOG_OUTCOMES, JOURNAL_KINDS, NoOutlets, Outlets, SPAN_OUTCOMES};

/// Collects every metric of [`names`].
#[derive(Clone)]
pub struct Collector {
    store: Arc<Store>,
    reloads: Arc<ReloadCells>,
    outlets: Arc<dyn Outlets>,
    descs: Vec<Desc>,
}

impl Collector {
    /// Returns a collector of this process.
    #[must_use]
    pub fn new(store: Arc<Store>, reloads: Arc<ReloadCells>) -> Self {
        let desc = |metric: &Metric| {
            let labels = metric.labels.iter().map(|l| (*l).to_owned()).collect();
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new()).ok()
        };
        let outlets = Arc::new(NoOutlets);
        Self { store, reloads, outlets, descs: names::ALL.iter().filter_map(desc).collect() }
    }

    /// Returns a collector that tells of these outlets too.
    #[must_use]
    pub fn with(self, outlets: Arc<dyn Outlets>) -> Self {
        Self { outlets, ..self }
    }

    /// Returns everything in Prometheus' text format, families and series sorted.
    ///
    /// # Errors
    /// `prometheus::Error` if two metrics contradict one another: a bug.
    pub fn render(&self) -> prometheus::Result<String> {
        let registry = Registry::new();
        registry.register(Box::new(self.clone()))?;
        TextEncoder::new().encode_to_string(&registry.gather())
    }
}

impl prometheus::core::Collector for Collector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let snapshot = self.store.snapshot(clock::wall());
        let table = self.store.load();
        let mut families = Families::default();
        process(&mut families, &snapshot, &self.reloads);
        for frontend in &table.frontends {
            frontend_cells(&mut families, frontend);
            edge_cells(&mut families, &table, frontend);
        }
        for farm in &table.farms {
            check_cells(&mut families, farm);
            farm_cells(&mut families, farm);
        }
        server_states(&mut families, &snapshot);
        standings(&mut families, &snapshot);
        outlets(&mut families, &*self.outlets);
        families.finish()
    }
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("store", &self.store).finish_non_exhaustive()
    }
}

fn process(families: &mut Families, snapshot: &Snapshot, reloads: &ReloadCells) {
    families.value(names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    families.value(names::READY, &[], u64::from(snapshot.is_ready));
    families.value(names::GENERATION, &[], snapshot.generation.0);
    families.value(names::RELOADS, &["applied"], reloads.applied_total());
    families.value(names::RELOADS, &["refused"], reloads.refused_total());
    families.value(names::CONFIG_LOADED, &[], reloads.loaded_at().unix_seconds());
}

fn frontend_cells(families: &mut Families, table: &FrontendTable) {
    let (name, cells) = (table.frontend.name.as_str(), &table.cells);
    families.value(names::ACCEPT_RESTS, &[name], cells.sum(|c| c.accept_rests.value()));
    families.value(names::FRONTEND_CONNECTIONS, &[name], cells.sum(|c| c.connections.value()));
    families.value(names::FRONTEND_CONNECTIONS_OPEN, &[name], cells.sum(|c| c.connections_open.value()));
    for (position, why) in Refusal::ALL.iter().enumerate() {
        let refused = cells.sum(|c| c.refused[position].value());
        families.value(names::FRONTEND_REFUSED, &[name, why.as_str()], refused);
    }
    for (position, result) in Mirrored::ALL.iter().enumerate() {
        let copies = cells.sum(|c| c.mirrored[position].value());
        if copies > 0 {
            families.value(names::MIRRORED, &[name, result.as_str()], copies);
        }
    }
    for (position, class) in StatusClass::ALL.iter().enumerate() {
        let answers = cells.sum(|c| c.own_answers[position].value());
        families.value(names::OWN_ANSWERS, &[name, class.as_str()], answers);
    }
    if table.frontend.tls.is_some() {
        handshakes(families, table);
    }
}

fn handshakes(families: &mut Families, table: &FrontendTable) {
    let (name, cells) = (table.frontend.name.as_str(), &table.cells);
    for (position, handshake) in Handshake::ALL.iter().enumerate() {
        let [version, resumed] = handshake.labels();
        let done = cells.sum(|c| c.handshakes.done[position].value());
        families.value(names::HANDSHAKES, &[name, version, resumed], done);
    }
    for (position, why) in HandshakeFailure::ALL.iter().enumerate() {
        let failed = cells.sum(|c| c.handshakes.failed[position].value());
        families.value(names::HANDSHAKE_FAILURES, &[name, why.as_str()], failed);
    }
}

/// Reads one counter of an edge.
type EdgeCounter = fn(&EdgeCells) -> &Cell;

const EDGE_COUNTERS: &[(Metric, EdgeCounter)] = &[
    (names::CONNECT_FAILURES, |c| &c.connect_failures),
    (names::RECEIVED, |c| &c.bytes_in),
    (names::RETRIES, |c| &c.retries),
    (names::SENT, |c| &c.bytes_out),
];

/// What a frontend gave to each server of its farms. Durations are summed over the servers, to bound the series.
fn edge_cells(families: &mut Families, table: &Table, frontend: &FrontendTable) {
    for feed in &frontend.feeds {
        feed_cells(families, table.farm_of(feed), frontend, feed);
    }
}

fn feed_cells(families: &mut Families, farm: &FarmTable, frontend: &FrontendTable, feed: &Feed) {
    let (from, to) = (frontend.frontend.name.as_str(), farm.farm.name.as_str());
    let mut durations = Observations::default();
    for (entry, cells) in farm.servers.iter().zip(&feed.edges) {
        let labels = [from, to, entry.server.name.as_str()];
        for (position, class) in StatusClass::ALL.iter().enumerate() {
            let requests = cells.sum(|c| c.requests[position].value());
            families.value(names::REQUESTS, &[labels[0], labels[1], labels[2], class.as_str()], requests);
        }
        for (metric, cell) in EDGE_COUNTERS {
            families.value(*metric, &labels, PerWorker::sum(cells, |c| cell(c).value()));
        }
        if entry.server.tls.is_some() {
            families.value(names::SERVER_TLS_FAILURES, &labels, cells.sum(|c| c.tls_failures.value()));
        }
        for cell in cells.iter() {
            durations.add(&cell.duration);
        }
    }
    families.histogram(names::REQUEST_DURATION, &[from, to], &durations);
}

/// What waits for a farm's servers, and what is not tried again.
fn farm_cells(families: &mut Families, table: &FarmTable) {
    let (farm, live) = (table.farm.name.as_str(), &table.live);
    if table.servers.iter().any(|entry| entry.max_connections.is_some()) {
        families.value(names::QUEUE_LENGTH, &[farm], live.queue.length().into());
        families.value(names::QUEUE_WAITS, &[farm], live.waits.value());
        families.value(names::QUEUE_TIMED_OUT, &[farm], live.waits_timed_out.value());
    }
    if table.farm.retry_budget.is_some() {
        families.value(names::RETRIES_REFUSED, &[farm], live.retries_refused.value());
    }
}

fn check_cells(families: &mut Families, table: &FarmTable) {
    let farm = table.farm.name.as_str();
    let mut durations = Observations::default();
    for entry in &table.servers {
        let (server, checks) = (entry.server.name.as_str(), &entry.live.checks);
        // A probe ends in few of all the ways there are: those that never came would be most of the page.
        let counted = CheckStatus::ALL.iter().zip(&checks.by_status).filter(|(_, count)| count.value() > 0);
        for (status, count) in counted {
            families.value(names::CHECKS, &[farm, server, status.as_str()], count.value());
        }
        families.value(names::TRANSITIONS, &[farm, server, Health::Down.as_str()], checks.to_down.value());
        families.value(names::TRANSITIONS, &[farm, server, Health::Up.as_str()], checks.to_up.value());
        durations.add(&checks.duration);
    }
    families.histogram(names::CHECK_DURATION, &[farm], &durations);
}

fn server_states(families: &mut Families, snapshot: &Snapshot) {
    const STATUSES: [AdminStatus; 3] = [AdminStatus::Active, AdminStatus::Drain, AdminStatus::Maintenance];
    for row in &snapshot.farms {
        let farm = row.farm.name.as_str();
        for way in Serving::ALL {
            families.value(names::FARM_SERVING, &[farm, way.as_str()], u64::from(row.serving == way));
        }
        for row in &row.servers {
            let labels = [farm, row.server.name.as_str()];
            let is_up = matches!(row.standing.health, Health::Up | Health::Off);
            families.value(names::SERVER_UP, &labels, u64::from(is_up));
            families.value(names::SERVER_WEIGHT, &labels, row.server.weight.0.into());
            families.value(names::SERVER_EFFECTIVE_WEIGHT, &labels, row.effective_weight.into());
            families.value(names::IN_FLIGHT, &labels, row.in_flight);
            for status in STATUSES {
                let is_it = u64::from(row.server.admin == status);
                families.value(names::SERVER_ADMIN, &[labels[0], labels[1], status.as_str()], is_it);
            }
        }
    }
}

/// What is made of servers beside their probes' verdict, where the config lets it be anything.
fn standings(families: &mut Families, snapshot: &Snapshot) {
    families.value(names::INCIDENT, &[], u64::from(snapshot.incident.is_some()));
    for row in &snapshot.farms {
        let farm = &row.farm;
        for row in &row.servers {
            let labels = [farm.name.as_str(), row.server.name.as_str()];
            let standing = &row.standing;
            if farm.observe.is_some() {
                families.value(names::EJECTED, &labels, u64::from(standing.ejected.is_some()));
            }
            if farm.flap.is_some() {
                families.value(names::FLAP_SCORE, &labels, standing.flap_score.into());
                families.value(names::HELD_DOWN, &labels, u64::from(standing.held_until.is_some()));
            }
            if standing.health != Health::Off {
                families.value(names::SUSPECT, &labels, u64::from(standing.suspicion.is_some()));
            }
            if !farm.slow_start.is_zero() {
                families.percent(names::WARMUP, &labels, standing.warmup.map_or(100, |warmup| warmup.percent));
            }
            for group in row.order.iter().flat_map(|order| &order.sessions) {
                families.value(names::DRAIN_SESSIONS, &[labels[0], labels[1], group.kind.as_str()], group.count);
            }
        }
    }
}

fn outlets(families: &mut Families, outlets: &dyn Outlets) {
    let access_log = outlets.access_log().unwrap_or_default();
    for (outcome, lines) in ACCESS_LOG_OUTCOMES.iter().zip(access_log.lines) {
        families.value(names::ACCESS_LOG_LINES, &[outcome], lines);
    }
    for (outcome, count) in outlets.spans().iter().flat_map(|numbers| SPAN_OUTCOMES.iter().zip(numbers.spans)) {
        families.value(names::SPANS, &[outcome], count);
    }
    if let Some(memory) = outlets.memory() {
        families.value(names::MEMORY_RESIDENT, &[], memory.resident);
        if let Some(bound) = memory.bound {
            families.value(names::MEMORY_BOUND, &[], bound);
        }
    }
    let journal = outlets.journal();
    for ((kind, written), dropped) in JOURNAL_KINDS.iter().zip(journal.written).zip(journal.dropped) {
        families.value(names::JOURNAL_WRITTEN, &[kind], written);
        families.value(names::JOURNAL_DROPPED, &[kind], dropped);
    }
    families.value(names::JOURNAL_FAILURES, &[], journal.failures);
    families.value(names::JOURNAL_BACKLOG, &[], journal.backlog);
    families.value(names::JOURNAL_BYTES, &[], journal.bytes);
    for row in outlets.certificates() {
        let labels = [&*row.frontend, &*row.certificate, row.algorithm];
        families.value(names::CERTIFICATE_EXPIRY, &labels, row.until.unix_seconds());
    }
    for row in outlets.certificate_reads() {
        families.value(names::CERTIFICATE_READS, &[&row.frontend, "applied"], row.applied);
        families.value(names::CERTIFICATE_READS, &[&row.frontend, "refused"], row.refused);
    }
    for receiver in outlets.receivers() {
        families.value(names::WEBHOOK_DELIVERED, &[&receiver.name], receiver.delivered);
        families.value(names::WEBHOOK_FAILED, &[&receiver.name], receiver.failed);
        families.value(names::WEBHOOK_LAG, &[&receiver.name], receiver.lag);
    }
}

/// Several histograms of the same bounds, summed.
#[derive(Default)]
struct Observations {
    buckets: [u64; DURATION_BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Observations {
    fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum = sum.wrapping_add(bucket.value());
        }
        self.sum_us = self.sum_us.wrapping_add(histogram.sum_us.value());
    }
}

/// Families under construction, by the name of their metric.
#[derive(Default)]
struct Families(HashMap<&'static str, Vec<proto::Metric>>);

impl Families {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are doubles")]
    fn value(&mut self, metric: Metric, labels: &[&str], value: u64) {
        let mut row = proto::Metric::from_label(pairs(metric, labels));
        if metric.kind == Kind::Counter {
            let mut counter = proto::Counter::default();
            counter.set_value(value as f64);
            row.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value as f64);
            row.set_gauge(gauge);
        }
        self.push(metric, row);
    }

    /// A share of 100, told as one of 1.
    fn percent(&mut self, metric: Metric, labels: &[&str], percent: u8) {
        let mut row = proto::Metric::from_label(pairs(metric, labels));
        let mut gauge = proto::Gauge::default();
        gauge.set_value(f64::from(percent) / 100.0);
        row.set_gauge(gauge);
        self.push(metric, row);
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are doubles")]
    fn histogram(&mut self, metric: Metric, labels: &[&str], observed: &Observations) {
        let mut total = 0;
        let buckets = observed.buckets.iter().zip(DURATION_BOUNDS_US).map(|(count, bound_us)| {
            total += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound_us as f64 / 1e6);
            bucket.set_cumulative_count(total);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(observed.buckets.iter().sum());
        histogram.set_sample_sum(observed.sum_us as f64 / 1e6);
        let mut row = proto::Metric::from_label(pairs(metric, labels));
        row.set_histogram(histogram);
        self.push(metric, row);
    }

    fn push(&mut self, metric: Metric, row: proto::Metric) {
        self.0.entry(metric.name).or_default().push(row);
    }

    fn finish(mut self) -> Vec<proto::MetricFamily> {
        let family = |metric: &Metric| {
            let rows = self.0.remove(metric.name)?;
            let mut family = proto::MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => proto::MetricType::COUNTER,
                Kind::Gauge => proto::MetricType::GAUGE,
                Kind::Histogram => proto::MetricType::HISTOGRAM,
            });
            family.set_metric(rows);
            Some(family)
        };
        names::ALL.iter().filter_map(family).collect()
    }
}

fn pairs(metric: Metric, values: &[&str]) -> Vec<proto::LabelPair> {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    metric.labels.iter().zip(values).map(pair).collect()
}
