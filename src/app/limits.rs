//! The limit on open files: raised as far as the system lets us, and said where it cannot carry what is declared.

use rlimit::Resource;

use crate::model::Topology;

/// Raises the limit on open files to what the system allows, and warns where frontends may need more than that.
pub(super) fn raise(topology: &Topology) {
    let raised = Resource::NOFILE.get().and_then(|(_, hard)| {
        Resource::NOFILE.set(hard, hard)?;
        Ok(hard)
    });
    let limit = match raised {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "limit on open files cannot be raised");
            return;
        }
    };
    let needed: u64 = topology.frontends.iter().map(|frontend| u64::from(frontend.limits.connections)).sum();
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "fewer files may be open than frontends.*.limits.connections add up to; raise the hard limit (LimitNOFILE)"
        );
    }
}
