use super::{ProcessShape, new_name, shapes};
use crate::source::is_worker_name;

#[test]
fn processes_share_slots_and_memory() {
    let shape = |slots, memory| ProcessShape { slots, memory };
    assert_eq!(shapes(5, 2, 200), [shape(3, 100), shape(2, 100)]);
    assert_eq!(shapes(1, 8, 200), [shape(1, 200)]);
    assert_eq!(shapes(0, 0, 200), [shape(0, 200)]);
}

#[test]
fn made_up_names_are_valid_and_differ() {
    let (one, other) = (new_name(), new_name());
    assert!(is_worker_name(&one) && is_worker_name(&other) && one != other, "{one} {other}");
}
