//! `__compile compile|load|inspect PARENT_PID MEMORY`: work on a plugin's foreign bytes, in a process that limits
//! itself. Descriptor 0 is the file, 1 takes the result, 2 takes why it is refused.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::AsFd as _,
    process,
    sync::Arc,
};

use rustix::{
    process::Resource,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::harden::{Openings, harden, lower};

const MIB: u64 = 1 << 20;
/// Threads that compile at once.
const THREADS: usize = 4;
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
    let [work, parent, memory] = arguments else {
        return Err("expected `__compile compile|load|inspect PARENT_PID MEMORY`".to_owned());
    };
    let memory = memory.parse().map_err(|_| format!("`{memory}` is no number of bytes"))?;
    harden(parent)?;
    let failed = |error: io::Error| format!("cannot read the plugin: {error}");
    let mut file: File = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?.into();
    // Who wrote it may have left the place at its end.
    file.rewind().map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let bounds = bounds(work, size, memory);
    let (processor, memory, output) =
        bounds.ok_or_else(|| format!("`__compile {work}` is nothing that can be done"))?;
    // What fails here is left: the parent's clock bounds the process in any case.
    let _ = lower(Resource::Cpu, processor);
    let _ = lower(Resource::Data, memory);
    let _ = lower(Resource::Fsize, output);
    use_few_processors();
    // The compiler needs its descriptors, memory and threads.
    Openings::default().close_others();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let result = match *work {
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

/// What this process may use for a kind of work on a file of `size` bytes, where guests may have `memory` bytes: seconds of the
/// processor, bytes of memory, bytes of what it writes.
fn bounds(work: &str, size: u64, memory: u64) -> Option<(u64, u64, u64)> {
    let times = |factor: u64, more: u64| size.saturating_mul(factor).saturating_add(more);
    match work {
        "compile" => {
            let memory = memory.min(COMPILE_MEMORY);
            // A component of Python of 18 MiB comes to 35 MiB; code is a few times as large as WASM. A file of a few KiB can
            // ask for images of its memories of many GiB.
            let output = times(16, 64 * MIB).min(1024 * MIB);
            Some((COMPILE_SECONDS * THREADS as u64, memory, output))
        }
        // The bytes that are read, and the code that is made of them. The images of memories are files without a name.
        "load" => Some((LOAD_SECONDS, times(2, LOAD_MEMORY), times(2, MIB))),
        // A parser keeps a few times as much as it reads.
        "inspect" => Some((LOAD_SECONDS, times(4, LOAD_MEMORY), MIB)),
        _ => None,
    }
}

/// Leaves this process a few processors, because the compiler starts a thread for each that it has. Which ones goes by the
/// process, so that two children seldom share theirs.
fn use_few_processors() {
    let Ok(all) = sched_getaffinity(None) else {
        return;
    };
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let mut few = CpuSet::new();
    let start = process::id() as usize % all.len().max(1);
    for cpu in all.iter().cycle().skip(start).take(THREADS.min(all.len())) {
        few.set(*cpu);
    }
    let _ = sched_setaffinity(None, &few);
}

#[cfg(test)]
mod tests {
    use super::{MIB, bounds};

    #[test]
    fn bounds_follow_the_size_of_the_file() {
        let bounds = |work, size| bounds(work, size, u64::MAX);
        let most = Some((1200, 4096 * MIB, 224 * MIB));
        assert_eq!(bounds("compile", 10 * MIB), most);
        assert_eq!(bounds("compile", u64::MAX).unwrap().2, 1024 * MIB);
        assert_eq!(bounds("load", 10 * MIB), Some((30, 116 * MIB, 21 * MIB)));
        assert_eq!(bounds("destroy", 0), None);
    }

    #[test]
    fn compilers_have_no_more_memory_than_guests() {
        // Three quarters of what the machine or the control group has.
        assert_eq!(bounds("compile", 0, 1024 * MIB).unwrap().1, 1024 * MIB);
    }
}
