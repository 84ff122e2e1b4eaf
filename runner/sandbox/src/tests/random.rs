//! Reproducible random numbers and texts, and a short run of all fuzz targets.

use std::ops::Range;

use crate::{
    call::{classify::fuzzing::symbols, fuzzing::replies},
    net::fuzzing::{addresses, grants, headers},
    redact::fuzzing::redaction,
};

/// Parts of inputs.
const PARTS: [&[u8]; 42] = [
    b"\xff",
    b"\xff",
    b"\xff",
    b"http://",
    b"https://",
    b"*.",
    b"example.com",
    b"api.example.com",
    b"localhost",
    b"127.0.0.1",
    b"[::1]",
    b"[::ffff:10.0.0.1]",
    b"0x7f.1",
    b":443",
    b":80",
    b":8",
    b"/",
    b"?",
    b"#",
    b"@",
    b".",
    b"%31",
    b"\xc3\xa4",
    b"authorization",
    b"x-key",
    b"{{secret.A}}",
    b"{{secret.B}}",
    b"{{ secret.",
    b"}}",
    b"s3cret \"",
    b"\r\n",
    b"\x7f\0\0\x01",
    b"\0",
    b"{\"ok\":{\"output\":",
    b"}}",
    b"{\"err\":{\"message\":\"",
    b"1e999",
    b"[1,null]",
    b",\"metrics\":[]",
    b" ",
    b"_RINvCs1_4bomb1f",
    b"TB_B_E",
];

/// Reproducible random numbers.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    pub(crate) fn text(&mut self, characters: &str, lengths: Range<usize>) -> String {
        let characters: Vec<_> = characters.chars().collect();
        let length = lengths.start + self.below(lengths.len());
        (0..length).map(|_| characters[self.below(characters.len())]).collect()
    }
}

#[test]
fn random_inputs_break_nothing() {
    let mut numbers = Numbers(19);
    for round in 0..1_000 {
        let parts = (0..numbers.below(12)).map(|_| PARTS[numbers.below(PARTS.len())]);
        let input = parts.collect::<Vec<_>>().concat();
        for fuzzed in [addresses, grants, replies, symbols] {
            fuzzed(&input);
        }
        // The first byte is an exit code.
        replies(&[&[0], &input[..]].concat());
        // Building a redactor is slow.
        if round % 20 == 0 {
            headers(&input);
            redaction(&input);
        }
    }
}
