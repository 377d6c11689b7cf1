//! Why something is as it is, on the wire: one sentence, a tree, and the evidence.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OverrideWire;

/// Why a server is in or out.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ServerExplainWire {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// The farm's name.
    pub farm: String,
    /// The server's name.
    pub server: String,
    /// Its state in HAProxy's words.
    pub state: String,
    /// All of it in one sentence.
    pub sentence: String,
    /// All of it, taken apart.
    pub tree: Vec<BranchWire>,
    /// The weight, overrides applied.
    pub weight: u16,
    /// The weight at which it takes new work now.
    pub effective_weight: u16,
    /// The last checks, the oldest first.
    pub checks: Vec<BriefWire>,
    /// The checks that are kept with what they sent and received, the newest first.
    pub evidence: Vec<EvidenceWire>,
    /// Fields whose live value is not the file's.
    pub overrides: Vec<OverrideWire>,
    /// What may be worth changing.
    pub advice: Vec<String>,
}

/// Why a farm serves as it does.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FarmExplainWire {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// The farm's name.
    pub farm: String,
    /// Which servers carry it.
    pub serving: String,
    /// All of it in one sentence.
    pub sentence: String,
    /// All of it, taken apart.
    pub tree: Vec<BranchWire>,
}

/// Why a request went where it went.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct RequestExplainWire {
    /// Its id.
    pub id: String,
    /// The id under which a trusted proxy sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_id: Option<String>,
    /// When it ended.
    pub at: String,
    /// Who ended it, in which phase: two letters, `--` where it came to its natural end.
    pub termination: String,
    /// All of it in one sentence.
    pub sentence: String,
    /// All of it, taken apart.
    pub tree: Vec<BranchWire>,
    /// The servers that it was given to, in turn.
    pub attempts: Vec<AttemptWire>,
}

/// One server that a request was given to.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AttemptWire {
    /// The server's name; its id, should the farm no longer have it.
    pub server: String,
    /// Why this one, in a word: the farm's balance, `sticky_cookie`, `sticky_source` or `only_one_left`.
    pub chosen_by: String,
    /// How it ended, in a word: `answered`, `not_connected`, `timed_out` …
    pub outcome: String,
}

/// One part of an explanation, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct BranchWire {
    /// What it is about, in a word or two.
    pub label: String,
    /// What is so.
    pub text: String,
    /// Why.
    #[schema(no_recursion)]
    pub children: Vec<Self>,
}

/// What is remembered of one check.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct BriefWire {
    /// The probe's name.
    pub probe: String,
    /// How it ended, in HAProxy's words.
    pub status: String,
    /// The code, if there was one.
    pub code: Option<u16>,
    /// When it ended.
    pub at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

/// One check with what it sent, received and measured.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct EvidenceWire {
    /// The probe's name.
    pub probe: String,
    /// How it ended, in HAProxy's words.
    pub status: String,
    /// The code, if there was one.
    pub code: Option<u16>,
    /// What the server sent, or the error in words.
    pub content: String,
    /// When it ended.
    pub at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// What was sent, control characters other than line ends escaped.
    pub sent: String,
    /// What was received, in the same way.
    pub received: String,
    /// What was received, in hexadecimal; only where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_hex: Option<String>,
    /// From the start to the connection, in milliseconds.
    pub connect_ms: Option<f64>,
    /// From there to the end of the TLS handshake.
    pub tls_ms: Option<f64>,
    /// From the start to the first byte received.
    pub first_byte_ms: Option<f64>,
    /// The system's error number.
    pub errno: Option<i32>,
    /// The TLS alert's name.
    pub tls_alert: Option<String>,
    /// SHA-256 of the server's certificate, in hexadecimal.
    pub certificate_sha256: Option<String>,
}

/// The answer of `…/evidence`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct EvidenceList {
    /// The newest first.
    pub evidence: Vec<EvidenceWire>,
}

/// The answer of `…/history`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct HistoryWire {
    /// The probe's name.
    pub probe: String,
    /// Where the answer begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// Whether more was kept than is listed here; ask again with `since` = the last one's time.
    pub cut: bool,
    /// Time, status, code and duration in milliseconds of each check, the oldest first.
    pub checks: Vec<(String, String, Option<u16>, f64)>,
}
