//! Earlier runs: found by the beginning of their id, read from the store.

use std::sync::Arc;

use crate::cli::app::App;
use crate::cli::error::CommandError;
use crate::cli::wiring;
use crate::driver::journal;
use crate::engine::{Fact, INTERRUPTED, Pause, Payload, Record, Run, STATUS_RUNNING, Settings, load};
use crate::id::{Address, RunId};
use crate::plan::{self, Bundle};
use crate::store::{Owner, RunSummary, Store};
use crate::value::Value;
use crate::view::{Board, enclosing, round_or_item};

/// An earlier run.
pub struct StoredRun {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Head of the run.
    pub head: RunSummary,
}

/// The word for the status of a run: a run without a process is not running.
pub fn status<'a>(store: &dyn Store, head: &'a RunSummary) -> &'a str {
    match head.status.as_str() {
        STATUS_RUNNING if head.finished_at.is_none() && matches!(store.owner(&head.run), Ok(None)) => {
            INTERRUPTED.word
        }
        // What older versions wrote.
        "paused" if head.finished_at.is_none() => Pause::Auth.status().word,
        word => word,
    }
}

impl StoredRun {
    /// The run whose id starts with `name`, or the newest for `last`.
    pub fn find(app: &App, name: &str) -> Result<Self, CommandError> {
        let none = || CommandError::usage(format!("there are no runs in {}", app.settings.data.display()));
        Self::of(wiring::open_to_read(&app.settings)?.ok_or_else(none)?, name)
    }

    /// The same, in an open store.
    pub fn of(store: Arc<dyn Store>, name: &str) -> Result<Self, CommandError> {
        let unknown = || CommandError::usage(format!("unknown run {name}")).hint("`atoll runs` lists them");
        let head = if name == "last" {
            store.heads(1, None)?.pop().ok_or_else(unknown)?
        } else {
            store.head(&store.find(name)?)?.ok_or_else(unknown)?
        };
        Ok(Self { store, head })
    }

    /// Its id.
    pub fn run(&self) -> &RunId {
        &self.head.run
    }

    /// The bundle of its plan.
    pub fn bundle(&self) -> Result<Bundle, CommandError> {
        let bytes = self.store.get(&self.head.plan)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| CommandError::failed(format!("the plan of run {} cannot be read: {e}", self.run())))
    }

    /// Passes each line of its journal to `each`.
    pub fn read(&self, mut each: impl FnMut(u64, Record)) -> Result<(), CommandError> {
        journal::read(self.store.as_ref(), self.run(), |seq, record| {
            each(seq, record);
            Ok(())
        })?;
        Ok(())
    }

    /// The board of the run.
    pub fn board(&self) -> Result<Board, CommandError> {
        let mut board = Board::new();
        board.run = Some(self.run().clone());
        self.head.pipeline.clone_into(&mut board.pipeline);
        self.read(|_, record| board.apply_record(&record))?;
        if self.owner()?.is_none() {
            board.interrupt();
        }
        Ok(board)
    }

    /// The process that is executing it, if any.
    pub fn owner(&self) -> Result<Option<Owner>, CommandError> {
        Ok(self.store.owner(self.run())?)
    }

    /// The word for its status.
    pub fn status(&self) -> String {
        status(self.store.as_ref(), &self.head).to_owned()
    }

    /// The inputs that it was started with.
    pub fn inputs(&self) -> Result<Value, CommandError> {
        match self.first()?.map(|record| record.fact) {
            Some(Fact::RunStarted { inputs, .. }) => self.value(&inputs, &Address::root()),
            _ => Err(CommandError::failed(format!(
                "the journal of run {} does not begin with its inputs",
                self.run()
            ))),
        }
    }

    /// Refuses a run whose journal has a format that this version does not continue.
    pub fn continues(&self) -> Result<(), CommandError> {
        match self.first()? {
            Some(record) => Ok(journal::check_format(self.run(), &record)?),
            None => Ok(()),
        }
    }

    fn first(&self) -> Result<Option<Record>, CommandError> {
        let mut first = None;
        self.store.scan(self.run(), 0, &mut |seq, row| {
            first = Some(journal::record(seq, row));
            false
        })?;
        Ok(first.transpose()?)
    }

    /// The value of `payload`, which is part of a fact at `address`: the results of an `each` are those of
    /// its successful items.
    pub fn value(&self, payload: &Payload, address: &Address) -> Result<Value, CommandError> {
        match payload {
            Payload::Items(count) => self.items(address, *count),
            payload => Ok(load(payload, self.store.as_ref())?.as_ref().clone()),
        }
    }

    /// The outputs so far of a run that has not ended.
    pub fn outputs_so_far(&self, app: &App) -> Result<Value, CommandError> {
        let loaded = plan::load_bundle(&self.bundle()?, &wiring::listing(&app.settings)?);
        let plan = loaded.plan.ok_or_else(|| CommandError::failed("its plan cannot be read anymore"))?;
        let mut run = Run::new(self.run().clone(), plan, self.store.clone(), Settings::default());
        journal::read(self.store.as_ref(), self.run(), |_, record| Ok(run.apply(&record)?))?;
        Ok(run.outputs_so_far())
    }

    fn items(&self, each: &Address, count: u32) -> Result<Value, CommandError> {
        let mut items: Vec<Option<Value>> = vec![None; count as usize];
        let mut failed = None;
        self.read(|_, record| {
            let Fact::ItemClosed { result, failed: false, .. } = &record.fact else { return };
            if enclosing(&record.address).as_ref() != Some(each) {
                return;
            }
            let place = round_or_item(&record.address).and_then(|n| items.get_mut(n as usize));
            match (place, load(result, self.store.as_ref())) {
                (Some(place), Ok(value)) => *place = Some(value.as_ref().clone()),
                (None, _) => {}
                (_, Err(error)) => failed = Some(error),
            }
        })?;
        failed.map_or_else(|| Ok(items.into_iter().flatten().collect()), |error| Err(error.into()))
    }
}
