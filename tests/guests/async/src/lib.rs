//! A command of WASI 0.3 whose arguments are steps. It prints a line for each step.

use futures::future::join_all;
use futures::join;
use wasip3::cli::{
    environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout,
};
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request, RequestOptions, Response, Scheme};
use wasip3::random::{insecure, insecure_seed, random};
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{IpAddressFamily, TcpSocket, UdpSocket};
use wasip3::wit_bindgen::{StreamReader, StreamResult};
use wasip3::{wit_future, wit_stream};

wasip3::cli::command::export!(Command);

struct Command;

impl wasip3::exports::cli::run::Guest for Command {
    async fn run() -> Result<(), ()> {
        let mut arguments = environment::get_arguments().into_iter().skip(1);
        while let Some(step) = arguments.next() {
            let mut next = || arguments.next().expect("a step lacks an argument");
            let said = match &*step {
                "args" => format!("{:?}", environment::get_arguments()),
                "env" => format!("{:?}", environment::get_environment()),
                "cat" => return cat().await,
                "complain" => {
                    write(next().into_bytes(), stderr::write_via_stream).await;
                    continue;
                }
                "exit" => return exit::exit_with_code(number(&next()) as u8).into_ok(),
                "fail" => return Err(()),
                "clocks" => format!(
                    "{:?} {:?}",
                    system_clock::now().seconds > 0,
                    monotonic_clock::now() > 0
                ),
                "random" => random::get_random_bytes(number(&next())).len().to_string(),
                "sleep" => sleeps(&[number(&next())]).await,
                "sleeps" => sleeps(&[number(&next()), number(&next()), number(&next())]).await,
                "write" => write_file(&next(), next().into_bytes(), Some(0)).await,
                "append" => write_file(&next(), next().into_bytes(), None).await,
                "fill" => {
                    let path = next();
                    write_file(&path, vec![b'x'; number(&next()) as usize], Some(0)).await
                }
                "read" => read_file(&next()).await,
                "list" => list(&next()).await,
                "stat" => {
                    let (root, path) = root(&next());
                    let found = root.stat_at(PathFlags::empty(), path).await;
                    format!("{:?}", found.map(|found| (found.type_, found.size)))
                }
                "dir" => {
                    let (root, path) = root(&next());
                    format!("{:?}", root.create_directory_at(path).await)
                }
                "link" => {
                    let (target, (root, path)) = (next(), root(&next()));
                    format!("{:?}", root.symlink_at(target, path).await)
                }
                "rename" => {
                    let ((old, from), (new, to)) = (root(&next()), root(&next()));
                    format!("{:?}", old.rename_at(from, &new, to).await)
                }
                "remove" => {
                    let (root, path) = root(&next());
                    format!("{:?}", root.unlink_file_at(path).await)
                }
                "every-call" => every_call(&next()).await,
                "hold" => hold(&next(), number(&next())).await,
                "get-with" => {
                    let (name, value, url) = (next(), next().into_bytes(), next());
                    let headers = Fields::from_list(&[(name, value)]).expect("a header");
                    match read_response(headers, &url).await {
                        Ok((status, body)) => format!("{status} {body}"),
                        Err(error) => error,
                    }
                }
                "get" => match get(&next()).await {
                    Ok((status, body)) => format!("{status} {body}"),
                    Err(error) => error,
                },
                "get-all" => {
                    let url = next();
                    let all = (0..number(&next())).map(|_| get(&url));
                    let ok = join_all(all).await.into_iter().filter(Result::is_ok).count();
                    format!("{ok} answered")
                }
                "get-each" => {
                    let (url, mut ok) = (next(), 0);
                    for _ in 0..number(&next()) {
                        ok += u64::from(get(&url).await.is_ok());
                    }
                    format!("{ok} answered")
                }
                "post" => {
                    let url = next();
                    let body = vec![b'x'; number(&next()) as usize];
                    match send(Fields::new(), Method::Post, &url, Some(body)).await {
                        Ok(response) => format!("{}", response.get_status_code()),
                        Err(error) => error,
                    }
                }
                "long-path" => {
                    let request = request(Fields::new(), Method::Get, "http://127.0.0.1/", None).0;
                    let long = "/".repeat(number(&next()) as usize);
                    format!("{:?}", request.set_path_with_query(Some(&long)))
                }
                "socket" => {
                    let tcp = TcpSocket::create(IpAddressFamily::Ipv4).err();
                    let udp = UdpSocket::create(IpAddressFamily::Ipv4).err();
                    let names = resolve_addresses("example.com".to_owned()).await.err();
                    format!("{tcp:?} {udp:?} {names:?}")
                }
                "streams" => {
                    let held: Vec<_> =
                        (0..number(&next())).map(|_| wit_stream::new::<u8>()).collect();
                    format!("{} streams", held.len())
                }
                "futures" => {
                    let count = number(&next());
                    let held: Vec<_> = (0..count)
                        .map(|_| wit_future::new(|| Err(ErrorCode::Io)))
                        .collect::<Vec<_>>();
                    format!("{} futures", held.len())
                }
                "pipe" => {
                    let file = open(&next()).await.expect("a file");
                    let (content, read) = file.read_via_stream(0);
                    let printed = stdout::write_via_stream(content);
                    let (read, printed) = join!(async { read.await }, async { printed.await });
                    format!("{read:?} {printed:?}")
                }
                // Reads what it writes.
                "chase" => {
                    let path = next();
                    write_file(&path, vec![b'x'], Some(0)).await;
                    let (root, path) = root(&path);
                    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
                    let opened = root.open_at(PathFlags::empty(), path, OpenFlags::empty(), flags);
                    let file = opened.await.expect("a file");
                    let (content, _ended) = file.read_via_stream(0);
                    format!("{:?}", file.append_via_stream(content).await)
                }
                "flood" => {
                    let line = vec![b'x'; number(&next()) as usize];
                    write(line, stdout::write_via_stream).await;
                    continue;
                }
                "own-stream" => own_stream(number(&next()) as usize).await,
                "tasks" => {
                    let all = (0..number(&next())).map(|_| monotonic_clock::wait_for(u64::MAX));
                    join_all(all).await;
                    "all over".to_owned()
                }
                "spin" => loop {
                    std::hint::black_box(0);
                },
                "wait" => loop {
                    // Each wait ends at once.
                    monotonic_clock::wait_for(0).await;
                },
                // Nothing writes to the stream.
                "starve" => {
                    let (_sender, mut stream) = wit_stream::new::<u8>();
                    format!("{:?}", stream.next().await)
                }
                // The task waits when the others are over.
                "leave" => {
                    wasip3::spawn_local(async { monotonic_clock::wait_for(u64::MAX).await });
                    "left".to_owned()
                }
                "trap" => std::process::abort(),
                other => panic!("no step `{other}`"),
            };
            write((said + "\n").into_bytes(), stdout::write_via_stream).await;
        }
        Ok(())
    }
}

