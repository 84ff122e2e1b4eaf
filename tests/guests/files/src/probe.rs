//! What a guest may try with files, as data.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

/// Performs the actions of the list. Returns the result of each: `{"ok": …}` or `{"err": "noent"}`.
pub(crate) fn act_all(acts: &Value) -> Value {
    let acts = acts.as_array().expect("a list of acts");
    let results = acts.iter().map(|act| match self::act(act) {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"err": name(&error)}),
    });
    results.collect()
}

/// What to fail with, if the list ends with `["fail"]` and something before did fail.
pub(crate) fn failure(acts: &Value, found: &Value) -> Option<String> {
    let is_wanted = acts.as_array()?.last()? == &json!(["fail"]);
    let error = found.as_array()?.iter().find_map(|found| found.get("err"))?;
    is_wanted.then(|| format!("it did not work: {error}"))
}

fn act(act: &Value) -> io::Result<Value> {
    let text = |index: usize| act[index].as_str().expect("a string");
    let number = |index: usize| act[index].as_u64().expect("a number");
    let done = |result: io::Result<()>| result.map(|()| Value::Null);
    match text(0) {
        "read" => fs::read_to_string(text(1)).map(Value::from),
        "write" => done(fs::write(text(1), text(2))),
        "append" => {
            let mut file = OpenOptions::new().append(true).create(true).open(text(1))?;
            done(file.write_all(text(2).as_bytes()))
        }
        "write-at" => {
            let mut file = OpenOptions::new().write(true).open(text(1))?;
            file.seek(SeekFrom::Start(number(2)))?;
            done(file.write_all(text(3).as_bytes()))
        }
        "pwrite" => {
            let file = OpenOptions::new().write(true).open(text(1))?;
            done(pwrite(&file, text(3).as_bytes(), number(2)))
        }
        // Through a descriptor that is only for reading.
        "write-to-read" => done(File::open(text(1))?.write_all(b"x")),
        "set-size" => done(OpenOptions::new().write(true).open(text(1))?.set_len(number(2))),
        "truncate-read" => done(File::open(text(1))?.set_len(0)),
        "fill" => fill(text(1), number(2)),
        "flood" => Ok(flood(text(1)).into()),
        "hoard" => hoard(text(1)),
        "deepen" => Ok(deepen(text(1), number(2)).into()),
        "list" => list(text(1)),
        "size" => fs::metadata(text(1)).map(|stat| stat.len().into()),
        "mkdir" => done(fs::create_dir(text(1))),
        "rmdir" => done(fs::remove_dir(text(1))),
        "remove" => done(fs::remove_file(text(1))),
        "rename" => done(fs::rename(text(1), text(2))),
        "link" => done(fs::hard_link(text(1), text(2))),
        "symlink" => done(symlink(text(1), text(2))),
        "readlink" => fs::read_link(text(1)).map(|path| path.to_string_lossy().into()),
        "touch" => done(touch(text(1))),
        "set-times" => done(set_times(text(1), number(2) as i64, text(3))),
        "modified" => modified(text(1), text(2)),
        "env" => Ok(json!(std::env::vars().collect::<BTreeMap<_, _>>())),
        "sleep" => {
            thread::sleep(Duration::from_secs(3_600));
            Ok(Value::Null)
        }
        "panic" => panic!("the guest's own words"),
        "exit" => std::process::exit(act[1].as_i64().expect("a number") as i32),
        "fail" => Ok(Value::Null),
        other => panic!("cannot do {other:?}"),
    }
}

/// Writes blocks until that fails, and tells how many bytes the file has then and why it failed.
fn fill(path: &str, block: u64) -> io::Result<Value> {
    let mut file = File::create(path)?;
    let block = vec![b'x'; block as usize];
    let error = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    Ok(json!([fs::metadata(path)?.len(), name(&error)]))
}

/// Makes empty files until that fails, and tells how many.
fn flood(folder: &str) -> u64 {
    let make = |index: u64| File::create(format!("{folder}/{index}")).is_ok();
    (0..).take_while(|index| make(*index)).count() as u64
}

