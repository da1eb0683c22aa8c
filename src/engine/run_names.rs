//! `run`, as expressions see it: what a run is and has spent, and the place in it where they are.

use super::Run;
use super::frame::{Frame, FrameId};
use super::run::sums;
use crate::clock::{Millis, rfc3339};
use crate::expr::Data;
use crate::id::{Address, Instance, RunId};
use crate::plan::BodyId;
use crate::value::{Digest, Value};

/// The innermost item of an `each`, or called pipeline, that a frame belongs to.
#[derive(Clone)]
pub(super) struct Identity {
    address: Data,
    instance: Data,
}

impl Identity {
    /// That of `address`, without the numbers of rounds: each round has the same.
    fn of(id: &RunId, address: &Address) -> Self {
        let parts = address.parts().unwrap_or_default();
        let parts = parts.iter().map(|part| match part.instance {
            Instance::Item(index) => format!("{}[{index}]", part.step),
            Instance::Only | Instance::Round(_) => part.step.to_owned(),
        });
        let address = parts.collect::<Vec<_>>().join("/");
        let instance = Digest::of(format!("{id}/{address}")).short();
        Self { address: Data::from(address), instance: Data::from(instance) }
    }
}

impl Run {
    /// The identity of a frame that is being opened.
    pub(super) fn identity(&self, frame: &Frame) -> Identity {
        match frame.owner {
            Some((outer, _))
                if frame.body != BodyId::ROOT && !matches!(frame.instance, Instance::Item(_)) =>
            {
                self.frame(outer).identity.clone().unwrap_or_else(|| Identity::of(&self.id, &frame.address))
            }
            _ => Identity::of(&self.id, &frame.address),
        }
    }

    /// `run` in frame `id`; with `status` for steps that run when everything else has ended.
    pub(super) fn run_names(&self, id: FrameId, status: Option<&str>) -> Data {
        let field = |name: &'static str| (name, self.sums.get(name).unwrap_or_else(Data::none));
        let mut fields: Vec<(&str, Data)> = ["id", "started_at", "spent", "dir"].map(field).to_vec();
        if let Some(Identity { address, instance }) = &self.frame(id).identity {
            fields.extend([("address", address.clone()), ("instance", instance.clone())]);
        }
        fields.extend(status.map(|status| ("status", Data::from(status))));
        Data::table(fields)
    }

    /// Notes what the run has spent.
    pub(super) fn refresh_sums(&mut self) {
        let dir =
            self.settings.dir.as_ref().map_or_else(Data::none, |dir| Data::from_value(&dir.clone().into()));
        let started_at = self.started_at.map_or_else(Data::none, moment);
        self.sums = Data::table([
            ("id", Data::from_value(&Value::String(self.id.to_string()))),
            ("started_at", started_at),
            ("spent", sums(&self.spent)),
            ("dir", dir),
        ]);
    }
}

/// A time as expressions see it.
pub(super) fn moment(at: Millis) -> Data {
    Data::from(rfc3339(at))
}
