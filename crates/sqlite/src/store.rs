//! The database of one machine: one thread that writes in groups, a few connections that read.
//!
//! A write is answered after the commit of its group is on disk. A read never waits for a write. A connection that
//! met an error is not used again: trouble heals without a restart. A file that was deleted or replaced does not: the
//! one at the path lacks what was acknowledged. What a file system may lose after it promised to sync is beyond this.

mod location;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use hb_service::ports::{Cause, Clock, PortError, PortResult};
use rusqlite::Connection;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::error::{StoreError, WriteError, explain};
use location::{DatabaseLocation, Opened};
use writer::{Job, Writer};

/// Most writes that wait at once: some seconds of work. More are refused, so that memory stays bounded.
const QUEUE: usize = 8_192;

/// Most reads at once; more wait.
const READERS: usize = 4;

/// How many statements a write has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Steps {
    /// One, which by itself is all or nothing.
    One,
    /// Several, which are made all or nothing together.
    Several,
}

/// The database in a data folder. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Dates writes.
    clock: Option<Arc<dyn Clock>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct Inner {
    location: Arc<DatabaseLocation>,
    /// `None` only while the store is dropped.
    jobs: Option<mpsc::SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    readers: Arc<Semaphore>,
    idle: Mutex<Vec<Opened>>,
    delivery_added: Notify,
}

impl Store {
    /// Opens `heartbeat.db` in the folder `dir`, which must be there and have the version of this program: nothing is
    /// made or migrated.
    ///
    /// Fails when the folder or the file cannot be used, or when others may write them.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::at(DatabaseLocation::new(dir.as_ref(), false)?)
    }

    /// The same after [`prepare`](crate::prepare), which makes or migrates what is not there yet.
    pub fn create(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        crate::prepare(dir.as_ref())?;
        Self::open(dir)
    }

    /// Opens `heartbeat.db` in the folder `dir` to look at it, whatever its version: every write fails, and nothing is
    /// made or changed, not even a file beside it.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::at(DatabaseLocation::new(dir.as_ref(), true)?)
    }

    fn at(location: DatabaseLocation) -> Result<Self, StoreError> {
        let location = Arc::new(location);
        let first = location.reopen()?;
        let (jobs, waiting) = mpsc::sync_channel(QUEUE);
        let writer = Writer::new(Arc::clone(&location), first);
        let thread = std::thread::Builder::new()
            .name("hb-writer".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(StoreError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                location,
                jobs: Some(jobs),
                thread: Some(thread),
                readers: Arc::new(Semaphore::new(READERS)),
                idle: Mutex::new(Vec::new()),
                delivery_added: Notify::new(),
            }),
            clock: None,
        })
    }

    /// The same, with a clock that dates writes.
    pub(crate) fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self.clone()
        }
    }

    /// The clock that dates writes, if there is one.
    pub(crate) fn clock(&self) -> Option<Arc<dyn Clock>> {
        self.clock.clone()
    }

    /// The path of the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.location.path()
    }

    /// Runs `work` in the next group of writes; durable when it returns.
    ///
    /// When the caller goes away, the work may still be done.
    pub(crate) async fn try_write<T: Send + 'static>(
        &self,
        steps: Steps,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        let job = writer::job(steps, work, reply);
        let sent = self.inner.jobs.as_ref().map(|jobs| jobs.try_send(job));
        match sent {
            Some(Ok(())) => {}
            Some(Err(mpsc::TrySendError::Full(_))) => {
                return Err(WriteError::Refused(
                    "the queue of writes is full".to_owned(),
                ));
            }
            Some(Err(mpsc::TrySendError::Disconnected(_))) | None => {
                return Err(WriteError::Refused("the writer has stopped".to_owned()));
            }
        }
        answer
            .await
            .unwrap_or_else(|_| Err(WriteError::Unknown("the writer gave no answer".to_owned())))
    }

    /// [`Store::try_write`] for callers to whom every error means the same.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        table: &str,
        steps: Steps,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> PortResult<T> {
        self.try_write(steps, work)
            .await
            .map_err(|error| self.unavailable(table, error))
    }

    /// Runs `work` on a connection that sees all that was committed before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        table: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> PortResult<T> {
        let failed = |cause: String| self.unavailable(table, cause);
        let permit = Arc::clone(&self.inner.readers).acquire_owned().await;
        let permit = permit.map_err(|e| failed(e.to_string()))?;
        let inner = Arc::clone(&self.inner);
        let read = move || {
            // Held until the read is over, even when its caller went away.
            let _permit = permit;
            inner.read(work)
        };
        let result = tokio::task::spawn_blocking(read).await;
        result.map_err(|e| failed(e.to_string()))?.map_err(failed)
    }

    /// Notified when this process has added a delivery.
    pub(crate) fn delivery_added(&self) -> &Notify {
        &self.inner.delivery_added
    }

    /// What messages call a table.
    pub(crate) fn what(&self, table: &str) -> String {
        format!("table {table} of {}", self.path().display())
    }

    fn unavailable(&self, table: &str, cause: impl Into<Cause>) -> PortError {
        PortError::unavailable(self.what(table), cause)
    }
}

impl Inner {
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        let idle = self.idle().pop();
        let opened = self
            .location
            .current(idle)
            .map_err(|error| error.to_string())?;
        let result = work(&opened.connection);
        if result.is_ok() {
            self.idle().push(opened);
        }
        result.map_err(|error| explain(&error))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Opened>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    /// Waits until the writer has done what was queued and closed its connection.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
