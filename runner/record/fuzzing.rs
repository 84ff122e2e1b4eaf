//! What is read back from a run's directory, which anybody may have written to.

use std::io::Cursor;

use crate::record::{
    format::{
        brief,
        glance::RowGlance,
        line::{MAX_LINE_BYTES, parse},
        manifest::Manifest,
        row::Row,
    },
    reading::read_line::{LineEnd, read_line},
};

/// Lines with a checksum that is made to be right: what is read of a row is written and read again as the same.
pub fn rows(bytes: &[u8]) {
    let mut file = Cursor::new(bytes);
    let mut line = Vec::new();
    let mut lines = 0;
    loop {
        let read = read_line(&mut file, &mut line).expect("memory can be read");
        assert!(line.len() <= MAX_LINE_BYTES + 1 && !line.contains(&b'\n'));
        drop(Row::decode(&line));
        let crc = crc32fast::hash(&line);
        line.extend_from_slice(format!(",\"crc\":\"{crc:08x}\"}}").as_bytes());
        if let Ok(row) = Row::decode(&line) {
            let again = encoded(&row);
            let written = again.trim_ascii_end();
            let read = Row::decode(written).expect("a row can be read back");
            assert_eq!(encoded(&read), again);
            let (brief, trial) = brief::decode_keys(written).expect("a row has its keys");
            assert_eq!(
                (brief.seq, brief.mark, &*trial),
                (row.seq, row.mark(), &*row.trial)
            );
            if let Some(quick) = RowGlance::decode_quickly(written) {
                assert_eq!(quick, parse(written).expect("a row has its keys"));
            }
            if let Some(quick) = brief::quick::decode(written) {
                assert_eq!(quick, (brief, &*trial));
            }
        }
        if read.end == LineEnd::File {
            break;
        }
        lines += 1;
    }
    let newlines = bytes.iter().filter(|byte| **byte == b'\n');
    assert_eq!(lines, newlines.count());
}

/// What is read of a manifest is written and read again as the same.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else {
        return;
    };
    let text = |manifest: &Manifest| {
        serde_json::to_string(manifest).expect("a manifest can be written as JSON")
    };
    let again = text(&manifest);
    let read: Manifest = serde_json::from_str(&again).expect("a manifest can be read back");
    assert_eq!(text(&read), again);
}

fn encoded(row: &Row<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    row.encode(&mut line);
    line
}
