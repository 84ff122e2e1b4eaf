//! What a guest may try with files, as data.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, FileTimes, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

thread_local! {
    /// Files that are open from one act to the next, by name.
    static HELD: RefCell<BTreeMap<String, File>> = const { RefCell::new(BTreeMap::new()) };
}

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
        "open" => {
            let file = open(text(2), text(3))?;
            HELD.with_borrow_mut(|held| held.insert(text(1).to_owned(), file));
            Ok(Value::Null)
        }
        "held" => HELD.with_borrow_mut(|held| match (held.get_mut(text(1)), text(2)) {
            (None, _) => Ok("not open".into()),
            (Some(_), "close") => Ok(held.remove(text(1)).is_some().into()),
            (Some(file), "read") => {
                let mut bytes = vec![0; number(3) as usize];
                let read = file.read(&mut bytes)?;
                Ok(String::from_utf8_lossy(&bytes[..read]).into())
            }
            (Some(file), "write") => done(file.write_all(text(3).as_bytes())),
            (Some(file), "seek") => file.seek(SeekFrom::Start(number(3))).map(Value::from),
            (Some(file), "size") => done(file.set_len(number(3))),
            (Some(file), "times") => {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number(3));
                done(file.set_times(FileTimes::new().set_accessed(time).set_modified(time)))
            }
            (Some(file), "stat") => attributes(&c::Found::of(file)?),
            (Some(file), "same") => {
                let (held, found) = (c::Found::of(file)?, c::Found::at(text(3))?);
                Ok((held.inode == found.inode).into())
            }
            (_, other) => panic!("cannot do {other:?}"),
        }),
        "stat" => attributes(&c::Found::at(text(1))?),
        "inode" => Ok(c::Found::at(text(1))?.inode.into()),
        "env" => Ok(json!(std::env::vars().collect::<BTreeMap<_, _>>())),
        "sleep" => {
            thread::sleep(Duration::from_secs(3_600));
            Ok(Value::Null)
        }
        // Polls, because nothing in WASI waits for a file.
        "await" => {
            while !fs::exists(text(1))? {
                thread::sleep(Duration::from_millis(2));
            }
            Ok(Value::Null)
        }
        "panic" => panic!("the guest's own words"),
        "exit" => std::process::exit(act[1].as_i64().expect("a number") as i32),
        "fail" => Ok(Value::Null),
        other => panic!("cannot do {other:?}"),
    }
}

fn open(path: &str, mode: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    for letter in mode.chars() {
        match letter {
            'r' => options.read(true),
            'w' => options.write(true),
            'a' => options.append(true),
            't' => options.truncate(true),
            'c' => options.create(true),
            'n' => options.create_new(true),
            other => panic!("cannot open with {other:?}"),
        };
    }
    options.open(path)
}

/// Tells size and number of links, and the time of the last change if it was set.
fn attributes(found: &c::Found) -> io::Result<Value> {
    let is_set = found.modified < 1_000_000_000;
    let kind = if found.mode & 0o170_000 == 0o040_000 { "folder" } else { "file" };
    let (size, links) = if kind == "file" { (found.size, found.links) } else { (0, 0) };
    Ok(json!([kind, size, links, is_set.then_some(found.modified)]))
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
    use std::ffi::{CString, c_char, c_void};
    use std::{fs::File, io, os::fd::AsRawFd as _};

    use super::checked;

    /// The start of what `stat` of wasi-libc finds.
    #[repr(C)]
    #[derive(Default)]
    pub(super) struct Found {
        device: u64,
        pub(super) inode: u64,
        pub(super) links: u64,
        pub(super) mode: u32,
        owners: [u32; 3],
        kind: u64,
        pub(super) size: i64,
        block: i32,
        blocks: i64,
        accessed: [i64; 2],
        pub(super) modified: i64,
        rest: [u64; 16],
    }

    impl Found {
        pub(super) fn of(file: &File) -> io::Result<Self> {
            let mut found = Self::default();
            // SAFETY: there is more room than it needs.
            checked(unsafe { fstat(file.as_raw_fd(), &mut found) }).map(|()| found)
        }

        pub(super) fn at(path: &str) -> io::Result<Self> {
            let (mut found, path) = (Self::default(), CString::new(path)?);
            // SAFETY: there is more room than it needs, and the string lives until it returns.
            checked(unsafe { lstat(path.as_ptr(), &mut found) }).map(|()| found)
        }
    }

    pub(super) const AT_FDCWD: i32 = -2;
    pub(super) const AT_SYMLINK_NOFOLLOW: i32 = 1;

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(super) struct Timespec {
        pub(super) seconds: i64,
        pub(super) nanos: i32,
    }

    unsafe extern "C" {
        fn fstat(fd: i32, found: *mut Found) -> i32;
        fn lstat(path: *const c_char, found: *mut Found) -> i32;
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
