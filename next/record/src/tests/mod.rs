//! What tests share.

use std::{cell::RefCell, sync::Arc};

use crate::fault::{
    Place,
    injected::{Action, Fault},
};

thread_local! {
    static FAULT: RefCell<Option<Arc<Fault>>> = const { RefCell::new(None) };
}

/// Injects a fault into this thread and the writers that it starts; none with an empty text.
pub(crate) fn inject(text: &str) {
    let fault = (!text.is_empty()).then(|| Arc::new(Fault::parse(text).unwrap()));
    adopt(fault);
}

pub(crate) fn fault_at(place: Place) -> Option<Action> {
    FAULT.with_borrow(|fault| fault.as_ref()?.passed(place))
}

pub(crate) fn inherit() -> Option<Arc<Fault>> {
    FAULT.with_borrow(Clone::clone)
}

pub(crate) fn adopt(fault: Option<Arc<Fault>>) {
    FAULT.set(fault);
}
