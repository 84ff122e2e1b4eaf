//! [`contain`]: a panic of the host ends one attempt and not the process.

use std::{any::Any, panic::AssertUnwindSafe};

use futures::FutureExt as _;

use crate::{
    model::{AttemptError, ErrorClass},
    plugin::{
        failure::failure,
        host_fault::{fault_error, fault_of_panic},
    },
};

/// Runs `attempt`, and keeps a panic of the host inside it.
pub(in crate::plugin) async fn contain<T>(
    attempt: impl Future<Output = T>,
) -> Result<T, AttemptError> {
    AssertUnwindSafe(attempt)
        .catch_unwind()
        .await
        .map_err(|panic| {
            let text = panic_text(panic.as_ref());
            match fault_of_panic(text) {
                Some(fault) => fault_error(fault, text),
                None => failure(
                    ErrorClass::Internal,
                    "panic",
                    format!("the runner itself failed: {text}"),
                ),
            }
        })
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked without a message")
}

#[cfg(test)]
mod tests {
    use wasmtime::{Linker, Module, Store};

    use super::contain;
    use crate::{
        model::ErrorClass,
        plugin::code::config::{Allocation, EngineConfig, Metering},
    };

    #[tokio::test]
    async fn a_panic_of_the_host_stays_inside_its_attempt() {
        let engine = EngineConfig::new(Metering::Off, Allocation::OnDemand)
            .engine(None)
            .unwrap();
        let text = r#"(module (import "host" "panic" (func $panic)) (start $panic))"#;
        let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        let panic = || -> () { panic!("no {}", "way") };
        linker.func_wrap("host", "panic", panic).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1_000_000);

        let ended = contain(linker.instantiate_async(&mut store, &module)).await;
        let error = ended.unwrap_err();
        assert_eq!(error.class, Some(ErrorClass::Internal));
        assert_eq!(error.message, "the runner itself failed: no way");
    }
}
