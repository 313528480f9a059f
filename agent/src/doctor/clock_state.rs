//! Whether the kernel takes its clock to be right.

/// Somebody keeps the wall clock synchronized; absent when the kernel does not tell.
#[expect(unsafe_code, reason = "no safe wrapper of adjtimex is among the dependencies")]
pub(super) fn is_synchronized() -> Option<bool> {
    // SAFETY: an all-zero `timex` is valid, and asks for nothing to be changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `timex`, which the call fills.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    (result >= 0).then_some(result != libc::TIME_ERROR)
}
