//! Identity: names people write and numbers the API shapes carry.
//!
//! A numeric id is derived from the kind and the names of an object, so it is the same after every reload and restart
//! without anything being kept. Ids fit in 40 bits: exact in JSON readers that use doubles, and short enough to read.

use std::fmt;

/// The largest length of a [`Name`], in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// Bits of a derived id. Two of 10,000 names collide with a chance of 1 in 20,000; the config lowering reports it.
const ID_BITS: u32 = 40;

/// A name as people write it in the file: `[a-z0-9][a-z0-9._-]{0,62}`, not all digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(std::sync::Arc<str>);

impl Name {
    /// Returns the name, or why `text` is none.
    ///
    /// # Errors
    /// [`NameError`] says which rule was broken; the caller knows where the text stood.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let Some(first) = bytes.next() else { return Err(NameError::Empty) };
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if !matches!(first, b'a'..=b'z' | b'0'..=b'9') {
            return Err(NameError::FirstByte);
        }
        if !bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')) {
            return Err(NameError::Byte);
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameError::AllDigits);
        }
        Ok(Self(text.into()))
    }

    /// Returns a name that is written in the source.
    #[must_use]
    pub(crate) fn fixed(text: &'static str) -> Self {
        debug_assert!(Self::parse(text).is_ok(), "{text:?} is no name");
        Self(text.into())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Only digits: such a name could not be told from a numeric id.
    #[error("has only digits, which would read as an id; add a letter")]
    AllDigits,
    /// A byte outside the alphabet.
    #[error("has a character outside a-z, 0-9, '.', '_' and '-'")]
    Byte,
    /// Nothing at all.
    #[error("is empty; write 1 to 63 characters")]
    Empty,
    /// Does not begin with a letter or a digit.
    #[error("must begin with a-z or 0-9")]
    FirstByte,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("is longer than 63 characters")]
    TooLong,
}

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

numeric_id!(
    /// Identifies a farm; OVHcloud's `farmId`.
    FarmId
);
numeric_id!(
    /// Identifies a frontend; OVHcloud's `frontendId`, Zenlayer's `listenerId`.
    FrontendId
);
numeric_id!(
    /// Identifies any object that an API makes or reads: the number of its [`FarmId`], [`ServerId`] and so on.
    ObjectId
);
numeric_id!(
    /// Identifies a task.
    TaskId
);
numeric_id!(
    /// Identifies a route; OVHcloud's `routeId`.
    RouteId
);
numeric_id!(
    /// Identifies a server; OVHcloud's `serverId`.
    ServerId
);
numeric_id!(
    /// Identifies this balancer process among its peers; OVHcloud's `instanceId`.
    InstanceId
);
numeric_id!(
    /// Tells one incarnation of a server from the next: a new one begins with every new address or probe type.
    Epoch
);
numeric_id!(
    /// Counts the tables that the Store has published; strictly increasing.
    Generation
);

impl From<FarmId> for ObjectId {
    fn from(id: FarmId) -> Self {
        Self(id.0)
    }
}

impl From<FrontendId> for ObjectId {
    fn from(id: FrontendId) -> Self {
        Self(id.0)
    }
}

impl From<RouteId> for ObjectId {
    fn from(id: RouteId) -> Self {
        Self(id.0)
    }
}

impl From<ServerId> for ObjectId {
    fn from(id: ServerId) -> Self {
        Self(id.0)
    }
}

impl FarmId {
    /// Returns the id of the farm of that name.
    #[must_use]
    pub fn derive(farm: &Name) -> Self {
        Self(derive(&["farm", farm.as_str()]))
    }
}

impl FrontendId {
    /// Returns the id of the frontend of that name.
    #[must_use]
    pub fn derive(frontend: &Name) -> Self {
        Self(derive(&["frontend", frontend.as_str()]))
    }
}

impl RouteId {
    /// Returns the id of the route of that name in that frontend.
    #[must_use]
    pub fn derive(frontend: &Name, route: &Name) -> Self {
        Self(derive(&["route", frontend.as_str(), route.as_str()]))
    }
}

impl ServerId {
    /// Returns the id of the server of that name in that farm.
    #[must_use]
    pub fn derive(farm: &Name, server: &Name) -> Self {
        Self(derive(&["server", farm.as_str(), server.as_str()]))
    }
}

/// Names one server of one farm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServerKey {
    /// The farm.
    pub farm: FarmId,
    /// The server in it.
    pub server: ServerId,
}

/// FNV-1a over the parts, folded to [`ID_BITS`]: fixed for ever, since ids outlive every build.
fn derive(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let folded = (hash >> ID_BITS) ^ (hash & ((1 << ID_BITS) - 1));
    folded.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_outside_the_alphabet_is_refused_with_the_rule() {
        for (text, want) in [
            ("", NameError::Empty),
            ("-a", NameError::FirstByte),
            ("Web", NameError::FirstByte),
            ("a b", NameError::Byte),
            ("123", NameError::AllDigits),
        ] {
            assert_eq!(Name::parse(text), Err(want), "{text:?}");
        }
        assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::TooLong));
        assert!(Name::parse("web-1.eu_2").is_ok());
        assert!(Name::parse("1a").is_ok());
    }

    #[test]
    fn derived_ids_are_pinned_for_ever() {
        let web = Name::parse("web").unwrap();
        let one = Name::parse("web-1").unwrap();
        insta::assert_debug_snapshot!((FarmId::derive(&web), FrontendId::derive(&web), ServerId::derive(&web, &one)));
    }

    #[test]
    fn derived_ids_fit_in_40_bits() {
        for n in 0..1000 {
            let name = Name::parse(&format!("s{n}")).unwrap();
            assert!(FarmId::derive(&name).0 < 1 << ID_BITS);
        }
    }
}