trait IntoOk {
    fn into_ok(self) -> Result<(), ()>;
}

impl IntoOk for () {
    fn into_ok(self) -> Result<(), ()> {
        Ok(())
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// Writes bytes to a standard stream.
async fn write<E: std::fmt::Debug + 'static>(
    bytes: Vec<u8>,
    to: impl FnOnce(StreamReader<u8>) -> wasip3::wit_bindgen::FutureReader<Result<(), E>>,
) {
    let (mut sender, stream) = wit_stream::new();
    let ended = to(stream);
    let (rest, ended) = join!(
        async {
            let rest = sender.write_all(bytes).await;
            drop(sender);
            rest
        },
        async { ended.await }
    );
    assert!(rest.is_empty() && ended.is_ok(), "{} bytes left, {ended:?}", rest.len());
}

/// Copies standard input to standard output.
async fn cat() -> Result<(), ()> {
    let (input, read) = stdin::read_via_stream();
    let written = stdout::write_via_stream(input);
    let (read, written) = join!(async { read.await }, async { written.await });
    read.and(written).map_err(|_| ())
}

/// Waits for all sleeps at once, and returns their places in the order of their ends.
async fn sleeps(milliseconds: &[u64]) -> String {
    let order = std::cell::RefCell::new(Vec::new());
    let start = monotonic_clock::now();
    let all = (0..).zip(milliseconds).map(|(place, time)| {
        let order = &order;
        async move {
            monotonic_clock::wait_for(time * 1_000_000).await;
            order.borrow_mut().push(place);
        }
    });
    let all: Vec<_> = all.collect();
    join_all(all).await;
    let took = (monotonic_clock::now() - start) / 1_000_000;
    let longest = milliseconds.iter().max().copied().unwrap_or_default();
    assert!(took >= longest, "{took} ms");
    format!("{:?}", order.into_inner())
}

/// Returns the mounted folder that holds a path, and the rest of the path.
fn root(path: &str) -> (Descriptor, String) {
    let mut found = get_directories();
    found.sort_by_key(|(_, name)| std::cmp::Reverse(name.len()));
    let (folder, name) = found
        .into_iter()
        .find(|(_, name)| path.starts_with(&**name))
        .unwrap_or_else(|| panic!("no folder has `{path}`"));
    let rest = path[name.len()..].trim_start_matches('/');
    (folder, if rest.is_empty() { "." } else { rest }.to_owned())
}

async fn write_file(path: &str, bytes: Vec<u8>, at: Option<u64>) -> String {
    let (root, path) = root(path);
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    let opened = root.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::CREATE, flags).await;
    let file = match opened {
        Ok(file) => file,
        Err(code) => return format!("{code:?}"),
    };
    let (mut sender, stream) = wit_stream::new();
    let ended = match at {
        Some(at) => file.write_via_stream(stream, at),
        None => file.append_via_stream(stream),
    };
    let (_, ended) = join!(
        async {
            sender.write_all(bytes).await;
            drop(sender);
        },
        async { ended.await }
    );
    format!("{ended:?}")
}

