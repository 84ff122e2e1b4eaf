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
    session,
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
    let token = Token::of(args.token_file.as_deref())?;
    let roots = args.results.iter().enumerate();
    let servers = roots.map(|(place, root)| {
        // What is not there yet may have runs later; a file never has.
        session::Store::existing(root).map_err(Error::record)?;
        let settings = session::root_settings(root)?.serve;
        let options = ServeOptions {
            root: root.clone(),
            scenarios: match args.scenarios.is_empty() {
                true => settings.scenarios,
                false => args.scenarios.clone(),
            },
            listen: listen.beside(place).map_err(|why| {
                Error::usage(miette!(
                    help = "start one `runner serve` for each results root",
                    "several results roots cannot be served: {why}"
                ))
            })?,
            hosts: args.allow_host.clone(),
            is_read_only: args.read_only || settings.is_read_only || !(is_own || args.allow_writes),
            token: token.clone(),
            host: context.host.clone(),
        };
        Ok(options)
    });
    let servers: Vec<_> = servers.collect::<Result<_, Error>>()?;
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal(miette!("cannot start threads: {error}")))?;
    let several = servers.len() > 1;
    let each = servers.into_iter().map(|options| {
        let of = several.then(|| options.root.clone());
        let listen = options.listen.clone();
        let served = serve::serve(options, move |link| {
            ready(link, of.as_deref(), args, context);
        });
        async move {
            served.await.map_err(|error| match listen {
                Listen::Tcp(address) => {
                    Error::usage(miette!("cannot listen on `{address}`: {error}"))
                }
                Listen::Unix(_) => {
                    Error::usage(miette!("cannot listen on `{}`: {error}", args.listen))
                }
            })
        }
    });
    let served = runtime.block_on(futures::future::try_join_all(each));
    // What a request has begun is not waited for: nothing is owned here.
    runtime.shutdown_background();
    served?;
    Ok(ExitStatus::Success)
}

/// Says where a server is found, and opens a browser if that was asked for; `of` is its results root where there are several.
fn ready(link: Option<&str>, of: Option<&Path>, args: &ServeArgs, context: &Context) {
    let output = &context.output;
    let of = of.map(|root| format!(" for the results in `{}`", root.display()));
    let of = of.unwrap_or_default();
    let Some(link) = link else {
        output.plain(&format!("listening on {}{of}", args.listen));
        return;
    };
    output.plain(&format!("open {link}{of}"));
    if args.open && !open(link, &context.host.search_path) {
        output.hint("no program was found that opens a browser");
    }
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
