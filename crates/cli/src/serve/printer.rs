//! Standard output and standard error of a server, written by a thread each. A reader that does not read (a stuck pipe,
//! a terminal after Ctrl-S) holds up that thread alone: no beat, no sweep and no stop waits for it.
//!
//! What the reader does not take waits in memory, up to a bound. Lines of the log beyond it are dropped and counted, and
//! the log says how many once the reader reads again. A closed pipe is not a failure: what is written to it is lost.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hb_domain::is_invisible;

/// Text of this size waits, and one line more: a few thousand lines of the log.
const QUEUE: usize = 256 * 1024;
/// How long the end of the server waits for what is not written yet.
const LAST: Duration = Duration::from_secs(1);

/// Prints to one stream and never waits for it.
#[derive(Clone)]
pub(super) struct Printer(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    text: Vec<u8>,
    /// Lines that were lost since the log last said so.
    dropped: usize,
    /// Whether the thread has text that it has not written completely.
    writing: bool,
}

/// The printers of a server. Their end waits until all is written.
pub(super) struct Printers {
    pub(super) out: Printer,
    pub(super) err: Printer,
}

impl Printers {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self {
            out: Printer::to(io::stdout(), "standard output")?,
            err: Printer::to(io::stderr(), "standard error")?,
        })
    }
}

impl Drop for Printers {
    fn drop(&mut self) {
        self.out.finish();
        self.err.finish();
    }
}

impl Printer {
    /// A printer to `stream`, which the log calls `name`.
    fn to(stream: impl Write + Send + 'static, name: &'static str) -> io::Result<Self> {
        let printer = Self(Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
        }));
        let writer = printer.clone();
        thread::Builder::new().spawn(move || writer.write_on(stream, name))?;
        Ok(printer)
    }

    /// Takes the line `text`, unless so much waits already that there is no room for it.
    pub(super) fn offer(&self, text: &str) -> bool {
        self.queue_up(format!("{text}\n").as_bytes())
    }

    fn queue_up(&self, text: &[u8]) -> bool {
        let mut queue = self.queue();
        let has_room = queue.text.len() < QUEUE;
        if has_room {
            queue.text.extend_from_slice(text);
            self.0.changed.notify_all();
        }
        has_room
    }

    /// Waits until all is written, but not for a reader that does not read.
    pub(super) fn finish(&self) {
        let unwritten = |queue: &mut Queue| queue.writing || !queue.text.is_empty();
        // Nothing is left to do with what is still unwritten then.
        let _ = self
            .0
            .changed
            .wait_timeout_while(self.queue(), LAST, unwritten);
    }

    fn write_on(&self, mut stream: impl Write, name: &str) {
        let mut works = true;
        loop {
            let (text, dropped) = self.next(works);
            if dropped > 0 {
                tracing::error!("{name} could not be written: {dropped} lines were dropped");
            }
            works = stream
                .write_all(&text)
                .and_then(|()| stream.flush())
                .is_ok();
            let mut queue = self.queue();
            queue.writing = false;
            if !works {
                queue.dropped += lines(&text);
            }
            self.0.changed.notify_all();
        }
    }

    /// The next text to write and, if the stream works, the number of lines that were dropped before.
    fn next(&self, works: bool) -> (Vec<u8>, usize) {
        let nothing = |queue: &mut Queue| queue.text.is_empty() && !(works && queue.dropped > 0);
        let waited = self.0.changed.wait_while(self.queue(), nothing);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        queue.writing = true;
        let dropped = if works {
            std::mem::take(&mut queue.dropped)
        } else {
            0
        };
        (std::mem::take(&mut queue.text), dropped)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the log, which writes an event at a time.
impl Write for Printer {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut text = String::from_utf8_lossy(event).into_owned();
        // Its layout and its colours stay; what else commands a terminal is escaped already.
        text.retain(|c| !is_invisible(c));
        if !self.queue_up(text.as_bytes()) {
            self.queue().dropped += lines(event);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count() - 1
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// A stream of which each write waits until it is read.
    struct Pipe(SyncSender<String>);

    impl Write for Pipe {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(String::from_utf8(text.to_vec()).unwrap());
            sent.map(|()| text.len()).map_err(io::Error::other)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Printer, Receiver<String>) {
        let (pipe, reader) = sync_channel(0);
        (Printer::to(Pipe(pipe), "a pipe").unwrap(), reader)
    }

    #[test]
    fn a_pipe_that_nobody_reads_takes_a_bounded_amount_and_later_all_of_it() {
        let (printer, reader) = pipe();
        let line = "x".repeat(QUEUE / 4 - 1);
        let taken = (0..100).filter(|_| printer.offer(&line)).count();
        assert!((4..=8).contains(&taken), "{taken} of 100 quarters");
        let mut printer = printer;
        printer.write_all(b"a\nb\n").unwrap();
        assert_eq!(printer.queue().dropped, 2);
        let mut read = 0;
        while read < taken * QUEUE / 4 {
            read += reader.recv().unwrap().len();
        }
        printer.finish();
        assert!(printer.offer("there is room again"));
        assert_eq!(reader.recv().unwrap(), "there is room again\n");
        assert_eq!(printer.queue().dropped, 0, "said");
    }

    #[test]
    fn the_log_keeps_its_colours_and_shows_no_invisible_text() {
        let (mut printer, reader) = pipe();
        let line = "\u{1b}[31mERROR\u{1b}[0m the answer was a\u{202e}b\n";
        printer.write_all(line.as_bytes()).unwrap();
        assert_eq!(reader.recv().unwrap(), line.replace('\u{202e}', ""));
    }

    #[test]
    fn a_closed_pipe_loses_its_text_and_fills_nothing() {
        let (printer, reader) = pipe();
        drop(reader);
        for _ in 0..10 {
            assert!(printer.offer(&"x".repeat(QUEUE)));
            printer.finish();
        }
    }
}
