//! System calls that no model host makes, refused by the kernel (seccomp).
//!
//! A host is one process: it starts threads and no processes, so nothing of it can outlive it. Its
//! listening socket is inherited, so it needs none of its own, and a model cannot ask a cloud's metadata
//! service for the machine's keys: neither by a new socket nor by one that was accepted. What concerns
//! other processes (limits, priorities, signals) it may ask of itself only.

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
    libc::SYS_listen,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
];

/// Options of TCP that a server sets; others open connections (`TCP_FASTOPEN_CONNECT`) or load modules.
const TCP_OPTIONS: [i32; 6] = [
    libc::TCP_NODELAY,
    libc::TCP_QUICKACK,
    libc::TCP_KEEPIDLE,
    libc::TCP_KEEPINTVL,
    libc::TCP_KEEPCNT,
    libc::TCP_USER_TIMEOUT,
];
/// The rest of a socket's type is flags.
const SOCKET_KIND: u64 = 0xf;
const IOPRIO_WHO_PROCESS: i32 = 1;

/// Calls whose caller goes on by an older one when they do not exist: their arguments cannot be looked
/// at (`clone3`), or they would do what is refused elsewhere (`io_uring` opens sockets).
const ABSENT: &[i64] = &[libc::SYS_clone3, libc::SYS_io_uring_setup];

#[derive(Debug)]
pub(super) struct SystemCallFilter {
    programs: Vec<BpfProgram>,
}

/// How a host uses what the filter cannot tell apart from misuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// The driver of a GPU talks to its services over Unix sockets; nothing else needs any.
    pub(super) unix_sockets: bool,
    /// OpenMP binds its threads to processors.
    pub(super) binding: Binding,
}

/// Which processors a host may choose for which of its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Binding {
    /// Any: a control group or nothing holds it to its processors, and its user has no other processes.
    Free,
    /// For the thread that asks alone: the kernel would let it choose for others of its user, the agent
    /// among them.
    OwnThread,
    /// None: only its affinity holds it to its processors.
    #[default]
    None,
}

impl SystemCallFilter {
    pub(super) fn plan(uses: Uses) -> io::Result<Self> {
        let refused = program(refused_rules(uses)?, libc::EPERM)?;
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

fn refused_rules(uses: Uses) -> io::Result<Rules> {
    let always = REFUSED.iter().chain(FORKS).map(|call| (*call, Vec::new()));
    let mut rules: Rules = always.collect();
    rules.insert(libc::SYS_clone, vec![all([is_without(0, libc::CLONE_THREAD)?])?]);
    // It dies with its agent, whatever it wishes.
    rules.insert(libc::SYS_prctl, vec![all([is(0, libc::PR_SET_PDEATHSIG)?])?]);
    rules.extend(of_sockets(uses.unix_sockets)?);
    rules.extend(of_others(uses.binding)?);
    Ok(rules)
}

/// What would reach a server, of its own socket or of one that was accepted.
fn of_sockets(unix_sockets: bool) -> io::Result<Rules> {
    let mut rules = Rules::new();
    if unix_sockets {
        rules.insert(libc::SYS_socket, vec![all([is_not(0, libc::AF_UNIX)?])?]);
    } else {
        rules.extend(
            [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind].map(|call| (call, Vec::new())),
        );
    }
    // Pairs of streams are how a runtime wakes itself up; a datagram's could be sent anywhere.
    let mut other_pairs = vec![all([is_not(0, libc::AF_UNIX)?])?];
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
        other_pairs.push(all([compared(1, SeccompCmpOp::MaskedEq(SOCKET_KIND), kind)?])?);
    }
    rules.insert(libc::SYS_socketpair, other_pairs);
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![all([is_with(flags, libc::MSG_FASTOPEN)?])?]);
    }
    let other_level = all([is_not(1, libc::SOL_SOCKET)?, is_not(1, libc::IPPROTO_TCP)?])?;
    let mut other_option = vec![is(1, libc::IPPROTO_TCP)?];
    for option in TCP_OPTIONS {
        other_option.push(is_not(2, option)?);
    }
    rules.insert(libc::SYS_setsockopt, vec![other_level, all(other_option)?]);
    Ok(rules)
}

/// What one process may ask for another of its user: an agent that is not root has the host's.
fn of_others(binding: Binding) -> io::Result<Rules> {
    let mut rules = Rules::new();
    let changes = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0);
    let changes = changes.map_err(io::Error::other)?;
    rules.insert(libc::SYS_prlimit64, vec![all([is_not(0, 0)?, changes])?]);
    for call in [libc::SYS_sched_setscheduler, libc::SYS_sched_setparam, libc::SYS_sched_setattr] {
        rules.insert(call, vec![all([is_not(0, 0)?])?]);
    }
    let process = i32::try_from(libc::PRIO_PROCESS).unwrap_or(0);
    for (call, of_process) in
        [(libc::SYS_setpriority, process), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)]
    {
        rules.insert(call, vec![all([is_not(0, of_process)?])?, all([is_not(1, 0)?])?]);
    }
    match binding {
        Binding::Free => {}
        Binding::OwnThread => {
            rules.insert(libc::SYS_sched_setaffinity, vec![all([is_not(0, 0)?])?]);
        }
        Binding::None => {
            rules.insert(libc::SYS_sched_setaffinity, Vec::new());
        }
    }
    Ok(rules)
}

fn is(argument: u8, value: i32) -> io::Result<SeccompCondition> {
    compared(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: i32) -> io::Result<SeccompCondition> {
    compared(argument, SeccompCmpOp::Ne, value)
}

fn is_with(argument: u8, flag: i32) -> io::Result<SeccompCondition> {
    compared(argument, SeccompCmpOp::MaskedEq(bits(flag)), flag)
}

fn is_without(argument: u8, flag: i32) -> io::Result<SeccompCondition> {
    compared(argument, SeccompCmpOp::MaskedEq(bits(flag)), 0)
}

fn compared(argument: u8, how: SeccompCmpOp, value: i32) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, bits(value))
        .map_err(io::Error::other)
}

/// The kernel looks at these arguments as 32 bits.
fn bits(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

fn all(conditions: impl IntoIterator<Item = SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions.into_iter().collect()).map_err(io::Error::other)
}

fn program(rules: Rules, errno: i32) -> io::Result<BpfProgram> {
    let architecture = TargetArch::try_from(ARCH).map_err(io::Error::other)?;
    let answer = SeccompAction::Errno(u32::try_from(errno).unwrap_or(1));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture);
    filter.and_then(BpfProgram::try_from).map_err(io::Error::other)
}
