//! `runner serve`.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use miette::miette;
use tokio::runtime;

use super::Context;
use crate::{
    cli::ServeArgs,
    error::{Error, ExitStatus},
    serve::{self, Listen, ServeOptions, Token},
};

/// Serves until the process is ended.
pub(super) fn serve(args: &ServeArgs, context: &Context) -> Result<ExitStatus, Error> {
    let listen = listen(args)?;
    let is_own = match &listen {
        Listen::Tcp(address) => address.ip().is_loopback(),
        Listen::Unix(_) => true,
    };
    if !is_own && args.allow_host.is_empty() {
        return Err(Error::usage(miette!(
            help = "`--allow-host NAME` with the name by which other machines know this one",
            "`{}` can be reached from other machines, and no name was allowed",
            args.listen
        )));
    }
    for folder in &args.scenarios {
        if !folder.is_dir() {
            return Err(Error::usage(miette!(
                "`{}` is not a folder",
                folder.display()
            )));
        }
    }
    let options = ServeOptions {
        root: args.results.root.clone(),
        scenarios: args.scenarios.clone(),
        listen,
        hosts: args.allow_host.clone(),
        is_read_only: args.read_only || !(is_own || args.allow_writes),
        token: token(args.token_file.as_deref())?,
        host: context.host.clone(),
    };
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal(miette!("cannot start threads: {error}")))?;
    let ready = |link: Option<&str>| match link {
        None => context
            .output
            .talk(&format!("listening on {}", args.listen)),
        Some(link) => {
            context.output.talk(&format!("open {link}"));
            if args.open && !open(link, &context.host.search_path) {
                context
                    .output
                    .hint("no program was found that opens a browser");
            }
        }
    };
    let failed = |error| Error::usage(miette!("cannot listen on `{}`: {error}", args.listen));
    let served = runtime.block_on(serve::serve(options, ready));
    // What a request has begun is not waited for: nothing is owned here.
    runtime.shutdown_background();
    served.map_err(failed)?;
    Ok(ExitStatus::Success)
}

fn listen(args: &ServeArgs) -> Result<Listen, Error> {
    let text = &args.listen;
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Listen::Unix(path.into()));
    }
    let address = text.parse().map_err(|_| {
        Error::usage(miette!(
            help = "an address and a port, such as `127.0.0.1:7878`, or `unix:PATH`",
            "`--listen {text}` is no address"
        ))
    })?;
    Ok(Listen::Tcp(address))
}

/// The token in a file, which is made with a new one where it is missing; a new one without a file.
fn token(file: Option<&Path>) -> Result<Token, Error> {
    let made = || {
        Token::random().map_err(|error| Error::internal(miette!("cannot make a token: {error}")))
    };
    let Some(file) = file else {
        return made();
    };
    let unusable = |error: &std::io::Error| Error::usage(miette!("{error}"));
    match fs_err::read_to_string(file) {
        Ok(text) => Token::of_text(&text).ok_or_else(|| {
            Error::usage(miette!(
                help = "take at least 16 letters and digits, or delete the file, and one is made",
                "`{}` has no token",
                file.display()
            ))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = made()?;
            token.save(file).map_err(|error| unusable(&error))?;
            Ok(token)
        }
        Err(error) => Err(unusable(&error)),
    }
}

/// Opens a browser; tells whether there is a program for that.
fn open(link: &str, search_path: &OsStr) -> bool {
    ["xdg-open", "open"].iter().any(|program| {
        Command::new(program)
            .arg(link)
            .env("PATH", search_path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .is_ok()
    })
}
