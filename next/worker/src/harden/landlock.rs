//! Landlock: the files and ports that are left to a process.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use runner_model::{grants::FsMode, provider::MountedFolder};
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};

use super::Openings;

/// The newest version whose rights are asked for. An older kernel gives what it has of them.
const NEWEST: ABI = ABI::V10;
/// The port of name servers.
const DNS: u16 = 53;
/// What libraries read to look up a name. `resolv.conf` is often a link into a folder where it is replaced.
const RESOLVER: [&str; 6] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/run/systemd/resolve",
];

/// Restricts this thread and all that it starts. Gives the version of Landlock that is in effect; 0 without any.
///
/// # Errors
///
/// A kernel that refuses rules.
pub fn restrict(openings: &Openings<'_>) -> Result<u32, RulesetError> {
    let file = BitFlags::from(AccessFs::ReadFile);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let special = AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::MakeSock
        | AccessFs::MakeFifo
        | AccessFs::IoctlDev
        | AccessFs::ResolveUnix;
    let write = read | AccessFs::from_write(NEWEST) & !special;
    let resolver: &[&str] = match openings.ports[..] {
        [] => &[],
        _ => &RESOLVER,
    };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(&openings.files, file))?
        .add_rules(path_beneath_rules(resolver, read))?
        .add_rules(path_beneath_rules(openings.scratch, write))?;
    for mount in &openings.mounts {
        let rights = match mount.mode {
            FsMode::ReadOnly => read,
            FsMode::ReadWrite => write,
        };
        if let Some(folder) = open(mount) {
            rules = rules.add_rule(PathBeneath::new(folder, rights))?;
        }
    }
    if !openings.ports.is_empty() {
        // Answers of name servers that are too long for UDP come by TCP. A socket of UDP gets a port of its own unasked.
        let dns = AccessNet::ConnectTcp | AccessNet::ConnectSendUdp;
        rules = rules
            .add_rule(NetPort::new(DNS, dns))?
            .add_rule(NetPort::new(0, AccessNet::BindUdp))?;
    }
    for port in &openings.ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. }
            if status.ruleset != RulesetStatus::NotEnforced =>
        {
            effective_abi as u32
        }
        _ => 0,
    })
}

/// Opens a granted folder, unless a guest of another worker has put another one into its place.
fn open(mount: &MountedFolder) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, mount.host.as_str(), flags, Mode::empty()).ok()?;
    let found = fstat(&folder).ok()?;
    ((found.st_dev, found.st_ino) == (mount.device, mount.inode)).then_some(folder)
}