async fn open(path: &str) -> Result<Descriptor, ErrorCode> {
    let (root, path) = root(path);
    root.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ).await
}

async fn read_file(path: &str) -> String {
    let file = match open(path).await {
        Ok(file) => file,
        Err(code) => return format!("{code:?}"),
    };
    let (stream, ended) = file.read_via_stream(0);
    let bytes = stream.collect().await;
    match ended.await {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(code) => format!("{code:?}"),
    }
}

async fn list(path: &str) -> String {
    let (root, path) = root(path);
    let opened =
        root.open_at(PathFlags::empty(), path, OpenFlags::DIRECTORY, DescriptorFlags::READ).await;
    let folder = match opened {
        Ok(folder) => folder,
        Err(code) => return format!("{code:?}"),
    };
    let (stream, ended) = folder.read_directory();
    let mut names: Vec<_> = stream.collect().await.into_iter().map(|entry| entry.name).collect();
    names.sort();
    match ended.await {
        Ok(()) => format!("{names:?}"),
        Err(code) => format!("{code:?}"),
    }
}

/// Makes every call on files and folders once, below a writable folder. Returns the names of failed calls.
async fn every_call(path: &str) -> String {
    let (root, _) = root(path);
    let none = PathFlags::empty();
    let mut failed = Vec::new();
    let mut check = |name: &str, is_ok: bool| {
        if !is_ok {
            failed.push(name.to_owned());
        }
    };
    let all = DescriptorFlags::READ | DescriptorFlags::WRITE;
    let file = root.open_at(none, "f".to_owned(), OpenFlags::CREATE, all).await.expect("a file");
    check("set_size", file.set_size(10).await.is_ok());
    check("sync", file.sync().await.is_ok() && file.sync_data().await.is_ok());
    check("get_flags", file.get_flags().await.is_ok_and(|flags| flags.contains(all)));
    check("get_type", file.get_type().await.is_ok());
    use wasip3::filesystem::types::Advice;
    for advice in [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::WillNeed,
        Advice::DontNeed,
        Advice::NoReuse,
    ] {
        check("advise", file.advise(0, 10, advice).await.is_ok());
    }
    let time = NewTimestamp::Timestamp(system_clock::Instant { seconds: 1000, nanoseconds: 5 });
    check("set_times", file.set_times(time, NewTimestamp::NoChange).await.is_ok());
    check("set_times now", file.set_times(NewTimestamp::Now, time).await.is_ok());
    let stat = file.stat().await.expect("attributes");
    check(
        "stat",
        stat.size == 10 && stat.data_modification_timestamp.is_some_and(|at| at.seconds == 1000),
    );
    let early = NewTimestamp::Timestamp(system_clock::Instant { seconds: -5, nanoseconds: 0 });
    check(
        "times before 1970",
        matches!(file.set_times(early, early).await, Err(ErrorCode::Overflow)),
    );
    check("hash", file.metadata_hash().await.is_ok());
    check("dir", root.create_directory_at("d".to_owned()).await.is_ok());
    check("link", root.link_at(none, "f".to_owned(), &root, "d/g".to_owned()).await.is_ok());
    check("symlink", root.symlink_at("f".to_owned(), "s".to_owned()).await.is_ok());
    check("readlink", root.readlink_at("s".to_owned()).await.is_ok_and(|target| target == "f"));
    for flags in [none, PathFlags::SYMLINK_FOLLOW] {
        let link = || "s".to_owned();
        check("set_times_at", root.set_times_at(flags, link(), time, time).await.is_ok());
        let is_link = flags == none;
        check("stat_at", {
            let stat = root.stat_at(flags, link()).await;
            stat.is_ok_and(|stat| matches!(stat.type_, DescriptorType::SymbolicLink) == is_link)
        });
        check("hash_at", root.metadata_hash_at(flags, link()).await.is_ok());
        let opened = root.open_at(flags, link(), OpenFlags::empty(), DescriptorFlags::READ).await;
        check("open a link", opened.is_ok() != is_link);
        let folder =
            root.open_at(flags, "d".to_owned(), OpenFlags::DIRECTORY, DescriptorFlags::READ);
        check("open a folder", folder.await.is_ok());
        let linked = root.link_at(flags, link(), &root, "d/s".to_owned()).await;
        // As in 0.2, a link to a link's target is refused.
        check("link to a link", linked.is_ok() == is_link);
    }
    check("unlink a link", root.unlink_file_at("d/s".to_owned()).await.is_ok());
    let now = monotonic_clock::now();
    monotonic_clock::wait_until(now + monotonic_clock::get_resolution()).await;
    check("wait_until", monotonic_clock::now() > now);
    check("resolution", system_clock::get_resolution() > 0);
    check("insecure", insecure::get_insecure_random_bytes(8).len() == 8);
    check("seed", insecure_seed::get_insecure_seed() != (0, 0));
    check("number", random::get_random_u64() != insecure::get_insecure_random_u64());
    check("folder", environment::get_initial_cwd().is_none());
    check("terminal", {
        let input = terminal_stdin::get_terminal_stdin().is_none();
        input
            && terminal_stdout::get_terminal_stdout().is_none()
            && terminal_stderr::get_terminal_stderr().is_none()
    });
    let same = root.open_at(none, "d/g".to_owned(), OpenFlags::empty(), all).await.expect("a link");
    check("same", file.is_same_object(&same).await && !file.is_same_object(&root).await);
    check("exclusive", {
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        matches!(root.open_at(none, "f".to_owned(), flags, all).await, Err(ErrorCode::Exist))
    });
    check("truncate", {
        let opened = root.open_at(none, "f".to_owned(), OpenFlags::TRUNCATE, all).await;
        opened.is_ok() && file.stat().await.is_ok_and(|found| found.size == 0)
    });
    for flags in [
        DescriptorFlags::FILE_INTEGRITY_SYNC,
        DescriptorFlags::DATA_INTEGRITY_SYNC,
        DescriptorFlags::REQUESTED_WRITE_SYNC,
        DescriptorFlags::MUTATE_DIRECTORY,
    ] {
        // Not supported everywhere, but answered.
        let _ = root.open_at(none, "f".to_owned(), OpenFlags::empty(), all | flags).await;
    }
    check("rename", root.rename_at("d/g".to_owned(), &root, "h".to_owned()).await.is_ok());
    check("remove_directory", root.remove_directory_at("d".to_owned()).await.is_ok());
    for name in ["h", "s", "f"] {
        check("unlink", root.unlink_file_at(name.to_owned()).await.is_ok());
    }
    check("folder is no file", {
        let (_, ended) = root.read_via_stream(0);
        ended.await.is_err()
    });
    check("file is no folder", {
        let (_, ended) = file.read_directory();
        matches!(ended.await, Err(ErrorCode::NotDirectory))
    });
    format!("failed: {failed:?}")
}

