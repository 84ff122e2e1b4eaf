//! Guards, with futures in place of guests.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use runner_model::Micros;

use super::{Guard, Halt, HostPanic, Interrupt};

#[tokio::test]
async fn guest_is_not_resumed_after_interrupt() {
    let interrupt = Interrupt::default();
    let guard = Guard::new(interrupt.clone(), Micros(3_600_000_000));
    let turns = Cell::new(0);
    let guest = pin!(poll_fn(|context| {
        turns.set(turns.get() + 1);
        // Always ready for another turn.
        context.waker().wake_by_ref();
        Poll::<wasmtime::Result<()>>::Pending
    }));
    let mut bound = pin!(guard.bound(guest));
    let mut context = Context::from_waker(Waker::noop());
    assert!(bound.as_mut().poll(&mut context).is_pending());
    interrupt.now();
    let Poll::Ready(Err(error)) = bound.as_mut().poll(&mut context) else {
        panic!("it goes on");
    };
    assert_eq!(error.downcast_ref(), Some(&Halt::Stopped));
    assert_eq!(turns.get(), 1);
}

#[tokio::test]
async fn waiting_guest_ends_at_its_deadline() {
    let guard = Guard::new(Interrupt::default(), Micros(1_000));
    let error =
        guard.bound(pin!(std::future::pending::<wasmtime::Result<()>>())).await.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Halt::Timeout));
}

#[tokio::test]
async fn guest_ends_after_its_tool() {
    let interrupt = Interrupt::default();
    let guard = Guard::new(interrupt.clone(), Micros(0));
    let has_ended = Cell::new(false);
    let guest = pin!(async {
        let tool = poll_fn(|_| if has_ended.get() { Poll::Ready(()) } else { Poll::Pending });
        guard.wait_for_tool(tool).await;
        guard.check_halt()?;
        Ok(())
    });
    let mut bound = pin!(guard.bound(guest));
    let mut context = Context::from_waker(Waker::noop());
    assert!(bound.as_mut().poll(&mut context).is_pending());
    has_ended.set(true);
    // Its folders may take until then.
    interrupt.pause(true);
    let Poll::Ready(Err(error)) = bound.as_mut().poll(&mut context) else {
        panic!("it goes on");
    };
    assert_eq!(error.downcast_ref(), Some(&Halt::Timeout));
}

#[tokio::test]
async fn call_time_stands_still_during_pause() {
    let interrupt = Interrupt::default();
    let guard = Guard::new(interrupt.clone(), Micros(3_600_000_000));
    let turns = Cell::new(0);
    let guest = pin!(poll_fn(|_| {
        turns.set(turns.get() + 1);
        match turns.get() {
            1 => Poll::<wasmtime::Result<()>>::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }));
    let mut bound = pin!(guard.bound(guest));
    let mut context = Context::from_waker(Waker::noop());
    assert!(bound.as_mut().poll(&mut context).is_pending());
    interrupt.pause(true);
    let (before, took) = (guard.remaining(), guard.elapsed());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(bound.as_mut().poll(&mut context).is_pending());
    assert_eq!((turns.get(), guard.remaining()), (1, before));
    interrupt.pause(false);
    assert!(guard.elapsed().suspended >= took.suspended + Duration::from_millis(2));
    assert!(bound.as_mut().poll(&mut context).is_ready());
    assert_eq!(turns.get(), 2);
}

#[tokio::test]
async fn paused_guest_can_be_interrupted() {
    let interrupt = Interrupt::default();
    let guard = Guard::new(interrupt.clone(), Micros(3_600_000_000));
    interrupt.pause(true);
    let stop = async { interrupt.now() };
    let guest = pin!(std::future::pending::<wasmtime::Result<()>>());
    let (error, ()) = tokio::join!(guard.bound(guest), stop);
    assert_eq!(error.unwrap_err().downcast_ref(), Some(&Halt::Stopped));
}

#[tokio::test]
async fn panic_of_the_host_becomes_an_error() {
    let guard = Guard::new(Interrupt::default(), Micros(u64::MAX));
    let error = guard
        .bound(pin!(async { panic!("no {}", "way") as wasmtime::Result<()> }))
        .await
        .unwrap_err();
    assert_eq!(error.downcast_ref::<HostPanic>().unwrap().0, "no way");
}
