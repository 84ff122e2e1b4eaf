//! Every call of WASI 0.2 that makes a file larger, as it is, on a file `raw` in `/scratch`.

use serde_json::{Value, json};
use wasip2::{
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags, filesystem_error_code},
    },
    io::streams::StreamError,
};

/// Makes each call with more than fits into `room` bytes, then with what does.
pub(crate) fn act_all(room: u64) -> Value {
    let folder = scratch();
    let mut flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    let open = |create, flags| folder.open_at(PathFlags::empty(), "raw", create, flags);
    let file = open(OpenFlags::CREATE, flags).expect("there is room for a file");
    flags.remove(DescriptorFlags::WRITE);
    let read_only = open(OpenFlags::empty(), flags).expect("it is there");

    let large = vec![b'x'; room as usize + 1];
    json!({
        "write": word(file.write(&large, 0)),
        "far": word(file.write(b"x", 1 << 40)),
        "set-size": word(file.set_size(room + 1)),
        "write-stream": through(&file, Some(0), |stream| stream.blocking_write_and_flush(&large)),
        "far-stream": through(&file, Some(1 << 40), |stream| stream.blocking_write_and_flush(b"x")),
        "append-stream": through(&file, None, |stream| stream.blocking_write_and_flush(&large)),
        "zeroes": through(&file, None, |stream| stream.blocking_write_zeroes_and_flush(room + 1)),
        "unchecked": through(&file, None, |stream| {
            stream.check_write()?;
            stream.write(&large)
        }),
        "closed": through(&file, None, |stream| {
            drop(stream.blocking_write_and_flush(&large));
            stream.blocking_write_and_flush(b"x")
        }),
        "splice": through(&file, None, |stream| {
            file.write(b"12345", 0).expect("it fits");
            let source = file.read_via_stream(0).expect("it can be read");
            // Of what the source has, as often as it takes.
            loop {
                match stream.blocking_splice(&source, 4096) {
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            }
        }),
        "read-only": word(read_only.write(b"x", 0)),
        "size": file.stat().expect("it is there").size,
    })
}

/// Makes so many files with long names, and has `/scratch` open for reading as often as it can.
pub(crate) fn open_listings(files: u64) -> Value {
    for file in 0..files {
        std::fs::write(format!("/scratch/{file:0>200}"), "").expect("there is room for a file");
    }
    let folder = scratch();
    let mut open = Vec::new();
    let refused = loop {
        match folder.read_directory() {
            Ok(listing) => {
                listing.read_directory_entry().expect("it can be read");
                open.push(listing);
            }
            Err(code) => break code.name().to_owned(),
        }
    };
    let first = open.first().expect("one can be open");
    let names = std::iter::from_fn(|| first.read_directory_entry().expect("it can be read"));
    json!({"names": 1 + names.count(), "open": open.len(), "refused": refused})
}

/// Makes folders inside each other until that is refused.
pub(crate) fn nest_folders(most: u64) -> Value {
    let mut folder = scratch();
    for made in 0..most {
        if let Err(code) = folder.create_directory_at("deeper") {
            return json!({"made": made, "refused": code.name()});
        }
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        let inner = folder.open_at(PathFlags::empty(), "deeper", OpenFlags::DIRECTORY, flags);
        folder = inner.expect("it is there");
    }
    json!({"made": most})
}

/// Moves the file `a` of `/work` into a folder whose path the host cannot read, and then out of
/// `/work`, from a handle of that folder.
pub(crate) fn leave_by_handle() -> Value {
    let (work, data) = (mounted("/work"), mounted("/data"));
    let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
    let mut deep = mounted("/work");
    for _ in 0..20 {
        let name = "d".repeat(250);
        deep.create_directory_at(&name).expect("there is room for a folder");
        let inner = deep.open_at(PathFlags::empty(), &name, OpenFlags::DIRECTORY, flags);
        deep = inner.expect("it is there");
    }
    deep.create_directory_at("a").expect("there is room for a folder");
    json!({
        "into": word(work.rename_at("a", &deep, "a")),
        "same folder": word(deep.rename_at("a", &deep, "b")),
        "out": word(deep.rename_at("b", &data, "b")),
        "linked out": word(deep.link_at(PathFlags::empty(), "b", &data, "b")),
    })
}

fn scratch() -> Descriptor {
    mounted("/scratch")
}

fn mounted(mount: &str) -> Descriptor {
    let mut folders = get_directories().into_iter();
    let (folder, _) = folders.find(|(_, path)| path == mount).expect("it is mounted");
    folder
}

fn through(
    file: &Descriptor,
    offset: Option<u64>,
    act: impl FnOnce(&wasip2::io::streams::OutputStream) -> Result<(), StreamError>,
) -> String {
    let stream = match offset {
        Some(offset) => file.write_via_stream(offset),
        None => file.append_via_stream(),
    };
    match act(&stream.expect("it can be written to")) {
        Ok(()) => "ok".to_owned(),
        Err(StreamError::Closed) => "closed".to_owned(),
        Err(StreamError::LastOperationFailed(error)) => match filesystem_error_code(&error) {
            Some(code) => code.name().to_owned(),
            None => error.to_debug_string(),
        },
    }
}

fn word<T>(result: Result<T, wasip2::filesystem::types::ErrorCode>) -> String {
    result.map_or_else(|code| code.name().to_owned(), |_| "ok".to_owned())
}
