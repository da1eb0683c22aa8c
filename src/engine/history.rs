//! The closed rounds of a loop as expressions see them: `loop.history`, made when it is read.
//!
//! What a round said is kept once, and what it changed in the state beside it, so a loop takes no more room than its
//! journal does. A list that grows shares its items with the rounds before.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Change, Changes, Payload};
use crate::expr::{Data, Fields, Items};
use crate::verb::{BlobError, Blobs};

/// What the fact that closes a round says of it.
pub(super) struct Closed {
    pub(super) lets: Payload,
    pub(super) rule: Option<String>,
    pub(super) exit: Option<String>,
    pub(super) spent: Data,
}

/// All closed rounds of one loop.
#[derive(Default)]
pub(super) struct History(RwLock<Rounds>);

#[derive(Default)]
struct Rounds {
    closed: Vec<Closed>,
    /// Variables of the state, in order, and what each was from which round on.
    names: Vec<String>,
    values: HashMap<String, Vec<(usize, Cell)>>,
}

/// What a variable was: lists share their items, other values are decoded when they are read.
enum Cell {
    Shared(Data),
    Kept(Payload),
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} closed rounds", self.len())
    }
}

impl Rounds {
    fn note(&mut self, name: &str, cell: Cell) {
        let round = self.closed.len();
        if !self.values.contains_key(name) {
            self.names.push(name.to_owned());
        }
        self.values.entry(name.to_owned()).or_default().push((round, cell));
    }
}

impl History {
    /// A history in which no round is closed.
    pub(super) fn begin(state: &[(String, Data)]) -> Arc<Self> {
        let mut rounds = Rounds::default();
        state.iter().for_each(|(name, value)| rounds.note(name, Cell::Shared(value.clone())));
        Arc::new(Self(RwLock::new(rounds)))
    }

    /// Takes in a round that has closed; `state` is what it left.
    pub(super) fn close(&self, closed: Closed, changes: &Changes, state: &[(String, Data)]) {
        let mut rounds = self.0.write().unwrap_or_else(PoisonError::into_inner);
        rounds.closed.push(closed);
        for (name, change) in changes {
            let cell = match change {
                Change::Set(payload) => Some(Cell::Kept(payload.clone())),
                Change::Append(_) => state
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| Cell::Shared(value.clone())),
            };
            if let Some(cell) = cell {
                rounds.note(name, cell);
            }
        }
    }

    /// How many rounds are closed.
    pub(super) fn len(&self) -> usize {
        self.read(|rounds| rounds.closed.len())
    }

    /// The rounds that are closed now, oldest first.
    pub(super) fn view(self: &Arc<Self>, blobs: Arc<dyn Blobs>) -> Data {
        Data::lazy_list(Arc::new(View { history: self.clone(), length: self.len(), blobs }))
    }

    /// `let` of the round closed last.
    pub(super) fn last_lets(&self, blobs: &Arc<dyn Blobs>) -> Option<Result<Data, BlobError>> {
        let lets = self.read(|rounds| rounds.closed.last().map(|closed| closed.lets.clone()))?;
        Some(super::load(&lets, blobs.as_ref()).map(Data::from_arc))
    }

    fn read<T>(&self, look: impl FnOnce(&Rounds) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

struct View {
    history: Arc<History>,
    length: usize,
    blobs: Arc<dyn Blobs>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} rounds]", self.length)
    }
}

impl Items for View {
    fn len(&self) -> usize {
        self.length
    }

    fn get(&self, index: usize) -> Data {
        Data::lazy_table(Arc::new(Round { history: self.history.clone(), index, blobs: self.blobs.clone() }))
    }
}

/// One closed round.
#[derive(Clone)]
struct Round {
    history: Arc<History>,
    /// From 0.
    index: usize,
    blobs: Arc<dyn Blobs>,
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "round {}", self.index + 1)
    }
}

impl Round {
    fn load(&self, payload: &Payload) -> Data {
        super::load(payload, self.blobs.as_ref()).map_or_else(|_| Data::none(), Data::from_arc)
    }
}

impl Fields for Round {
    fn keys(&self) -> Vec<String> {
        ["round", "let", "state", "rule", "exit", "spent"].map(str::to_owned).to_vec()
    }

    fn get(&self, key: &str) -> Option<Data> {
        let text = |text: &Option<String>| text.as_deref().map_or_else(Data::none, Data::from);
        let closed =
            |look: fn(&Closed) -> Data| self.history.read(|rounds| rounds.closed.get(self.index).map(look));
        match key {
            "round" => i64::try_from(self.index + 1).ok().map(Data::from),
            "let" => {
                let lets = self.history.read(|rounds| Some(rounds.closed.get(self.index)?.lets.clone()))?;
                Some(self.load(&lets))
            }
            "state" => Some(Data::lazy_table(Arc::new(State(self.clone())))),
            "rule" => self.history.read(|rounds| Some(text(&rounds.closed.get(self.index)?.rule))),
            "exit" => self.history.read(|rounds| Some(text(&rounds.closed.get(self.index)?.exit))),
            "spent" => closed(|closed| closed.spent.clone()),
            _ => None,
        }
    }
}

/// The state that a closed round left.
#[derive(Debug)]
struct State(Round);

impl Fields for State {
    fn keys(&self) -> Vec<String> {
        self.0.history.read(|rounds| rounds.names.clone())
    }

    fn get(&self, key: &str) -> Option<Data> {
        let payload = self.0.history.read(|rounds| {
            let values = rounds.values.get(key)?;
            let until = values.partition_point(|(round, _)| *round <= self.0.index + 1);
            match &values.get(until.checked_sub(1)?)?.1 {
                Cell::Shared(data) => Some(Err(data.clone())),
                Cell::Kept(payload) => Some(Ok(payload.clone())),
            }
        })?;
        Some(payload.map_or_else(|data| data, |payload| self.0.load(&payload)))
    }
}
