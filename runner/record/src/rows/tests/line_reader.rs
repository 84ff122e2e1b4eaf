//! Reading lines in blocks.

use std::io::{BufReader, Seek as _, Write as _};
use std::{fs::File, os::unix::fs::FileExt as _};

use runner_model::{Outcome, row::BadLine};

use super::{MAX_LINE, ReadLine, read, read_json_line};
use crate::tests::{row, tail};

fn line(seq: u64) -> Vec<u8> {
    let mut line = row(seq as u32, 1, Outcome::Passed);
    let mut tail = tail(true);
    tail.seq = seq;
    tail.finish(&mut line);
    line
}

/// Returns all lines as texts.
fn lines(file: &File) -> Vec<String> {
    let mut lines = Vec::new();
    read(file, 0, |_| (), &mut |from, (line, _)| {
        lines.push(match line {
            ReadLine::Row(row, bytes) => {
                assert_eq!(bytes, &self::line(row.seq)[..bytes.len()]);
                format!("{from} row {}", row.seq)
            }
            ReadLine::Damaged(problem) => format!("{from} {problem}"),
            ReadLine::Torn => format!("{from} torn"),
        });
    })
    .unwrap();
    lines
}

#[test]
fn lines_are_read_across_blocks() {
    let mut file = tempfile::tempfile().unwrap();
    let (mut expected, mut at) = (Vec::new(), 0);
    for seq in 1..=3000 {
        let line = line(seq);
        file.write_all(&line).unwrap();
        expected.push(format!("{at} row {seq}"));
        at += line.len();
    }
    file.write_all(b"garbage\n\n").unwrap();
    expected.push(format!("{at} {}", BadLine::Checksum));
    expected.push(format!("{} {}", at + 8, BadLine::Checksum));
    assert_eq!(lines(&file), expected);
    // A last line without its line break is a row if it is whole.
    let last = line(3001);
    file.write_all(&last[..last.len() - 1]).unwrap();
    expected.push(format!("{} row 3001", at + 9));
    assert_eq!(lines(&file), expected);
    file.set_len((at + 9 + last.len() - 2) as u64).unwrap();
    expected.pop();
    expected.push(format!("{} torn", at + 9));
    assert_eq!(lines(&file), expected);
}

#[test]
fn endless_lines_take_bounded_memory() {
    let file = tempfile::tempfile().unwrap();
    // Longer than all lines of the tests that run in parallel.
    let length = 200 << 20;
    file.set_len(length).unwrap();
    assert_eq!(lines(&file), ["0 torn"]);
    file.write_all_at(&[&b"\n"[..], &line(1)].concat(), length).unwrap();
    let too_long = BadLine::Shape(format!("longer than {MAX_LINE} bytes"));
    assert_eq!(lines(&file), [format!("0 {too_long}"), format!("{} row 1", length + 1)]);
    let peak = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 160 << 10, "{peak} KiB");
}

#[test]
fn holes_of_sparse_files_take_no_memory() {
    const HOLE: u64 = 4 << 20;
    let file = tempfile::tempfile().unwrap();
    for (start, bytes) in [("{}\n", 3), ("{\"a\":", HOLE)] {
        file.set_len(0).unwrap();
        file.write_all_at(start.as_bytes(), 0).unwrap();
        file.set_len(HOLE).unwrap();
        let mut reader = BufReader::new(&file);
        reader.rewind().unwrap();
        let mut line = Vec::new();
        let is_whole = bytes == 3;
        assert_eq!(read_json_line(&mut reader, &mut line).unwrap(), (bytes, is_whole));
        assert_eq!(line, if is_whole { &b"{}"[..] } else { b"" });
        let (rest, _) = read_json_line(&mut reader, &mut line).unwrap();
        assert_eq!((rest, line.capacity()), (HOLE - bytes, 0));
        assert_eq!(read_json_line(&mut reader, &mut line).unwrap(), (0, false));
    }
}
