//! System calls that no model host makes, refused by the kernel (seccomp).
//!
//! A host is one process: it starts threads and no processes, so nothing of it can outlive it. Its
//! listening socket is inherited, so it needs none of its own, and a model cannot ask a cloud's metadata
//! service for the machine's keys.

use std::{collections::BTreeMap, env::consts::ARCH, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// New processes but for threads, whatever the call.
#[cfg(target_arch = "x86_64")]
const FORKS: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: &[i64] = &[];

/// Looking into other processes, other kernels' worlds, and parts of this one that are seldom used and
/// often broken.
const REFUSED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_setsid,
];

/// Calls whose caller goes on by an older one when they do not exist: their arguments cannot be looked
/// at (`clone3`), or they would do what is refused elsewhere (`io_uring` opens sockets).
const ABSENT: &[i64] = &[libc::SYS_clone3, libc::SYS_io_uring_setup];

/// Compiled filters.
#[derive(Debug)]
pub(super) struct SystemCallFilter {
    programs: Vec<BpfProgram>,
}

impl SystemCallFilter {
    /// The driver of a GPU talks to its services over Unix sockets; nothing else needs any.
    pub(super) fn plan(unix_sockets: bool) -> io::Result<Self> {
        let refused = program(refused_rules(unix_sockets)?, libc::EPERM)?;
        let absent = ABSENT.iter().map(|call| (*call, Vec::new())).collect();
        Ok(Self { programs: vec![refused, program(absent, libc::ENOSYS)?] })
    }

    /// Puts the filters in force for the calling thread and all that it becomes. The process must have
    /// given up new privileges.
    #[expect(unsafe_code, reason = "seccomp takes a pointer to the filter")]
    pub(super) fn install(&self) -> io::Result<()> {
        for program in &self.programs {
            let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            let filter =
                libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
            // Without SPEC_ALLOW, kernels before 5.16 turn speculative store bypass off for a filtered
            // process: the model would be measured slower than it is served elsewhere.
            // SAFETY: `filter` describes `program`, which lives until the call is over; the kernel
            // copies it. Both are laid out as struct sock_filter.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                    &raw const filter,
                )
            };
            if answer != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refused_rules(unix_sockets: bool) -> io::Result<Rules> {
    let always = REFUSED.iter().chain(FORKS).map(|call| (*call, Vec::new()));
    let mut rules: Rules = always.collect();
    let thread = u64::try_from(libc::CLONE_THREAD).unwrap_or(0);
    rules.insert(libc::SYS_clone, rule(0, SeccompCmpOp::MaskedEq(thread), 0)?);
    let unix = u64::try_from(libc::AF_UNIX).unwrap_or(0);
    let sockets = if unix_sockets { rule(0, SeccompCmpOp::Ne, unix)? } else { Vec::new() };
    rules.insert(libc::SYS_socket, sockets);
    // It dies with its agent, whatever it wishes.
    let wish = u64::try_from(libc::PR_SET_PDEATHSIG).unwrap_or(0);
    rules.insert(libc::SYS_prctl, rule(0, SeccompCmpOp::Eq, wish)?);
    Ok(rules)
}

fn rule(argument: u8, is: SeccompCmpOp, value: u64) -> io::Result<Vec<SeccompRule>> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value);
    let rule = SeccompRule::new(vec![condition.map_err(io::Error::other)?]);
    Ok(vec![rule.map_err(io::Error::other)?])
}

fn program(rules: Rules, errno: i32) -> io::Result<BpfProgram> {
    let architecture = TargetArch::try_from(ARCH).map_err(io::Error::other)?;
    let answer = SeccompAction::Errno(u32::try_from(errno).unwrap_or(1));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture);
    filter.and_then(BpfProgram::try_from).map_err(io::Error::other)
}
