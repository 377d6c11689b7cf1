//! What one worker counts of the TLS handshakes of one frontend.

use super::cells::Cell;

/// A TLS handshake that succeeded, as counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// TLS 1.2, from the beginning.
    Tls12,
    /// TLS 1.2, an earlier session taken up again.
    Tls12Resumed,
    /// TLS 1.3, from the beginning.
    Tls13,
    /// TLS 1.3, an earlier session taken up again.
    Tls13Resumed,
}

impl Handshake {
    /// Every one, in the order of [`HandshakeCells::done`].
    pub const ALL: [Self; 4] = [Self::Tls12, Self::Tls12Resumed, Self::Tls13, Self::Tls13Resumed];

    /// Returns what a handshake counts as.
    #[must_use]
    pub fn of(is_13: bool, is_resumed: bool) -> Self {
        match (is_13, is_resumed) {
            (false, false) => Self::Tls12,
            (false, true) => Self::Tls12Resumed,
            (true, false) => Self::Tls13,
            (true, true) => Self::Tls13Resumed,
        }
    }

    /// Returns the values of the `version` and `resumed` labels.
    #[must_use]
    pub fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Tls12 => ["TLSv1.2", "false"],
            Self::Tls12Resumed => ["TLSv1.2", "true"],
            Self::Tls13 => ["TLSv1.3", "false"],
            Self::Tls13Resumed => ["TLSv1.3", "true"],
        }
    }
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client said no: most often it does not trust the certificate.
    Alert,
    /// The client's certificate was missing, not signed by our authorities, revoked or expired.
    ClientCertificate,
    /// The client went away.
    Closed,
    /// No version or cipher suite that both know.
    Incompatible,
    /// What came is not TLS, or not as TLS must be.
    Malformed,
    /// No certificate for that name, or none that the client can verify.
    NoCertificate,
    /// No protocol (ALPN) that both speak.
    NoProtocol,
    /// More handshakes are under way than the frontend allows.
    Overload,
    /// It took too long.
    Timeout,
}

impl HandshakeFailure {
    /// Every reason, in the order of [`HandshakeCells::failed`].
    pub const ALL: [Self; 9] = [
        Self::Alert,
        Self::ClientCertificate,
        Self::Closed,
        Self::Incompatible,
        Self::Malformed,
        Self::NoCertificate,
        Self::NoProtocol,
        Self::Overload,
        Self::Timeout,
    ];

    /// Returns the value of the `reason` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::ClientCertificate => "client_certificate",
            Self::Closed => "closed",
            Self::Incompatible => "incompatible",
            Self::Malformed => "malformed",
            Self::NoCertificate => "no_certificate",
            Self::NoProtocol => "no_protocol",
            Self::Overload => "overload",
            Self::Timeout => "timeout",
        }
    }
}

/// Counters of one worker.
#[derive(Debug, Default)]
pub struct HandshakeCells {
    /// Those that succeeded, by [`Handshake::ALL`].
    pub done: [Cell; Handshake::ALL.len()],
    /// Those that did not, by [`HandshakeFailure::ALL`].
    pub failed: [Cell; HandshakeFailure::ALL.len()],
}

impl HandshakeCells {
    /// Counts one that succeeded.
    pub fn done(&self, handshake: Handshake) {
        self.done[handshake as usize].add(1);
    }

    /// Counts one that failed.
    pub fn failed(&self, why: HandshakeFailure) {
        self.failed[why as usize].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_where_their_labels_are() {
        let cells = HandshakeCells::default();
        for (position, handshake) in Handshake::ALL.into_iter().enumerate() {
            cells.done(handshake);
            assert_eq!(cells.done[position].value(), 1, "{handshake:?}");
        }
        for (position, why) in HandshakeFailure::ALL.into_iter().enumerate() {
            cells.failed(why);
            assert_eq!(cells.failed[position].value(), 1, "{why:?}");
        }
    }
}
