//! Lines on their way out: gathered in memory and written many at a time by a thread of their own, because waking that
//! thread and writing for every line would cost a review more than judging it does.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait at most, those being written included; a reader that stalls costs lines, never memory or time.
pub const QUEUED_LINES: usize = 8192;
/// Their bytes at most: 4 MiB.
const QUEUED_BYTES: usize = 4 * 1024 * 1024;
/// How long the writer gathers lines after the first one.
const GATHER: Duration = Duration::from_millis(20);
/// How long the end of the process waits for the last lines.
const LAST: Duration = Duration::from_secs(1);
/// A buffer that grew beyond this is given back, in bytes.
const USUAL_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Those in `bytes` and those being written.
    lines: usize,
    /// No more lines will come.
    ending: bool,
    /// The writer has written the last of them.
    ended: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    dropped: AtomicU64,
}

impl Queue {
    /// A panic elsewhere leaves the lines whole, so a poisoned lock is used on.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.lines >= QUEUED_LINES || waiting.bytes.len() + line.len() > QUEUED_BYTES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        waiting.lines += 1;
        drop(waiting);
        if first {
            self.changed.notify_all();
        }
    }

    /// Writes until the end has come and everything is written.
    fn write(&self, mut to: impl Write) {
        let mut batch = Vec::new();
        loop {
            let waiting = self.waiting();
            let idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.ending;
            let waiting = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
            let gathered = self.changed.wait_timeout_while(waiting, GATHER, |waiting| !waiting.ending);
            let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            if waiting.bytes.is_empty() {
                waiting.ended = true;
                self.changed.notify_all();
                return;
            }
            let lines = waiting.lines;
            std::mem::swap(&mut waiting.bytes, &mut batch);
            drop(waiting);
            // Where a log can't be written, there is nobody to tell.
            let _ = to.write_all(&batch).and_then(|()| to.flush());
            self.waiting().lines -= lines;
            batch.clear();
            batch.shrink_to(USUAL_BYTES);
        }
    }
}

/// Where the lines are put; clones share the queue.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Queue>);

impl Lines {
    /// Starts the thread that writes to `to`.
    pub fn to(to: impl Write + Send + 'static) -> io::Result<(Self, Rest)> {
        let queue = Arc::new(Queue::default());
        let written = Arc::clone(&queue);
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || written.write(to))?;
        Ok((Self(Arc::clone(&queue)), Rest(queue)))
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

/// A formatter hands over one whole line at a time.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Dropping it writes out the lines still queued, for as long as a second.
#[derive(Debug)]
pub struct Rest(Arc<Queue>);

impl Drop for Rest {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.ending = true;
        self.0.changed.notify_all();
        drop(self.0.changed.wait_timeout_while(waiting, LAST, |waiting| !waiting.ended));
    }
}
