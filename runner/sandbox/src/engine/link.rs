//! [`link`]: connects loaded code with the functions of the host.

use runner_model::{cache::Trailer, provider::PluginKind};
use thiserror::Error;
use wasmtime::component::{self, HasSelf, Resource};
use wasmtime::{Engine, StoreContextMut};
use wasmtime_wasi::p2::{self, bindings::CommandPre};
use wasmtime_wasi::{I32Exit, WasiView as _, p1, p3};

use super::{cache::Code, inspect::PREVIEW_1};
use crate::call::{command::Program, component::LinkedComponent};
use crate::store::{Sandbox, clock, host::Host, poll};
use crate::{contract, fs, message::cut, net, plugin::Linked};

/// Bytes of a reason in wasmtime's words, in which names are the guest's.
const MAX_REASON: usize = 4 * 1024;
/// The interface of errors, in the version of wasmtime's own functions.
const IO_ERROR: &str = "wasi:io/error@0.2.12";
/// Bytes of an error's message that a guest can read.
const MAX_IO_ERROR: usize = 1024;
const RUN_0_3: &str = "wasi:cli/run@0.3.";
/// The denial of a socket.
const SOCKET: &str = "a socket: the only network is `wasi:http`, under the grant `net`";

/// Reason why a compiled plugin cannot be used: it lacks an import, or exceeds a slot of the pool.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct LoadError {
    /// A stable word.
    pub code: &'static str,
    /// The reason. It completes the sentence "plugin `FILE` …".
    pub message: String,
}

impl LoadError {
    pub(super) fn new(code: &'static str, message: String) -> Self {
        Self { code, message }
    }
}

/// Writes wasmtime's error and its causes.
pub(super) fn reason(error: &wasmtime::Error) -> String {
    cut(MAX_REASON, format_args!("{error:#}"))
}

/// Links loaded code to the functions of the host.
pub(crate) fn link(engine: &Engine, code: &Code, trailer: &Trailer) -> Result<Linked, LoadError> {
    instantiate_pre(engine, code, trailer).map_err(|error| {
        LoadError::new("contract", format!("does not fit this runner: {}", reason(&error)))
    })
}

fn instantiate_pre(engine: &Engine, code: &Code, trailer: &Trailer) -> wasmtime::Result<Linked> {
    let component = match code {
        Code::Module(module) => {
            let pre = module_linker(engine)?.instantiate_pre(module)?;
            return Ok(Linked::Command(Program::Module(pre)));
        }
        Code::Component(component) => component,
    };
    let mut linker = component_linker(engine)?;
    if !trailer.pooled {
        add_wasi_0_3(&mut linker)?;
    }
    let pre = linker.instantiate_pre(component)?;
    let composed = trailer.composed;
    Ok(match trailer.kind {
        PluginKind::Component => Linked::Component(Box::new(LinkedComponent::new(pre, composed)?)),
        PluginKind::Command if exports_run_0_3(engine, component) => {
            Linked::Command(Program::Async(p3::bindings::CommandPre::new(pre)?, composed))
        }
        PluginKind::Command => Linked::Command(Program::Component(CommandPre::new(pre)?, composed)),
    })
}

/// Offers the contract's imports, requests of `wasi:http` and all of WASI 0.2: guests of other
/// languages import all of it, used or not.
pub(crate) fn component_linker(engine: &Engine) -> wasmtime::Result<component::Linker<Sandbox>> {
    let mut linker = component::Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    net::wasi::shadow(&mut linker)?;
    net::wasi::shadow_handle(&mut linker)?;
    net::wasi::shadow_bodies(&mut linker)?;
    fs::preview2::add_to_linker(&mut linker)?;
    clock::add_to_component(&mut linker)?;
    poll::add_to_component(&mut linker)?;
    shadow_errors(&mut linker)?;
    shadow_sockets(&mut linker)?;
    link_contract(&mut linker)?;
    Ok(linker)
}

fn exports_run_0_3(engine: &Engine, component: &component::Component) -> bool {
    component.component_type().exports(engine).any(|(name, _)| name.starts_with(RUN_0_3))
}

