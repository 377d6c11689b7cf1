//! Bytes by zone and month.

use rusqlite::{Connection, params};

use crate::model::Timestamp;
use crate::model::traffic::MonthTraffic;

use super::{number, unsigned};

/// Months that are kept, of all zones together; the oldest go.
const MONTHS_MAX: u64 = 1200;

/// Returns every month, the oldest first.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<MonthTraffic>> {
    let mut statement =
        connection.prepare("SELECT id, zone, since_us, bytes, counted_us FROM traffic ORDER BY since_us, id")?;
    let rows = statement.query_map([], |row| {
        Ok(MonthTraffic {
            id: unsigned(row.get(0)?),
            zone: row.get::<_, String>(1)?.into(),
            since: Timestamp(unsigned(row.get(2)?)),
            bytes: unsigned(row.get(3)?),
            counted_at: Timestamp(unsigned(row.get(4)?)),
        })
    })?;
    rows.collect()
}

/// Keeps a month in the place of what was kept of it. Returns its id; the one that it has is not looked at.
pub(super) fn put(connection: &Connection, month: &MonthTraffic) -> rusqlite::Result<u64> {
    let MonthTraffic { zone, since, bytes, counted_at, .. } = month;
    let put = "INSERT INTO traffic (zone, since_us, bytes, counted_us) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (zone, since_us) DO UPDATE SET bytes = ?3, counted_us = ?4 RETURNING id";
    let values = params![zone, number(since.0), number(*bytes), number(counted_at.0)];
    let id = connection.query_row(put, values, |row| row.get(0)).map(unsigned)?;
    let old = "DELETE FROM traffic WHERE id NOT IN (SELECT id FROM traffic ORDER BY since_us DESC, id DESC LIMIT ?1)";
    connection.execute(old, [number(MONTHS_MAX)])?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::layout::open_in_memory;

    #[test]
    fn month_comes_back_as_it_went_and_keeps_its_id() {
        let connection = open_in_memory(1 << 20).unwrap();
        let month = |zone: &str, since, bytes| MonthTraffic {
            id: 0,
            zone: zone.into(),
            since: Timestamp(since),
            bytes,
            counted_at: Timestamp(since + bytes),
        };
        let later = put(&connection, &month("gra", 20, 5)).unwrap();
        let earlier = put(&connection, &month("gra", 10, 7)).unwrap();
        assert_eq!(put(&connection, &month("gra", 20, 6)).unwrap(), later);
        let other = put(&connection, &month("rbx", 20, 1)).unwrap();
        let with = |id, month: MonthTraffic| MonthTraffic { id, ..month };
        let want =
            [with(earlier, month("gra", 10, 7)), with(later, month("gra", 20, 6)), with(other, month("rbx", 20, 1))];
        assert_eq!(all(&connection).unwrap(), want);
    }
}
