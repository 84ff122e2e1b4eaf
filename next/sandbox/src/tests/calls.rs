//! Calls of components and commands that come to their end.

use super::support::{Bench, output};

#[test]
fn the_bundled_echo_answers_with_its_input() {
    let bench = Bench::new();
    let echo = bench.bundled("echo");
    let input = r#"{"a":[1,2.5,"ü"]}"#;
    let ended = bench.run(&echo, input);
    assert_eq!(output(&ended), input);
    assert_eq!(ended.usage.bytes_in, input.len() as u64 + 2);
    assert_eq!(ended.usage.bytes_out, input.len() as u64);
    assert!(ended.usage.peak_memory > 0 && ended.said.is_empty());
}
