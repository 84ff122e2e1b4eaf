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
    let scratch = get_directories()
        .into_iter()
        .find(|(_, path)| path == "/scratch");
    let (folder, _) = scratch.expect("there is scratch");
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
                match stream.blocking_splice(&source, 4) {
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            }
        }),
        "read-only": word(read_only.write(b"x", 0)),
        "size": file.stat().expect("it is there").size,
    })
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
