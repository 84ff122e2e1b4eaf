//! [`ContractVersion`]: which versions of the contract this host speaks.

use std::fmt;

/// A version of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractVersion {
    /// Anything else than the host's is another contract.
    pub major: u16,
    /// Anything else than the host's is another contract.
    pub minor: u16,
    /// A guest's may be at most the host's.
    pub patch: u16,
}

impl ContractVersion {
    /// The version that this host speaks.
    pub const HOST: Self = Self {
        major: 0,
        minor: 1,
        patch: 0,
    };

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let version = Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next()??,
        };
        numbers.next().is_none().then_some(version)
    }

    pub(super) fn is_served(self) -> bool {
        let host = Self::HOST;
        self.major == host.major && self.minor == host.minor && self.patch <= host.patch
    }

    pub(super) fn is_newer(self) -> bool {
        let host = Self::HOST;
        (self.major, self.minor, self.patch) > (host.major, host.minor, host.patch)
    }
}

impl fmt::Display for ContractVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
