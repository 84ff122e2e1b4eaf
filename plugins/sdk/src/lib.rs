//! What a provider is written with: implement [`Provider`] and name it in one [`export!`] line.
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
//! The crate around it is a `cdylib` built for `wasm32-wasip2`; its name, version and description are the provider's.
//! The types of input and configuration are read with serde, and their JSON Schemas, derived with schemars, let the
//! runner check a scenario before anything runs.
//!
//! What the host offers are plain functions: [`log`], [`control`], [`files`], [`secrets`], [`artifacts`], [`http`].
//! Outside WASM they work on [`testing::Host`], kept in memory, so a provider is tested with `cargo test` alone.
//!
//! A provider that keeps something from one test to the next is a [`Lifecycle`].

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
pub mod secrets;

#[cfg(target_family = "wasm")]
mod guest;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

// What the functions above call: the host, or what stands for it.
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

/// Makes a type that implements [`Provider`] the provider of this component.
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

        // Nobody calls a provider on the host, yet it is no dead code.
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

/// Makes a type that implements [`Lifecycle`] the provider of this component.
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
