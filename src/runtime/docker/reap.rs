use std::collections::HashMap;
use std::path::Path;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};

use super::{Engine, HOUSE, OWNER, RUN};
use crate::id::RunId;
use crate::runtime::service::{Leftovers, ProcessIdentity, Reaped};

type Labels = HashMap<String, String>;

impl Engine {
    /// Removes leftovers of dead processes. The next call retries those that cannot be removed.
    pub async fn reap(&self, leftovers: Leftovers<'_>, reaped: &mut Reaped) {
        let label = match leftovers {
            Leftovers::Of(run) => format!("{RUN}={run}"),
            Leftovers::AllBut(_) => RUN.to_owned(),
        };
        let filter: HashMap<String, Vec<String>> = [("label".to_owned(), vec![label])].into();
        let list = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        for container in self.api.list_containers(Some(list)).await.unwrap_or_default() {
            let (Some(id), true) = (container.id, is_of_the_dead(container.labels.as_ref())) else {
                continue;
            };
            let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            reaped.containers += usize::from(self.api.remove_container(&id, Some(force)).await.is_ok());
        }
        let list = ListVolumesOptionsBuilder::new().filters(&filter).build();
        let volumes = self.api.list_volumes(Some(list)).await.ok().and_then(|found| found.volumes);
        for volume in volumes.unwrap_or_default().iter().filter(|volume| is_of_the_dead(Some(&volume.labels)))
        {
            self.drop_volume(&volume.name).await;
            reaped.volumes += 1;
        }
        if let Leftovers::AllBut(kept) = leftovers {
            reaped.images += self.reap_images(&filter, kept).await;
        }
    }

    async fn reap_images(&self, filter: &HashMap<String, Vec<String>>, kept: &[RunId]) -> usize {
        let mut count = 0;
        let list = ListImagesOptionsBuilder::new().filters(filter).build();
        for image in self.api.list_images(Some(list)).await.unwrap_or_default() {
            if is_of_the_dead(Some(&image.labels)) && !self.is_needed(&image.labels, kept) {
                count += usize::from(self.remove_image(&image.id).await);
            }
        }
        count
    }

    async fn remove_image(&self, name: &str) -> bool {
        let force = RemoveImageOptionsBuilder::new().force(true).build();
        self.api.remove_image(name, Some(force), None).await.is_ok()
    }

    /// Whether a run that may be resumed could need the image.
    fn is_needed(&self, labels: &Labels, kept: &[RunId]) -> bool {
        match labels.get(HOUSE).map(Path::new) {
            Some(house) if house == self.house => {
                labels.get(RUN).is_some_and(|run| kept.iter().any(|kept| kept.as_str() == run))
            }
            Some(house) => house.exists(),
            None => true,
        }
    }
}

fn is_of_the_dead(labels: Option<&Labels>) -> bool {
    labels.and_then(|labels| labels.get(OWNER)).is_some_and(|owner| !ProcessIdentity::read(owner).is_alive())
}
