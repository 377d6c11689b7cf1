//! Credentials that applications asked for: one row of JSON each. Nothing in it opens anything without the
//! application's secret, which is in the config. A row that this build cannot read is left alone and not used.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::model::credential::{AskedCredential, Granted, Verdict};
use crate::model::settings::CallRule;
use crate::model::{Access, Act, Name, Timestamp};

use super::{number, unsigned};

#[derive(Serialize, Deserialize)]
struct Row {
    application_key: String,
    nonce: [u8; 16],
    rules: Vec<(String, String)>,
    allowed_ips: Vec<String>,
    redirection: Option<String>,
    asked_at_us: u64,
    verdict: Option<VerdictRow>,
    last_use_us: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct VerdictRow {
    granted: Option<GrantedRow>,
    actor: String,
    source: String,
    reason: Option<String>,
    at_us: u64,
}

#[derive(Serialize, Deserialize)]
struct GrantedRow {
    role: String,
    farms: Option<Vec<String>>,
    until_us: Option<u64>,
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<AskedCredential>> {
    let mut statement = connection.prepare("SELECT id, json FROM credential ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((unsigned(row.get(0)?), row.get::<_, String>(1)?)))?;
    let read = |row: rusqlite::Result<(u64, String)>| row.map(|(id, json)| read(id, &json)).transpose();
    rows.filter_map(read).collect()
}

/// Returns the number that it got; the one that it has is not looked at.
pub(super) fn add(connection: &Connection, credential: &AskedCredential) -> rusqlite::Result<u64> {
    connection.execute("INSERT INTO credential (json) VALUES (?1)", [json(credential)?])?;
    Ok(unsigned(connection.last_insert_rowid()))
}

pub(super) fn put(connection: &Connection, credential: &AskedCredential) -> rusqlite::Result<()> {
    let put = "UPDATE credential SET json = ?2 WHERE id = ?1";
    connection.execute(put, params![number(credential.id), json(credential)?])?;
    Ok(())
}

pub(super) fn drop(connection: &Connection, id: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM credential WHERE id = ?1", [number(id)])?;
    Ok(())
}

fn json(credential: &AskedCredential) -> rusqlite::Result<String> {
    let AskedCredential {
        application_key, nonce, rules, allowed_ips, redirection, asked_at, verdict, last_use, ..
    } = credential;
    let granted = |granted: &Granted| GrantedRow {
        role: granted.access.as_str().to_owned(),
        farms: granted.farms.as_ref().map(|farms| farms.iter().map(ToString::to_string).collect()),
        until_us: granted.until.map(|until| until.0),
    };
    let row = Row {
        application_key: application_key.to_string(),
        nonce: *nonce,
        rules: rules.iter().map(|rule| (rule.method.to_string(), rule.path.to_string())).collect(),
        allowed_ips: allowed_ips.iter().map(ToString::to_string).collect(),
        redirection: redirection.as_ref().map(ToString::to_string),
        asked_at_us: asked_at.0,
        verdict: verdict.as_ref().map(|Verdict { granted: given, act }| VerdictRow {
            granted: given.as_ref().map(granted),
            actor: act.actor.to_string(),
            source: act.source.to_string(),
            reason: act.reason.as_ref().map(ToString::to_string),
            at_us: act.at.0,
        }),
        last_use_us: last_use.map(|at| at.0),
    };
    serde_json::to_string(&row).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn read(id: u64, json: &str) -> Option<AskedCredential> {
    let row: Row = serde_json::from_str(json).ok()?;
    let rules: Result<Vec<_>, _> = row.rules.iter().map(|(method, path)| CallRule::new(method, path)).collect();
    let allowed_ips: Result<Vec<_>, _> = row.allowed_ips.iter().map(|net| net.parse()).collect();
    let verdict = match row.verdict {
        None => None,
        Some(VerdictRow { granted, actor, source, reason, at_us }) => {
            let granted = match granted {
                None => None,
                Some(granted) => Some(self::granted(&granted)?),
            };
            let reason = reason.map(Into::into);
            let act = Act { actor: actor.into(), source: source.into(), reason, at: Timestamp(at_us) };
            Some(Verdict { granted, act })
        }
    };
    Some(AskedCredential {
        id,
        application_key: row.application_key.into(),
        nonce: row.nonce,
        rules: rules.ok()?,
        allowed_ips: allowed_ips.ok()?,
        redirection: row.redirection.map(Into::into),
        asked_at: Timestamp(row.asked_at_us),
        verdict,
        last_use: row.last_use_us.map(Timestamp),
    })
}

fn granted(row: &GrantedRow) -> Option<Granted> {
    let name = |name: &String| Name::parse(name).ok();
    let farms = match &row.farms {
        None => None,
        Some(farms) => Some(farms.iter().map(name).collect::<Option<_>>()?),
    };
    Some(Granted { access: Access::parse(&row.role)?, farms, until: row.until_us.map(Timestamp) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::layout::open_in_memory;

    #[test]
    fn credential_comes_back_as_it_went_and_its_number_never_does() {
        let connection = open_in_memory(1 << 20).unwrap();
        let act = Act { actor: "ops".into(), source: "::1".into(), reason: Some("for ci".into()), at: Timestamp(5) };
        let farms = Some([Name::parse("web").unwrap()].into());
        let granted = Granted { access: Access::Operate, farms, until: Some(Timestamp(9)) };
        let mut asked = AskedCredential {
            id: 0,
            application_key: "ak".into(),
            nonce: [1; 16],
            rules: vec![CallRule::new("GET", "/ipLoadbalancing*").unwrap()],
            allowed_ips: vec!["10.0.0.0/8".parse().unwrap()],
            redirection: Some("https://example.com/".into()),
            asked_at: Timestamp(3),
            verdict: None,
            last_use: None,
        };
        asked.id = add(&connection, &asked).unwrap();
        assert_eq!(all(&connection).unwrap(), [asked.clone()]);
        asked.verdict = Some(Verdict { granted: Some(granted), act });
        asked.last_use = Some(Timestamp(7));
        put(&connection, &asked).unwrap();
        assert_eq!(all(&connection).unwrap(), [asked.clone()]);
        drop(&connection, asked.id).unwrap();
        assert_eq!(all(&connection).unwrap(), []);
        assert!(add(&connection, &asked).unwrap() > asked.id);
        connection.execute("UPDATE credential SET json = '{}'", []).unwrap();
        assert_eq!(all(&connection).unwrap(), [], "a row of another build is left alone");
    }
}
