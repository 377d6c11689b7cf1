//! The admin side as the process has it: bound before privileges are given up, its certificate kept once they are, renewed
//! by a reload, and run by a thread of its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::admin::AdminState;
use crate::admin::server::AdminServer;
use crate::admin::tls::{Renewed, Tls};
use crate::alarm::Alarm;
use crate::metrics::ReloadCells;
use crate::model::AdminSettings;
use crate::model::settings::{AdminTls, Settings};
use crate::report::report;

use super::edges::{Edge, on_own_thread};
use super::upgrade::Inherited;

/// Binds the admin side, if there is one; its socket is kept once more for the process that replaces this one.
pub(super) fn bind(
    settings: &Settings,
    reloads: &Arc<ReloadCells>,
    inherited: &mut Inherited,
) -> anyhow::Result<(Option<AdminServer>, Option<TcpListener>)> {
    let bound = inherited.admin.take();
    let bind = |admin| AdminServer::bind(admin, Arc::clone(reloads), bound);
    let admin = settings.admin.as_ref().map(bind).transpose()?;
    let socket = admin.as_ref().map(AdminServer::socket).transpose()?;
    Ok((admin, socket))
}

/// Has the admin side show the certificate that is kept in `state_dir`, where it shows one that was made here.
pub(super) fn keep_certificate(settings: &Settings, admin: Option<&AdminServer>) -> anyhow::Result<Option<Arc<Tls>>> {
    let Some(tls) = admin.and_then(AdminServer::tls) else { return Ok(None) };
    if let Some(state_dir) = &settings.state_dir {
        tls.keep_in(state_dir)?;
    }
    Ok(Some(tls))
}

/// Reads the admin side's certificates anew. Whether it speaks TLS at all is decided at the start.
pub(super) fn renewed_tls(
    live: Option<&Arc<Tls>>,
    admin: Option<&AdminSettings>,
) -> Result<Option<(Arc<Tls>, Renewed)>, String> {
    let both = live.zip(admin.filter(|admin| admin.tls != AdminTls::Off));
    let Some((tls, admin)) = both else { return Ok(None) };
    let renewed = tls.renewed(admin).map_err(|error| error.to_string())?;
    Ok(Some((Arc::clone(tls), renewed)))
}

/// Returns what is printed of the admin side: where it is, and the SHA-256 of a certificate that was made at start.
pub(super) fn shown(admin: Option<&AdminServer>) -> (Option<SocketAddr>, Option<String>) {
    (admin.map(AdminServer::local_addr), admin.and_then(AdminServer::fingerprint))
}

/// Runs it until it is told to stop.
pub(super) fn start(server: AdminServer, state: AdminState, alarm: &Alarm) -> anyhow::Result<Edge> {
    tracing::info!(address = %server.local_addr(), fingerprint = server.fingerprint(), "admin open");
    on_own_thread("admin", alarm, move |stopped| async move {
        let metering = tokio::spawn(crate::admin::ovh::keep_counting(state.clone(), stopped.clone()));
        if let Err(error) = server.serve(state, stopped).await {
            tracing::error!(error = %report(&error), "admin side ended");
        }
        // It ends with the server, whose stop it was told too; a panic in it was reported.
        let _ = metering.await;
    })
}
