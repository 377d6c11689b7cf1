//! OVHcloud's `oco`: a server that is well says something that begins with `2` as soon as one connects.
//!
//! Source: OVHcloud's guide to probes of the IP Load Balancer.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::CheckStatus;

use super::super::check::Finding;
use super::heard;
use super::talk::{Parsed, Talk};

/// How the answer of a server that is well begins.
const WELL: u8 = b'2';

pub(super) async fn talk<S>(talk: &mut Talk<'_, S>) -> Result<Finding, Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let said = talk.next("answer", anything).await?;
    let status = if said.first() == Some(&WELL) { CheckStatus::L7Ok } else { CheckStatus::L7Rsp };
    Ok(heard(status, None, said.trim_ascii_end()))
}

/// The first byte decides; what came with it is shown.
fn anything(bytes: &[u8]) -> Parsed<Vec<u8>> {
    if bytes.is_empty() { Parsed::Incomplete } else { Parsed::Is(bytes.to_vec(), bytes.len()) }
}
