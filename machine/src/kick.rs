//! Kicks: getting the vCPU thread out of KVM_RUN, from any thread, on an instruction boundary.
//!
//! A signal alone can come just before the ioctl and be lost. So its handler also sets `kvm_run.immediate_exit`, which
//! KVM looks at before it enters the guest (KVM API 5, `immediate_exit`).

use std::cell::Cell;
use std::ptr;
use std::sync::Once;
use std::thread::Thread;

thread_local! {
    /// `kvm_run.immediate_exit` of the vCPU that this thread runs; null if it runs none.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    /// A kick has come and was not yet told to the handler.
    static KICKED: Cell<bool> = const { Cell::new(false) };
    /// The guest was taken out for the machine's own sake, of which the handler is told nothing.
    static TAKEN_OUT: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn signal() -> libc::c_int {
    libc::SIGRTMIN()
}

/// The signal that takes the guest out, and is no kick.
pub(crate) fn take_out_signal() -> libc::c_int {
    libc::SIGRTMIN() + 1
}

extern "C" fn on_signal(signal_number: libc::c_int) {
    if signal_number == take_out_signal() {
        TAKEN_OUT.set(true);
    } else {
        KICKED.set(true);
    }
    let flag = IMMEDIATE_EXIT.get();
    if !flag.is_null() {
        // SAFETY: the pointer was set by `arm` for a mapping that outlives it (`Armed` clears it on drop), on this very
        // thread, and one byte is written atomically as far as this thread and the kernel are concerned.
        unsafe { flag.write_volatile(1) };
    }
}

pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: `action` is fully initialized; the handler only touches const-initialized thread-locals without
        // destructors and one byte of a mapping, all of which is async-signal-safe. Without SA_RESTART, so that
        // KVM_RUN returns EINTR.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(signal(), &raw const action, ptr::null_mut());
            libc::sigaction(take_out_signal(), &raw const action, ptr::null_mut());
        }
    });
}

/// Gets one vCPU thread out of the guest.
#[derive(Debug, Clone)]
pub struct Kicker {
    pthread: libc::pthread_t,
    thread: Thread,
}

impl Kicker {
    /// A kicker of the calling thread.
    pub fn of_this_thread() -> Self {
        install();
        // SAFETY: pthread_self has no preconditions.
        Self { pthread: unsafe { libc::pthread_self() }, thread: std::thread::current() }
    }

    /// Kicks: a running guest leaves KVM_RUN, a waiting thread wakes. The thread must still exist.
    pub fn kick(&self) {
        // SAFETY: the thread that made this kicker joins or outlives its kickers' threads: recordings stop their timer and
        // signal threads before they return.
        unsafe { libc::pthread_kill(self.pthread, signal()) };
        self.thread.unpark();
    }
}

/// While it lives, kicks of this thread reach the vCPU that owns the byte.
#[derive(Debug)]
pub(crate) struct Armed(());

/// Lets kicks set `immediate_exit`.
pub(crate) fn arm(immediate_exit: *mut u8) -> Armed {
    install();
    IMMEDIATE_EXIT.set(immediate_exit);
    Armed(())
}

impl Drop for Armed {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}

/// Forgets kicks: KVM_RUN has returned because of one.
pub(crate) fn take() {
    KICKED.set(false);
}

/// Whether KVM_RUN returned for the machine's own sake, and no kick has come.
pub(crate) fn was_only_taken_out() -> bool {
    TAKEN_OUT.take() && !KICKED.get()
}

/// Whether a kick has come that KVM_RUN has not yet returned for.
pub(crate) fn is_pending() -> bool {
    KICKED.get()
}