/// Holds streams from a file without its descriptors. Returns how many could be opened.
async fn hold(path: &str, count: u64) -> String {
    let mut held = Vec::new();
    for opened in 0..count {
        let file = match open(path).await {
            Ok(file) => file,
            Err(code) => return format!("{opened} streams, then {code:?}"),
        };
        let (mut stream, ended) = file.read_via_stream(0);
        let (result, _) = stream.read(Vec::with_capacity(1)).await;
        if !matches!(result, StreamResult::Complete(1)) {
            return format!("{opened} streams, then {:?}", ended.await);
        }
        held.push((stream, ended));
    }
    format!("{} streams", held.len())
}

fn request(
    headers: Fields,
    method: Method,
    url: &str,
    body: Option<Vec<u8>>,
) -> (Request, impl Future<Output = ()>) {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (sender, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let contents = body.is_some().then_some(contents);
    let (request, sent) =
        Request::new(headers, contents, trailers_reader, Some(RequestOptions::new()));
    request.set_method(&method).expect("a method");
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(path)).expect("a path");
    let writing = async move {
        let mut sender = sender;
        if let Some(body) = body {
            sender.write_all(body).await;
        }
        drop((sender, trailers));
        let _ = sent.await;
    };
    (request, writing)
}

async fn send(
    headers: Fields,
    method: Method,
    url: &str,
    body: Option<Vec<u8>>,
) -> Result<Response, String> {
    let (request, writing) = request(headers, method, url, body);
    let (response, ()) = join!(client::send(request), writing);
    response.map_err(|error| format!("{error:?}"))
}

async fn get(url: &str) -> Result<(u16, String), String> {
    read_response(Fields::new(), url).await
}

async fn read_response(headers: Fields, url: &str) -> Result<(u16, String), String> {
    let response = send(headers, Method::Get, url, None).await?;
    let status = response.get_status_code();
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, ended) = Response::consume_body(response, done);
    let bytes = body.collect().await;
    ended.await.map_err(|error| format!("{error:?}"))?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Passes bytes between two parts of the program, 64 KiB at a time.
async fn own_stream(bytes: usize) -> String {
    let (mut sender, reader) = wit_stream::new::<u8>();
    let (received, ()) = join!(
        async {
            let mut reader = reader;
            let mut received = 0;
            loop {
                let (result, read) = reader.read(Vec::with_capacity(64 << 10)).await;
                received += read.len();
                if !matches!(result, StreamResult::Complete(_)) {
                    return received;
                }
            }
        },
        async {
            let mut left = bytes;
            while left > 0 {
                let part = left.min(64 << 10);
                sender.write_all(vec![1; part]).await;
                left -= part;
            }
            drop(sender);
        }
    );
    format!("{received} bytes")
}
