//! Becoming another user once the ports are bound that only root may bind.

use anyhow::{Context as _, anyhow, bail};
use nix::unistd::{Gid, Group, Uid, User, geteuid, initgroups, setgid, setuid};

use crate::model::Topology;
use crate::model::settings::{RunAs, Settings};
use crate::proxy::bind_ahead;

use super::upgrade::Inherited;

/// Becomes the user that the config names, after everything is bound that only root may bind.
pub(super) fn become_user(
    settings: &Settings,
    topology: &Topology,
    workers: usize,
    inherited: &mut Inherited,
) -> anyhow::Result<()> {
    let Some(run_as) = &settings.run_as else { return Ok(()) };
    if !is_to_drop(run_as)? {
        return Ok(());
    }
    let ahead = bind_ahead(&topology.frontends, workers, &inherited.frontends)?;
    inherited.frontends.extend(ahead);
    drop_to(run_as)
}

/// Whether the process has privileges to give up.
fn is_to_drop(run_as: &RunAs) -> anyhow::Result<bool> {
    let (uid, _, _) = ids(run_as)?;
    Ok(geteuid() != uid)
}

/// Gives the privileges of root up for good, for every thread. What the user may open is opened afterwards.
fn drop_to(run_as: &RunAs) -> anyhow::Result<()> {
    let (uid, gid, name) = ids(run_as)?;
    if !geteuid().is_root() {
        bail!(
            "user: cannot become {:?}: only root can become another user; start as root, or remove user",
            run_as.user
        );
    }
    let name = std::ffi::CString::new(name).context("user: a name with a NUL in it")?;
    initgroups(&name, gid).context("user: cannot take on the user's groups")?;
    setgid(gid).context("group: cannot take on the group")?;
    setuid(uid).context("user: cannot become the user")?;
    if !uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        bail!("user: the process could become root again; this is a bug, please report it");
    }
    tracing::info!(user = &*run_as.user, uid = uid.as_raw(), gid = gid.as_raw(), "privileges given up");
    Ok(())
}

fn ids(run_as: &RunAs) -> anyhow::Result<(Uid, Gid, String)> {
    let user = User::from_name(&run_as.user).context("user: cannot look users up")?;
    let user = user.ok_or_else(|| anyhow!("user: there is no user {:?}; make it, or name another", run_as.user))?;
    let gid = match &run_as.group {
        None => user.gid,
        Some(name) => {
            let group = Group::from_name(name).context("group: cannot look groups up")?;
            group.ok_or_else(|| anyhow!("group: there is no group {name:?}; make it, or name another"))?.gid
        }
    };
    Ok((user.uid, gid, user.name))
}
