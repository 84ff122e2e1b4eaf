//! The SDK for providers. Implement [`Provider`], and export the type with [`export!`].
//!
//! ```
//! use runner_sdk::{NoConfig, Provider, Raw, Reply, Result, Test};
//!
//! struct Echo;
//!
//! impl Provider for Echo {
//!     type Input = Raw;
//!     type Config = NoConfig;
//!
//!     fn run(test: Test<Self>) -> Result<Reply> {
//!         Reply::new(test.input)
//!     }
//! }
//!
//! runner_sdk::export!(Echo);
//! ```
//!
//! Build the crate as a `cdylib` for `wasm32-wasip2`. Its name, version and description become those of the provider.
//! Inputs and configurations are read with serde. The runner checks a scenario against their JSON Schemas, which schemars
//! derives, before it runs a test.
//!
//! The host's functions are in the modules [`log`], [`control`], [`files`], [`secrets`], [`artifacts`] and [`http`], and for
//! agents and test lists in [`tools`], [`transcript`] and [`records`]. Outside of WASM they call [`testing::Host`], so
//! `cargo test` alone tests a provider.
//!
//! A provider that keeps data between tests implements [`Lifecycle`] instead.

#![warn(missing_docs)]

mod error;
mod json;
mod lifecycle;
mod provider;
mod reply;

pub mod artifacts;
pub mod control;
pub mod files;
pub mod http;
pub mod log;
pub mod records;
pub mod secrets;
pub mod tools;
pub mod transcript;

#[cfg(target_family = "wasm")]
mod guest;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

// The modules above call the runner, or its replacement in native tests.
#[cfg(target_family = "wasm")]
use guest as host;
#[cfg(not(target_family = "wasm"))]
use testing as host;

pub use error::{Error, ErrorKind, Result};
pub use json::{FromJson, IntoJson, NoConfig, Raw};
pub use lifecycle::Lifecycle;
pub use provider::{Package, Packaged, Provider, Test};
pub use reply::{Check, Metric, Reply, Verdict};
pub use {schemars, serde, serde_json};

#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::guest::{Exported, bindings, lifecycle_bindings};
}

/// Exports a type that implements [`Provider`] as the provider of this component.
#[macro_export]
macro_rules! export {
    ($provider:ty) => {
        impl $crate::Packaged for $provider {
            const PACKAGE: $crate::Package = $crate::Package {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                summary: env!("CARGO_PKG_DESCRIPTION"),
            };
        }

        // Without an export, native builds have no use of the provider, and would warn of dead code.
        #[cfg(not(target_family = "wasm"))]
        const _: ::core::marker::PhantomData<$provider> = ::core::marker::PhantomData;

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::__private::Exported<$provider>;
            $crate::__private::bindings::export!(
                Exported with_types_in $crate::__private::bindings
            );
        };
    };
}

/// Exports a type that implements [`Lifecycle`] as the provider of this component.
#[macro_export]
macro_rules! export_with_lifecycle {
    ($provider:ty) => {
        $crate::export!($provider);

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::__private::Exported<$provider>;
            $crate::__private::lifecycle_bindings::export!(
                Exported with_types_in $crate::__private::lifecycle_bindings
            );
        };
    };
}
