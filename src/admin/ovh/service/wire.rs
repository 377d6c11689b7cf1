//! Bodies of this room; nothing but data for serde.

use serde::Serialize;

/// `services.Service`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Infos<'a> {
    pub(super) can_delete_at_expiration: bool,
    pub(super) contact_admin: &'static str,
    pub(super) contact_billing: &'static str,
    pub(super) contact_tech: &'static str,
    pub(super) creation: String,
    pub(super) domain: &'a str,
    pub(super) engaged_up_to: Option<&'static str>,
    pub(super) expiration: &'static str,
    pub(super) possible_renew_period: Option<[u32; 0]>,
    pub(super) renew: Option<()>,
    pub(super) renewal_type: &'static str,
    pub(super) service_id: u64,
    pub(super) status: &'static str,
}

/// `Ssl`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ssl {
    pub(super) id: u64,
    pub(super) display_name: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) subject: String,
    pub(super) san: Vec<String>,
    pub(super) fingerprint: String,
    pub(super) serial: String,
    pub(super) expire_date: String,
}

/// `Quota`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Quota<'a> {
    pub(super) zone: &'a str,
    pub(super) included: Option<u64>,
    pub(super) total: u64,
    pub(super) alert: Option<u64>,
    pub(super) reset_date: String,
    pub(super) last_update_date: String,
}

/// `QuotaHistory`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuotaHistory {
    pub(super) id: u64,
    pub(super) zone: String,
    pub(super) total: u64,
    pub(super) historized_date: String,
    pub(super) reset_date: String,
    pub(super) last_update_date: String,
}

/// `Task`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task<'a> {
    pub(super) id: u64,
    pub(super) action: &'a str,
    pub(super) status: &'static str,
    pub(super) progress: u8,
    pub(super) zones: Vec<&'a str>,
    pub(super) creation_date: String,
    pub(super) done_date: Option<String>,
}
