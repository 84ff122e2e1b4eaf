//! `__compile compile|load|inspect PARENT_PID [SECONDS]`: work on a plugin's foreign bytes, in a process that limits
//! itself. Descriptor 0 is the file, 1 takes the result, 2 takes why it is refused.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::AsFd as _,
    process,
    sync::Arc,
};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    system::sysinfo,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::harden::harden;

const MIB: u64 = 1 << 20;
/// Threads that compile at once.
const THREADS: u32 = 4;
/// Seconds of processor time that compiling may take, by thread.
const COMPILE_SECONDS: u64 = 300;
/// Seconds of processor time that a trial load or a look may take.
const LOAD_SECONDS: u64 = 30;
/// Bytes of memory that compiling may take, where the machine has so much. A component of Python takes 310 MiB.
const COMPILE_MEMORY: u64 = 4096 * MIB;
/// Bytes of memory that a load may take beside its file: an engine, stacks, and what the code's tables need.
const LOAD_MEMORY: u64 = 96 * MIB;

/// Does the work that the arguments name.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let (work, parent, seconds) = match arguments {
        [work, parent] => (*work, *parent, None),
        [work, parent, seconds] => {
            let seconds = seconds
                .parse()
                .map_err(|_| format!("`{seconds}` is no number of seconds"))?;
            (*work, *parent, Some(seconds))
        }
        _ => return Err("expected `__compile compile|load|inspect PARENT_PID [SECONDS]`".into()),
    };
    harden(parent)?;
    let failed = |error: io::Error| format!("cannot read the plugin: {error}");
    let mut file: File = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(failed)?
        .into();
    // Who wrote it may have left the place at its end.
    file.rewind().map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let limits = Limits::of(work, size)?;
    limits.apply(seconds);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let result = match work {
        "compile" => runner_sandbox::compile(&bytes)?,
        "load" => return runner_sandbox::try_load(&Arc::new(bytes)),
        _ => {
            let inspection = runner_sandbox::inspect(&bytes)?;
            serde_json::to_vec(&inspection).map_err(|error| error.to_string())?
        }
    };
    io::stdout()
        .write_all(&result)
        .and_then(|()| io::stdout().flush())
        .map_err(|error| format!("cannot write the result: {error}"))
}

/// What this process may use.
struct Limits {
    seconds: u64,
    memory: u64,
    /// Bytes of what it writes.
    output: u64,
}

impl Limits {
    /// For a kind of work on a file of `size` bytes.
    fn of(work: &str, size: u64) -> Result<Self, String> {
        let load = |size: u64| Self {
            seconds: LOAD_SECONDS,
            memory: size.saturating_add(LOAD_MEMORY),
            output: MIB,
        };
        match work {
            "compile" => {
                let system = sysinfo();
                let memory = (system.totalram as u64).saturating_mul(u64::from(system.mem_unit));
                Ok(Self {
                    seconds: COMPILE_SECONDS * u64::from(THREADS),
                    memory: (memory / 4 * 3).min(COMPILE_MEMORY),
                    // A component of Python of 18 MiB comes to 35 MiB; code is a few times as large as WASM. A file of a few
                    // KiB can ask for images of its memories of many GiB.
                    output: size
                        .saturating_mul(16)
                        .saturating_add(64 * MIB)
                        .min(1024 * MIB),
                })
            }
            // The bytes that were read, and the code that is made of them.
            "load" => Ok(load(size.saturating_mul(2))),
            // A parser keeps a few times as much as it reads.
            "inspect" => Ok(load(size.saturating_mul(4))),
            other => Err(format!("`__compile {other}` is nothing that can be done")),
        }
    }

    /// Limits this process for good; `seconds` shortens its processor time. A lower limit that was set from outside stays.
    /// What fails here is left: the parent's clock bounds the process in any case.
    fn apply(&self, seconds: Option<u64>) {
        lower(Resource::Cpu, seconds.unwrap_or(self.seconds));
        lower(Resource::Data, self.memory);
        lower(Resource::Fsize, self.output);
        use_few_processors();
    }
}

fn lower(resource: Resource, limit: u64) {
    let maximum = getrlimit(resource).maximum;
    let limit = Some(maximum.map_or(limit, |maximum| maximum.min(limit)));
    let both = Rlimit {
        current: limit,
        maximum: limit,
    };
    let _ = setrlimit(resource, both);
}

/// Leaves this process a few processors, because the compiler starts a thread for each that it has. Which ones goes by the
/// process, so that two children seldom share theirs.
fn use_few_processors() {
    let Ok(all) = sched_getaffinity(None) else {
        return;
    };
    let all: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| all.is_set(*cpu))
        .collect();
    let mut few = CpuSet::new();
    let start = process::id() as usize % all.len().max(1);
    for cpu in all
        .iter()
        .cycle()
        .skip(start)
        .take(all.len().min(THREADS as usize))
    {
        few.set(*cpu);
    }
    let _ = sched_setaffinity(None, &few);
}

#[cfg(test)]
mod tests {
    use super::{Limits, MIB};

    #[test]
    fn limits_follow_the_size_of_the_file() {
        let limits = Limits::of("compile", 10 * MIB).unwrap();
        assert_eq!((limits.seconds, limits.output), (1200, 224 * MIB));
        assert!(limits.memory <= 4096 * MIB);
        assert_eq!(Limits::of("compile", u64::MAX).unwrap().output, 1024 * MIB);
        assert_eq!(Limits::of("load", 10 * MIB).unwrap().memory, 116 * MIB);
        assert!(Limits::of("destroy", 0).is_err());
    }
}
