//! A network of a test's own: a peer in a thread, which speaks when it likes to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use trapline_recorder::StopHandle;
use trapline_recorder::devices::virtio::net::{Counts, Link};

/// What the peer and the link share.
#[derive(Default)]
struct Wire {
    to_guest: Mutex<VecDeque<Vec<u8>>>,
    from_guest: Mutex<Vec<Vec<u8>>>,
    dropped: AtomicU64,
    most_waiting: AtomicUsize,
    is_over: AtomicBool,
}

/// The peer's end.
pub struct Peer {
    wire: Arc<Wire>,
    guest: StopHandle,
}

type Talk = Box<dyn FnOnce(&Peer) + Send>;

/// The network.
pub struct Live {
    wire: Arc<Wire>,
    talk: Mutex<Option<Talk>>,
}

impl Live {
    /// The most frames that wait for the guest.
    pub const ROOM: usize = 32;

    /// A network on which the peer begins to talk when the recording starts.
    pub fn start(talk: impl FnOnce(&Peer) + Send + 'static) -> Self {
        Self { wire: Arc::default(), talk: Mutex::new(Some(Box::new(talk))) }
    }

    /// The guest's end.
    pub fn link(&self) -> impl Link + use<> {
        Cable { wire: Arc::clone(&self.wire), talk: self.talk.lock().unwrap().take(), thread: None }
    }

    /// What the guest said.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.wire.from_guest.lock().unwrap().clone()
    }

    pub fn dropped(&self) -> u64 {
        self.wire.dropped.load(Ordering::Relaxed)
    }

    pub fn most_waiting(&self) -> usize {
        self.wire.most_waiting.load(Ordering::Relaxed)
    }
}

impl Peer {
    /// Says something, if the guest has not too much to hear already.
    pub fn say(&self, frame: Vec<u8>) {
        let mut queue = self.wire.to_guest.lock().unwrap();
        if queue.len() >= Live::ROOM {
            self.wire.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.push_back(frame);
        self.wire.most_waiting.fetch_max(queue.len(), Ordering::Relaxed);
        drop(queue);
        self.guest.wake();
    }

    /// Whether the recording has ended.
    pub fn is_over(&self) -> bool {
        self.wire.is_over.load(Ordering::Relaxed)
    }
}

struct Cable {
    wire: Arc<Wire>,
    talk: Option<Talk>,
    thread: Option<JoinHandle<()>>,
}

impl Link for Cable {
    fn send(&mut self, frame: &[u8]) {
        self.wire.from_guest.lock().unwrap().push(frame.to_vec());
    }

    fn has_frame(&self) -> bool {
        !self.wire.to_guest.lock().unwrap().is_empty()
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.wire.to_guest.lock().unwrap().pop_front()
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn start(&mut self, guest: &StopHandle) {
        let peer = Peer { wire: Arc::clone(&self.wire), guest: guest.clone() };
        let talk = self.talk.take().unwrap();
        self.thread = Some(std::thread::spawn(move || talk(&peer)));
    }

    fn stop(&mut self) {
        self.wire.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
