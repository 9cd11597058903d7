//! The thread that writes: it takes all writes that wait, commits them at once, and only then answers them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::Steps;
use super::location::{DatabaseLocation, Opened};
use crate::error::WriteError;

/// Most writes in one commit: what waits longer gains nothing, as the disk's own pause is long paid for.
const GROUP: usize = 512;

/// A write without its types.
pub(super) trait Job: Send {
    /// Does the work and keeps the result; an error is what went wrong with it.
    fn run(&mut self, connection: &Connection) -> Result<(), WriteError>;

    /// Tells the caller: the result if the group was committed, the group's error otherwise.
    fn answer(self: Box<Self>, group: Result<(), WriteError>);
}

/// A write, to be queued.
pub(super) fn job<T, F>(
    steps: Steps,
    work: F,
    reply: oneshot::Sender<Result<T, WriteError>>,
) -> Box<dyn Job>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    Box::new(Typed {
        steps,
        work: Some(work),
        result: None,
        reply,
    })
}

struct Typed<T, F> {
    steps: Steps,
    work: Option<F>,
    result: Option<Result<T, WriteError>>,
    reply: oneshot::Sender<Result<T, WriteError>>,
}

impl<T, F> Job for Typed<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), WriteError> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let result = match self.steps {
            Steps::One => work(connection),
            Steps::Several => all_or_nothing(connection, work),
        };
        let result = result.map_err(|error| WriteError::before(&error));
        let outcome = result.as_ref().map(|_| ()).map_err(Clone::clone);
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, group: Result<(), WriteError>) {
        let unanswered = || Err(WriteError::Refused("the write was not run".to_owned()));
        let Self { result, reply, .. } = *self;
        // Nobody listens when the caller was cancelled.
        let _ = reply.send(group.and_then(|()| result.unwrap_or_else(unanswered)));
    }
}

fn all_or_nothing<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let step = |sql| connection.prepare_cached(sql)?.execute([]);
    step("SAVEPOINT job")?;
    let result = work(connection);
    // After some errors, such as a full disk, SQLite has undone the whole transaction by itself.
    if !connection.is_autocommit() {
        if result.is_err() {
            step("ROLLBACK TO job")?;
        }
        step("RELEASE job")?;
    }
    result
}

pub(super) struct Writer {
    location: Arc<DatabaseLocation>,
    /// `None` after an error: the next group connects anew.
    opened: Option<Opened>,
}

impl Writer {
    pub(super) fn new(location: Arc<DatabaseLocation>, opened: Opened) -> Self {
        Self {
            location,
            opened: Some(opened),
        }
    }

    /// Works until all senders are gone.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Box<dyn Job>>) {
        while let Ok(first) = jobs.recv() {
            let mut group = vec![first];
            group.extend(jobs.try_iter().take(GROUP - 1));
            // A panic unwinds through the open connection, which undoes the group as it closes.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.commit(&mut group)))
                .unwrap_or_else(|_| {
                    Err(WriteError::Refused(
                        "a write panicked, see the log".to_owned(),
                    ))
                });
            for job in group {
                job.answer(outcome.clone());
            }
        }
    }

    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), WriteError> {
        let opened = self
            .location
            .current(self.opened.take())
            .map_err(|error| WriteError::Refused(error.to_string()))?;
        let went_well = transact(&opened.connection, group)?;
        if !self.location.is_current(&opened) {
            let cause = "the database file was deleted or replaced while it was written";
            self.opened = Some(opened);
            return Err(WriteError::Unknown(cause.to_owned()));
        }
        if went_well {
            self.opened = Some(opened);
        }
        Ok(())
    }
}

/// Runs the group in one transaction. Gives whether every job went well: the connection is not trusted otherwise.
fn transact(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<bool, WriteError> {
    let step = |sql| {
        connection
            .prepare_cached(sql)
            .and_then(|mut s| s.execute([]))
    };
    step("BEGIN IMMEDIATE").map_err(|error| WriteError::before(&error))?;
    let mut all_well = true;
    for job in group {
        if let Err(error) = job.run(connection) {
            if connection.is_autocommit() {
                // SQLite has undone all of the group.
                return Err(error);
            }
            all_well = false;
        }
    }
    step("COMMIT").map_err(|error| WriteError::commit(&error))?;
    Ok(all_well)
}
