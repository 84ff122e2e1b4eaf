//! Landlock: restricts a process to the files and ports of [`Openings`].

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use runner_model::{NetGrant, grants::FsMode, prepare::Prepare, provider::MountedFolder};
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};

/// The newest version in use. An older kernel enforces the part that it knows.
const NEWEST: ABI = ABI::V10;
/// Port of name servers.
const DNS: u16 = 53;
/// Files that libraries read to look up a name. `resolv.conf` is often a link into a folder where it is replaced.
const RESOLVER: [&str; 6] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/run/systemd/resolve",
];

/// The files and ports that the sandbox of workers leaves open. Paths are absolute. Missing ones are ignored.
#[derive(Default)]
pub struct Openings<'a> {
    /// Folders whose files can be read, but not listed.
    pub files: Vec<&'a str>,
    pub mounts: Vec<&'a MountedFolder>,
    /// A folder that can be read and written.
    pub scratch: Option<&'a str>,
    /// TCP ports that can be connected to, in addition to name servers. If empty, no socket can be created.
    pub ports: Vec<u16>,
}

impl<'a> Openings<'a> {
    pub fn for_worker(prepare: &'a Prepare) -> Self {
        let grants = prepare.providers.iter().flat_map(|prepared| &prepared.provider.grants.net);
        Self {
            files: vec![&prepare.cache, &prepare.blobs],
            mounts: prepare.providers.iter().flat_map(|prepared| &prepared.mounts).collect(),
            scratch: Some(&prepare.scratch),
            ports: grants.map(NetGrant::port).collect(),
        }
    }
}

/// Restricts this thread and the threads that it starts. Returns the effective version of Landlock, 0 without any.
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
    let resolver: &[&str] = if openings.ports.is_empty() { &[] } else { &RESOLVER };
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
        if let Some(folder) = open_mount(mount) {
            rules = rules.add_rule(PathBeneath::new(folder, rights))?;
        }
    }
    if !openings.ports.is_empty() {
        // Name servers send long answers over TCP. The kernel binds each UDP socket to a free port.
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

/// Opens a granted folder. `None` if a guest of another worker has replaced it.
fn open_mount(mount: &MountedFolder) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, mount.host.as_str(), flags, Mode::empty()).ok()?;
    let found = fstat(&folder).ok()?;
    ((found.st_dev, found.st_ino) == (mount.device, mount.inode)).then_some(folder)
}