/// Opens a file until that fails.
fn hoard(path: &str) -> io::Result<Value> {
    let mut files = Vec::new();
    loop {
        let mut file = File::open(path)?;
        file.read_exact(&mut [0])?;
        files.push(file);
    }
}

/// Makes folders in folders, and tells how many.
fn deepen(folder: &str, levels: u64) -> u64 {
    let mut path = folder.to_owned();
    let mut make = |_: &u64| {
        path += "/d";
        fs::create_dir(&path).is_ok()
    };
    (0..levels).take_while(|level| make(level)).count() as u64
}

fn list(folder: &str) -> io::Result<Value> {
    let names = fs::read_dir(folder)?;
    let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<String>>>()?;
    names.sort();
    Ok(json!(names))
}

fn pwrite(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let offset = i64::try_from(offset).expect("an offset");
    // SAFETY: the bytes live until it returns.
    let written = unsafe { c::pwrite(file.as_raw_fd(), bytes.as_ptr(), bytes.len(), offset) };
    checked(written as i32)
}

fn symlink(target: &str, path: &str) -> io::Result<()> {
    let (target, path) = (CString::new(target)?, CString::new(path)?);
    // SAFETY: both strings live until it returns.
    checked(unsafe { c::symlink(target.as_ptr(), path.as_ptr()) })
}

/// Changes when a file was last used, to now.
fn touch(path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the string lives until it returns; no times mean now.
    checked(unsafe { c::utimensat(c::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) })
}

/// Changes when a file was last used and changed, to so many seconds since 1970.
fn set_times(path: &str, seconds: i64, links: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    let times = [c::Timespec { seconds, nanos: 0 }; 2];
    let flags = match links {
        "nofollow" => c::AT_SYMLINK_NOFOLLOW,
        _ => 0,
    };
    let times = std::ptr::from_ref(&times).cast();
    // SAFETY: the string and both times live until it returns.
    checked(unsafe { c::utimensat(c::AT_FDCWD, path.as_ptr(), times, flags) })
}

/// Tells when a file was last changed, in seconds since 1970.
fn modified(path: &str, links: &str) -> io::Result<Value> {
    let stat = match links {
        "nofollow" => fs::symlink_metadata(path)?,
        _ => fs::metadata(path)?,
    };
    let since = stat.modified()?.duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.map_or(0, |since| since.as_secs()).into())
}

fn checked(result: i32) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The word of preview 1 for an error.
fn name(error: &io::Error) -> String {
    let known = [
        (2, "acces"),
        (8, "badf"),
        (20, "exist"),
        (28, "inval"),
        // Whatever a stream of WASI 0.2 says, wasi-libc makes this of it.
        (29, if cfg!(target_env = "p2") { "nospc" } else { "io" }),
        (31, "isdir"),
        (32, "loop"),
        (33, "mfile"),
        (44, "noent"),
        (48, "nomem"),
        (51, "nospc"),
        (54, "notdir"),
        (55, "notempty"),
        (58, "notsup"),
        (63, "perm"),
        (69, "rofs"),
        (75, "xdev"),
        (76, "notcapable"),
    ];
    let code = error.raw_os_error();
    let word = known.iter().find(|(known, _)| Some(*known) == code);
    word.map_or_else(|| format!("{error:?}"), |(_, word)| (*word).to_owned())
}

/// What wasi-libc has and the standard library keeps to itself.
mod c {
    use std::ffi::{c_char, c_void};

    pub(super) const AT_FDCWD: i32 = -2;
    pub(super) const AT_SYMLINK_NOFOLLOW: i32 = 1;

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(super) struct Timespec {
        pub(super) seconds: i64,
        pub(super) nanos: i32,
    }

    unsafe extern "C" {
        pub(super) fn pwrite(fd: i32, bytes: *const u8, count: usize, offset: i64) -> isize;
        pub(super) fn symlink(target: *const c_char, path: *const c_char) -> i32;
        pub(super) fn utimensat(
            fd: i32,
            path: *const c_char,
            times: *const c_void,
            flags: i32,
        ) -> i32;
    }
}
