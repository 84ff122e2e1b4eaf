//! Rows of a run whose manifest lacks their counts.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::tests::{dead_run, folder};

#[test]
fn rows_are_read_once_for_each_stamp() {
    let folder = folder();
    let (_root, run) = dead_run(folder.path(), 3, 2);
    let path = run.path().join("index.jsonl");
    let rows = fs::read(&path).unwrap();
    let other = vec![b'x'; rows.len()];
    let write = |bytes: &[u8], time: SystemTime| {
        fs::write(&path, bytes).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    let done = || run.truth().unwrap().counts.done();
    let earlier = SystemTime::now() - Duration::from_secs(60);
    write(&rows, earlier);
    assert_eq!(done(), 2);
    write(&other, earlier);
    assert_eq!(done(), 2, "the rows were read again");
    write(&other, earlier + Duration::from_nanos(1));
    assert_eq!(done(), 0);
    // Rows that have just changed may change again without another stamp. A minute ahead, because the machine may stand still.
    let now = SystemTime::now() + Duration::from_secs(60);
    for (bytes, results) in [(&rows, 2), (&other, 0)] {
        write(bytes, now);
        assert_eq!(done(), results);
    }
}
