use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Hosts;
use crate::scenario::network::Tls;

/// Open connections, pages or programs of the steps of one type, while a scenario runs.
pub trait StepRunner: Any + Send {
    /// A runner with nothing open.
    fn new(settings: &ConnectionSettings) -> Self
    where
        Self: Sized;

    /// A second runner on the same connection, for a step that runs in parallel with others.
    fn twin(&self) -> Option<Box<dyn StepRunner>> {
        None
    }

    /// Closes what is still open at the end of the scenario.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Connection settings of a scenario.
#[derive(Default)]
pub struct ConnectionSettings {
    /// Hosts that pages may reach in addition to the target.
    pub hosts: Hosts,
    /// Trusted certificates, in PEM with placeholders; empty for those of the machine.
    pub trust: String,
    /// TLS settings of the user.
    pub tls: Tls,
}

/// All open connections of one scenario to one service.
pub struct Connections {
    settings: Arc<ConnectionSettings>,
    runners: Vec<Box<dyn StepRunner>>,
}

impl Connections {
    /// Connections of a scenario with nothing open.
    pub fn new(settings: ConnectionSettings) -> Self {
        Self { settings: Arc::new(settings), runners: Vec::new() }
    }

    /// The runner of type `R`, created on first use.
    pub fn runner<R: StepRunner>(&mut self) -> &mut R {
        let known = self.runners.iter().position(|runner| {
            let runner: &dyn Any = runner.as_ref();
            runner.is::<R>()
        });
        let index = known.unwrap_or_else(|| {
            self.runners.push(Box::new(R::new(&self.settings)));
            self.runners.len() - 1
        });
        let runner: &mut dyn Any = self.runners[index].as_mut();
        runner.downcast_mut().unwrap_or_else(|| unreachable!("the runner at this index has this type"))
    }

    /// Connections for a step that runs in parallel with others.
    pub fn twin(&self) -> Self {
        let runners = self.runners.iter().filter_map(|runner| runner.twin()).collect();
        Self { settings: self.settings.clone(), runners }
    }

    /// Closes everything.
    pub async fn end(self) {
        for runner in self.runners {
            runner.end().await;
        }
    }
}