/// Adds the functions of WASI 0.3. The engine must have tasks.
fn add_wasi_0_3(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    net::wasi::shadow_0_3(linker)?;
    fs::preview3::add_to_linker(linker)?;
    clock::add_wasi_0_3(linker)?;
    shadow_sockets_0_3(linker)
}

/// Offers the contract's imports. Those of tools run guests, which need more than the host.
fn link_contract(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    use contract::runner::provider::{
        artifacts, control, files, http, log, records, secrets, tools, transcript,
    };
    fn host(sandbox: &mut Sandbox) -> &mut Host {
        &mut sandbox.host
    }
    log::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    control::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    files::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    secrets::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    artifacts::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    http::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    records::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    transcript::add_to_linker::<_, HasSelf<Host>>(linker, host)?;
    tools::add_to_linker::<_, HasSelf<Sandbox>>(linker, |sandbox| sandbox)
}

/// Links modules to preview 1 directly, because its adapter breaks modules of older C toolchains.
fn module_linker(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<Sandbox>> {
    let mut linker = wasmtime::Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |sandbox: &mut Sandbox| &mut sandbox.wasi)?;
    fs::preview1::add_to_linker(&mut linker)?;
    clock::add_to_module(&mut linker)?;
    // wasmtime's own function makes a trap of codes above 125, which other hosts return.
    linker.allow_shadowing(true);
    linker.func_wrap(PREVIEW_1, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(I32Exit(code)))
    })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// Returns only the message of a `wasi:io` error to the guest. wasmtime's own function returns the
/// error's `Debug` text, which shows internals of the host.
fn shadow_errors(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(IO_ERROR)?.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, Sandbox>, (error,): (Resource<wasmtime::Error>,)| {
            let error = store.data_mut().ctx().table.get(&error)?;
            Ok((cut(MAX_IO_ERROR, format_args!("{error:#}")),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Denies sockets and the lookup of names, as wasmtime does, and records that.
fn shadow_sockets(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    use p2::bindings::sockets::{ip_name_lookup, network, tcp, udp};
    fn denied<T: 'static>(
        mut store: StoreContextMut<'_, Sandbox>,
    ) -> wasmtime::Result<(Result<Resource<T>, network::ErrorCode>,)> {
        store.data_mut().host.deny(SOCKET, None);
        Ok((Err(network::ErrorCode::AccessDenied),))
    }
    linker.allow_shadowing(true);
    linker
        .instance("wasi:sockets/tcp-create-socket@0.2.12")?
        .func_wrap("create-tcp-socket", |store, _: (network::IpAddressFamily,)| {
            denied::<tcp::TcpSocket>(store)
        })?;
    linker
        .instance("wasi:sockets/udp-create-socket@0.2.12")?
        .func_wrap("create-udp-socket", |store, _: (network::IpAddressFamily,)| {
            denied::<udp::UdpSocket>(store)
        })?;
    linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?.func_wrap(
        "resolve-addresses",
        |store, _: (Resource<network::Network>, String)| {
            denied::<ip_name_lookup::ResolveAddressStream>(store)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Like [`shadow_sockets`], for WASI 0.3.
fn shadow_sockets_0_3(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    use p3::bindings::sockets::{ip_name_lookup, types};
    linker.allow_shadowing(true);
    let mut sockets = linker.instance("wasi:sockets/types@0.3.0")?;
    sockets.func_wrap(
        "[static]tcp-socket.create",
        |mut store: StoreContextMut<'_, Sandbox>, _: (types::IpAddressFamily,)| {
            store.data_mut().host.deny(SOCKET, None);
            Ok((Err::<Resource<types::TcpSocket>, _>(types::ErrorCode::AccessDenied),))
        },
    )?;
    sockets.func_wrap(
        "[static]udp-socket.create",
        |mut store: StoreContextMut<'_, Sandbox>, _: (types::IpAddressFamily,)| {
            store.data_mut().host.deny(SOCKET, None);
            Ok((Err::<Resource<types::UdpSocket>, _>(types::ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?.func_wrap_concurrent(
        "resolve-addresses",
        |store, _: (String,)| {
            Box::pin(async move {
                store.with(|mut store| store.data_mut().host.deny(SOCKET, None));
                let denied = ip_name_lookup::ErrorCode::AccessDenied;
                Ok((Err::<Vec<types::IpAddress>, _>(denied),))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
