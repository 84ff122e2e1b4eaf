use super::{KeyExchange, Opener, Sealer};
use crate::wire::{Role, SEAL};

/// Returns the ends of a link: of the coordinator and of the worker.
fn link(join: [&[u8]; 2]) -> [(Sealer, Opener); 2] {
    let [ours, theirs] = [KeyExchange::new().unwrap(), KeyExchange::new().unwrap()];
    let (our_public, their_public) = (ours.public, theirs.public);
    [
        ours.agree(Role::Coordinator, &their_public, join[0]).unwrap(),
        theirs.agree(Role::Worker, &our_public, join[1]).unwrap(),
    ]
}

#[test]
fn messages_are_opened_in_order_and_once() {
    let [mut coordinator, mut worker] = link([b"join"; 2]);
    let sealed: Vec<_> = (0..4).map(|number| coordinator.0.seal(&[number; 100])).collect();
    assert_eq!(sealed[0].len(), 100 + SEAL);
    // The third one is lost.
    for number in [0, 1, 3] {
        assert_eq!(worker.1.open(&sealed[number]).unwrap(), [number as u8; 100]);
    }
    for repeated in &sealed {
        assert_eq!(worker.1.open(repeated), None);
    }
    let answer = worker.0.seal(b"");
    assert_eq!(coordinator.1.open(&answer).unwrap(), b"");
}

#[test]
fn messages_of_others_are_not_opened() {
    let [mut coordinator, mut worker] = link([b"join"; 2]);
    let sealed = coordinator.0.seal(b"message");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(worker.1.open(&changed), None, "{at}");
        assert_eq!(worker.1.open(&sealed[..at]), None, "{at}");
    }
    // The own message, and those of another link.
    assert_eq!(coordinator.1.open(&sealed), None);
    let [mut other, _] = link([b"join"; 2]);
    assert_eq!(worker.1.open(&other.0.seal(b"message")), None);
    assert_eq!(worker.1.open(&sealed).unwrap(), b"message");
}

#[test]
fn ends_with_different_joins_have_different_keys() {
    let [mut coordinator, mut worker] = link([b"join", b"jo1n"]);
    assert_eq!(worker.1.open(&coordinator.0.seal(b"message")), None);
}

#[test]
fn weak_public_keys_are_refused() {
    let exchange = KeyExchange::new().unwrap();
    assert!(exchange.agree(Role::Worker, &[0; 32], b"join").is_none());
}
