//! `__compile compile|compile-quick|compile-metered|load|inspect PARENT_PID MEMORY`: compiles, loads or inspects a plugin in a
//! process that limits itself. Descriptor 0 is the file, 1 receives the result, 2 the reason of a refusal.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::{fs::File, os::fd::AsFd as _, process, sync::Arc};

use runner_model::cache::CodeForm;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use signal_hook::{consts::SIGXFSZ, flag};

use crate::harden::{Openings, harden, lower};

const MIB: u64 = 1 << 20;
/// Threads of one compilation.
const THREADS: usize = 4;
/// Seconds of processor time for each thread of a compilation.
const COMPILE_SECONDS: u64 = 300;
/// Seconds of processor time for a trial load or an inspection.
const LOAD_SECONDS: u64 = 30;
/// Bytes of memory for a compilation, if the machine has that much. A Python component takes 310 MiB.
const COMPILE_MEMORY: u64 = 4096 * MIB;
/// Bytes of memory for a load without its file: an engine, stacks, and tables of the code.
const LOAD_MEMORY: u64 = 96 * MIB;

/// Runs the child.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [mode, parent, memory] = arguments else {
        return Err(
            "expected `__compile compile|compile-quick|compile-metered|load|inspect PARENT_PID MEMORY`"
                .to_owned()
        );
    };
    let memory = memory.parse().map_err(|_| format!("`{memory}` is not a number of bytes"))?;
    // A result beyond the limit of a file's size then fails, instead of ending the process.
    let _ = flag::register(SIGXFSZ, Arc::default());
    harden(parent)?;
    let failed = |error: io::Error| format!("cannot read the plugin: {error}");
    let mut file: File = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?.into();
    // The parent may have written the file through this descriptor, which is then at its end.
    file.rewind().map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let bounds = ChildBounds::new(mode, size, memory)
        .ok_or_else(|| format!("unknown `__compile` mode `{mode}`"))?;
    // Failures do not matter: the parent's clock bounds the process in any case.
    // At the maximum, the signal would be that of another process.
    let _ = lower(Resource::Cpu, bounds.seconds + 1);
    let maximum = getrlimit(Resource::Cpu).maximum;
    let _ = setrlimit(Resource::Cpu, Rlimit { current: Some(bounds.seconds), maximum });
    let _ = lower(Resource::Data, bounds.memory);
    let _ = lower(Resource::Fsize, bounds.output);
    use_few_processors();
    // The compiler opens no files or sockets.
    Openings::default().close_others();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let result = match (CodeForm::of_mode(mode), *mode) {
        (Some(form), _) => runner_sandbox::compile(&bytes, form)?,
        (None, "load") => return runner_sandbox::try_load(&Arc::new(bytes)),
        (None, _) => {
            let inspection = runner_sandbox::inspect(&bytes)?;
            serde_json::to_vec(&inspection).map_err(|error| error.to_string())?
        }
    };
    io::stdout()
        .write_all(&result)
        .and_then(|()| io::stdout().flush())
        .map_err(|error| format!("cannot write the result: {error}"))
}

/// Resources that the child may use.
#[derive(Debug, PartialEq, Eq)]
struct ChildBounds {
    /// Seconds of processor time.
    seconds: u64,
    /// Bytes of memory.
    memory: u64,
    /// Bytes of each file that it writes.
    output: u64,
}

impl ChildBounds {
    /// Returns the bounds for a file of `size` bytes on a machine whose guests may have `memory` bytes. `None` for an
    /// unknown mode.
    fn new(mode: &str, size: u64, memory: u64) -> Option<Self> {
        let times = |factor: u64, more: u64| size.saturating_mul(factor).saturating_add(more);
        Some(match mode {
            mode if CodeForm::of_mode(mode).is_some() => Self {
                seconds: COMPILE_SECONDS * THREADS as u64,
                memory: memory.min(COMPILE_MEMORY),
                // A Python component of 18 MiB compiles to 35 MiB, and code is a few times as large as its WASM. But a file of
                // a few KiB can declare memories whose images have many GiB.
                output: times(16, 64 * MIB).min(1024 * MIB),
            },
            // The file and its code in memory. Images of memories are files without a name.
            "load" => {
                Self { seconds: LOAD_SECONDS, memory: times(2, LOAD_MEMORY), output: times(2, MIB) }
            }
            // A parser's data is a few times as large as its input.
            "inspect" => Self { seconds: LOAD_SECONDS, memory: times(4, LOAD_MEMORY), output: MIB },
            _ => return None,
        })
    }
}

/// Restricts this process to [`THREADS`] processors, because the compiler starts a thread for each. They depend on the
/// process id, so that two children seldom share processors.
fn use_few_processors() {
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let mut few = CpuSet::new();
    let start = process::id() as usize % all.len().max(1);
    for cpu in all.iter().cycle().skip(start).take(THREADS.min(all.len())) {
        few.set(*cpu);
    }
    let _ = sched_setaffinity(None, &few);
}

#[cfg(test)]
mod tests {
    use super::{ChildBounds, MIB};

    #[test]
    fn bounds_follow_the_size_of_the_file() {
        let bounds = |mode, size| ChildBounds::new(mode, size, u64::MAX);
        let compile = || ChildBounds { seconds: 1200, memory: 4096 * MIB, output: 224 * MIB };
        for mode in ["compile", "compile-quick", "compile-metered"] {
            assert_eq!(bounds(mode, 10 * MIB), Some(compile()));
        }
        assert_eq!(bounds("compile", u64::MAX).unwrap().output, 1024 * MIB);
        let load = ChildBounds { seconds: 30, memory: 116 * MIB, output: 21 * MIB };
        assert_eq!(bounds("load", 10 * MIB), Some(load));
        assert_eq!(bounds("destroy", 0), None);
    }

    #[test]
    fn compilers_have_no_more_memory_than_guests() {
        // The caller passes three quarters of the memory of the machine or the control group.
        let bounds = ChildBounds::new("compile", 0, 1024 * MIB).unwrap();
        assert_eq!(bounds.memory, 1024 * MIB);
    }
}
