use std::collections::HashMap;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};

use super::{Engine, OWNER, RUN};
use crate::clients::service::{Owner, Reaped};
use crate::id::RunId;

impl Engine {
    /// Removes containers of `run`, or of every run and then images too, whose process is dead. What cannot be
    /// removed is left for the next time.
    pub async fn reap(&self, run: Option<&RunId>, reaped: &mut Reaped) {
        let label = run.map_or_else(|| RUN.to_owned(), |run| format!("{RUN}={run}"));
        let filter: HashMap<String, Vec<String>> = [("label".to_owned(), vec![label])].into();
        let list = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        for container in self.api.list_containers(Some(list)).await.unwrap_or_default() {
            let (Some(id), true) = (container.id, is_left_over(container.labels.as_ref())) else { continue };
            let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            reaped.containers += usize::from(self.api.remove_container(&id, Some(force)).await.is_ok());
        }
        if run.is_some() {
            return;
        }
        let list = ListImagesOptionsBuilder::new().filters(&filter).build();
        for image in self.api.list_images(Some(list)).await.unwrap_or_default() {
            if is_left_over(Some(&image.labels)) {
                let force = RemoveImageOptionsBuilder::new().force(true).build();
                reaped.images +=
                    usize::from(self.api.remove_image(&image.id, Some(force), None).await.is_ok());
            }
        }
    }
}

fn is_left_over(labels: Option<&HashMap<String, String>>) -> bool {
    labels.and_then(|labels| labels.get(OWNER)).is_some_and(|owner| !Owner::read(owner).is_alive())
}
