//! Counting and keeping, with a journal in memory that can be told to refuse.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::admin::vendor_fixture::state;
use crate::metrics::WorkerIx;

#[derive(Default)]
struct Kept {
    months: Mutex<Vec<MonthTraffic>>,
    refuses: AtomicBool,
}

impl Keep for Arc<Kept> {
    fn all(&self) -> Result<Vec<MonthTraffic>, JournalError> {
        Ok(self.months.lock().unwrap().clone())
    }

    fn put(&self, month: &MonthTraffic) -> Result<u64, JournalError> {
        if self.refuses.load(Relaxed) {
            return Err(JournalError { what: "keep", cause: "full".into() });
        }
        let mut months = self.months.lock().unwrap();
        months.retain(|other| (&other.zone, other.since) != (&month.zone, month.since));
        months.push(MonthTraffic { id: month.since.0, ..month.clone() });
        Ok(month.since.0)
    }
}

/// 2025-11-21 and ten days later.
const NOVEMBER: Timestamp = Timestamp(1_763_732_060_000_000);
const DECEMBER: Timestamp = Timestamp(NOVEMBER.0 + 10 * 86_400_000_000);

fn pass(table: &Table, bytes: u64) {
    let cells = &table.frontends[0].feeds[0].edges[0];
    cells.of(WorkerIx(0)).bytes_in.add(bytes);
    cells.of(WorkerIx(0)).bytes_out.add(bytes);
}

#[test]
fn bytes_are_counted_once_and_in_their_month() {
    let state = state();
    let (table, meter) = (state.store.load(), Meter::nowhere());
    pass(&table, 50);
    assert_eq!(meter.count(&table, NOVEMBER).bytes, 100);
    assert_eq!(meter.count(&table, NOVEMBER).bytes, 100, "what was counted is not counted again");
    meter.keep().unwrap();
    pass(&table, 1);
    let month = meter.count(&table, DECEMBER);
    assert_eq!((month.bytes, &*month.zone), (2, "local"));
    let over = meter.over(DECEMBER);
    assert_eq!(
        over.iter().map(|month| (month.bytes, month.since.date())).collect::<Vec<_>>(),
        [(100, "2025-11-01".into())]
    );
    assert_eq!(meter.over(NOVEMBER), [], "a month that goes on is no history");
}

#[test]
fn next_process_goes_on_where_the_former_kept() {
    let (kept, state) = (Arc::new(Kept::default()), state());
    let table = state.store.load();
    let meter = Meter::load(Box::new(Arc::clone(&kept))).unwrap();
    pass(&table, 50);
    meter.count(&table, NOVEMBER);
    kept.refuses.store(true, Relaxed);
    assert!(meter.keep().is_err());
    kept.refuses.store(false, Relaxed);
    meter.keep().unwrap();
    assert_eq!(kept.months.lock().unwrap().len(), 1);
    // Counters of another process begin at nothing.
    let (state, again) = (crate::admin::vendor_fixture::state(), Meter::load(Box::new(kept)).unwrap());
    let table = state.store.load();
    pass(&table, 3);
    assert_eq!(again.count(&table, NOVEMBER).bytes, 106);
    assert_eq!(again.count(&table, DECEMBER).bytes, 0);
    assert_eq!(again.over(DECEMBER).len(), 1);
}
