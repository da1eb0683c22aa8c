//! Files of a service in addition to its image.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::rooted_fs::{RootedFs, named};
use crate::runtime::service::{PlacedAs, ServiceSpec};

/// Adds files and directories to the file system of a service.
pub(super) fn furnish(
    root: &RootedFs,
    spec: &ServiceSpec,
    user: u32,
    placed: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    let put =
        |path: &Path, bytes: &[u8], executable: bool| root.put(path, bytes, executable).map_err(named(path));
    // Programs look up the name of their user.
    if !placed.contains(Path::new("/etc/passwd")) {
        let text = format!("root:x:0:0:root:/tmp:/bin/sh\napp:x:{user}:{user}:app:/tmp:/bin/sh\n");
        put(Path::new("/etc/passwd"), text.as_bytes(), false)?;
        let text = format!("root:x:0:\napp:x:{user}:\n");
        put(Path::new("/etc/group"), text.as_bytes(), false)?;
    }
    for file in &spec.files {
        match &file.what {
            PlacedAs::File { bytes, executable, status: None } => put(&file.path, bytes, *executable)?,
            PlacedAs::File { bytes, status: Some(status), .. } => {
                root.put_as(&file.path, bytes, status.mode)
                    .and_then(|()| root.set_modified(&file.path, status.modified))
                    .map_err(named(&file.path))?;
            }
            PlacedAs::Dir(status) => {
                root.make_dirs(&file.path)
                    .and_then(|()| root.set_dir_mode(&file.path, status.mode))
                    .and_then(|()| root.set_modified(&file.path, status.modified))
                    .map_err(named(&file.path))?;
            }
            PlacedAs::Link(target) => root.put_link(&file.path, target).map_err(named(&file.path))?,
        }
        placed.insert(file.path.clone());
    }
    for mount in &spec.mounts {
        root.make_dirs(&mount.at).map_err(named(&mount.at))?;
        placed.insert(mount.at.clone());
    }
    if let Some(links) = &spec.links {
        let line = |(name, address): &(String, Ipv4Addr)| format!("{address} {name}\n");
        let text: String = links.names.iter().map(line).collect();
        put(Path::new("/etc/hosts"), format!("127.0.0.1 localhost\n{text}").as_bytes(), false)?;
    }
    Ok(())
}
