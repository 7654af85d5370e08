//! Confining the process that compiles.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{
    Resource, Rlimit, Signal, set_parent_process_death_signal, setpriority_process,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What the process that compiles may take.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Bytes of address space.
    pub memory: u64,
    /// The processors' time, in whole seconds.
    pub time: Duration,
    /// The niceness of its threads: at 19, what nobody else wants.
    pub nice: i32,
}

/// Confines this process to its share. It can use the files that are open, and open no other,
/// nor a socket, nor start a program or process; and it does not outlive the thread that started it.
/// Says what the system does not support.
///
/// # Errors
/// A limit cannot be set.
pub(super) fn confine(share: Share) -> Result<Option<String>> {
    let Share { memory, time, nice } = share;
    set_parent_process_death_signal(Some(Signal::KILL)).context("binding it to its parent")?;
    let _ = setpriority_process(None, nice);
    // If the machine or the container runs out of memory, it is this process that ends.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let seconds = time.as_secs().max(1);
    for (resource, limit, maximum) in [
        (Resource::As, memory, memory),
        // The signal at the first says that it is this limit; at the second nobody is asked.
        (Resource::Cpu, seconds, seconds + 1),
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
    ] {
        let limit = Rlimit { current: Some(limit), maximum: Some(maximum) };
        rustix::process::setrlimit(resource, limit)
            .with_context(|| format!("limiting {resource:?}"))?;
    }
    Ok(allow_computing_only().err().map(|error| format!("{error:#}")))
}

/// From now on, system calls that are not for computing fail, in threads to come too.
fn allow_computing_only() -> Result<()> {
    let architecture = std::env::consts::ARCH.try_into()?;
    // A filter does not see what a program asks of `clone3`; it takes `clone` where there is none.
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    apply(SeccompFilter::new(rules, SeccompAction::Allow, absent, architecture)?)?;
    let own = u64::from(std::process::id());
    let to_itself = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        COMPUTING.iter().map(|call| (*call, Vec::new())).collect();
    // A signal to itself, with which a program that fails ends.
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![to_itself])?]);
    // Threads alone: each process would have the limits for itself, and outlive this one.
    let thread = libc::CLONE_THREAD as u64;
    let of_thread = SeccompCmpOp::MaskedEq(thread);
    let is_thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, of_thread, thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_thread])?]);
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    apply(SeccompFilter::new(rules, denied, SeccompAction::Allow, architecture)?)
}

fn apply(filter: SeccompFilter) -> Result<()> {
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program).context("restricting system calls")
}

/// The system calls of a program that computes: memory, threads, open files, time, ending.
const COMPUTING: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_prctl,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "these are system calls that no library makes")]
    fn what_computes_starts_threads_and_no_processes() {
        let tried = std::thread::spawn(|| {
            allow_computing_only().unwrap();
            let error = |made: libc::c_long| {
                let error = std::io::Error::last_os_error().raw_os_error();
                // What should not be there ends before it does anything.
                if made == 0 {
                    // SAFETY: it only ends the process.
                    unsafe { libc::_exit(0) };
                }
                (made, error)
            };
            // SAFETY: it shares no memory, and a process that is made all the same ends at once.
            let clone = error(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) });
            // SAFETY: without arguments, it makes nothing.
            let clone3 = error(unsafe { libc::syscall(libc::SYS_clone3, 0, 0) });
            (clone, clone3, std::thread::spawn(|| 7).join().unwrap())
        });
        let (clone, clone3, thread) = tried.join().unwrap();
        assert_eq!(clone, (-1, Some(libc::EPERM)));
        assert_eq!(clone3, (-1, Some(libc::ENOSYS)));
        assert_eq!(thread, 7);
    }

    #[test]
    fn what_computes_opens_nothing_and_reaches_nobody() {
        for call in [
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_sendto,
            libc::SYS_sendmsg,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_unlinkat,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_memfd_create,
            libc::SYS_setpriority,
            libc::SYS_prlimit64,
        ] {
            assert!(!COMPUTING.contains(&call), "system call {call}");
        }
    }
}
