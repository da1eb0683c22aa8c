//! `COPY`, `ADD` and `WORKDIR`: copy files into a container that is not running.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::{ours, status_of};
use super::archive::{CopiedAttributes, Inlet, Outlet, Packer, archive};
use super::stage::StageImage;
use super::{DockerBuildStop, ImageBuild, product};
use crate::rooted_fs::{blocking, normalize};
use crate::runtime::service::{BuildContext, pattern};
use crate::verb::Failure;

/// Most symbolic links that are followed.
const LINKS: usize = 16;
/// Most bytes of `/etc/passwd` or `/etc/group`.
const USERS: usize = 1 << 20;

/// A change that is carried out when the next container is created.
#[derive(Clone)]
pub(super) struct PendingChange {
    pub(super) line: usize,
    /// Cache key.
    pub(super) key: Value,
    pub(super) op: ChangeKind,
}

#[derive(Clone)]
pub(super) enum ChangeKind {
    /// A directory.
    Dir(String),
    /// Files of the tree.
    Tree(CopySpec),
    /// Files of an image.
    Image(String, CopySpec),
}

/// Arguments of a copy.
#[derive(Clone)]
pub(super) struct CopySpec {
    pub(super) sources: Vec<String>,
    pub(super) to: String,
    /// Whether the target is a directory, even if it does not exist.
    pub(super) into_dir: bool,
    pub(super) owner: Option<String>,
    pub(super) mode: Option<u32>,
    pub(super) unpacks: bool,
}

/// Parses an octal mode.
pub(super) fn mode(text: &str) -> Result<u32, DockerBuildStop> {
    let read = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    read.ok_or_else(|| product(format!("`{text}` is not an octal mode such as 755")))
}

/// Kind of the file at a path of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathState {
    Nothing,
    Dir,
    Other,
}

type Packing = Box<dyn FnOnce(&Outlet, &CancellationToken) -> io::Result<u64> + Send>;

impl ImageBuild<'_> {
    /// Applies `op` to a container, with at most `left` bytes. Returns the number of written bytes.
    pub(super) async fn put(
        &self,
        container: &str,
        state: &StageImage,
        op: &ChangeKind,
        left: u64,
    ) -> Result<u64, DockerBuildStop> {
        match op {
            // The daemon creates it with the container.
            ChangeKind::Dir(dir) if *dir == state.dir() => Ok(0),
            ChangeKind::Dir(dir) => self.put_dir(container, dir).await,
            ChangeKind::Tree(put) => self.put_tree(container, put, left).await,
            ChangeKind::Image(image, put) => Box::pin(self.put_from(container, image, put, left)).await,
        }
    }

    async fn put_dir(&self, container: &str, dir: &str) -> Result<u64, DockerBuildStop> {
        match self.stat(container, dir).await?.1 {
            PathState::Dir => return Ok(0),
            PathState::Other => return Err(product(format!("{dir} is not a directory"))),
            PathState::Nothing => {}
        }
        let dir = PathBuf::from(dir);
        let pack = move |out: &Outlet, cancel: &CancellationToken| {
            let mut packer = Packer::new(out.buffered(), CopiedAttributes::default(), 0, cancel);
            packer.dir(&dir)?;
            packer.end()
        };
        self.send(container, Box::new(pack)).await
    }

    async fn put_tree(&self, container: &str, put: &CopySpec, left: u64) -> Result<u64, DockerBuildStop> {
        let (_, there) = self.stat(container, &put.to).await?;
        let looks = self.looks(container, put).await?;
        let into_dir = put.into_dir || put.sources.len() > 1 || there == PathState::Dir;
        let (context, put) = (self.context.clone(), put.clone());
        let pack = move |out: &Outlet, cancel: &CancellationToken| {
            let mut packer = Packer::new(out.buffered(), looks, left, cancel);
            pack_tree(&context, &put, (into_dir, there), &mut packer, cancel)?;
            packer.end()
        };
        self.send(container, Box::new(pack)).await
    }

    /// Copies files from a container of `image` that is never started.
    async fn put_from(
        &self,
        container: &str,
        image: &str,
        put: &CopySpec,
        left: u64,
    ) -> Result<u64, DockerBuildStop> {
        let (_, there) = self.stat(container, &put.to).await?;
        let looks = self.looks(container, put).await?;
        let body = bollard::models::ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["-".to_owned()]),
            host_config: Some(self.host(false)),
            ..bollard::models::ContainerCreateBody::default()
        };
        let from = Box::pin(self.container(body)).await?;
        let into_dir = put.into_dir || put.sources.len() > 1 || there == PathState::Dir;
        let mut written = 0;
        for source in &put.sources {
            let chosen = ImageSource::of(source).map_err(product)?;
            let (path, found) = self.stat(&from, &chosen.root).await?;
            if found == PathState::Nothing {
                return Err(product(format!("the image has no `{source}`")));
            }
            let options = DownloadFromContainerOptionsBuilder::new().path(&path).build();
            let inlet = Inlet::of(self.engine.api.download_from_container(&from, Some(options)));
            let (to, budget, name) = (PathBuf::from(&put.to), left.saturating_sub(written), source.clone());
            let placing =
                Placing { chosen, is_root: path == "/", is_dir: found == PathState::Dir, into_dir, to };
            let pack = move |out: &Outlet, cancel: &CancellationToken| {
                let mut packer = Packer::new(out.buffered(), looks, budget, cancel);
                if placing.is_dir && there == PathState::Nothing {
                    packer.dir(&placing.to)?;
                }
                if packer.take(inlet, &mut |path, is_dir| placing.place(path, is_dir))? == 0
                    && !placing.is_dir
                {
                    return Err(io::Error::other(format!("the image has no `{name}`")));
                }
                packer.end()
            };
            written += self.send(container, Box::new(pack)).await?;
        }
        self.engine.drop_container(&from).await;
        Ok(written)
    }

    /// Sends an archive into a container while it is packed.
    async fn send(&self, container: &str, pack: Packing) -> Result<u64, DockerBuildStop> {
        let (outlet, body) = Outlet::new();
        let packed = blocking(move |cancel| {
            let packed = pack(&outlet, cancel);
            if packed.is_err() {
                outlet.fail();
            }
            Ok(packed)
        });
        let into = UploadToContainerOptionsBuilder::new().path("/").no_overwrite_dir_non_dir("true").build();
        let sent = self.engine.api.upload_to_container(container, Some(into), bollard::body_try_stream(body));
        let (packed, sent) = tokio::join!(packed, sent);
        let packed = packed.map_err(|e| Failure::transient(format!("cannot pack files: {e}")))?;
        match (packed, sent) {
            (Ok(written), Ok(())) => Ok(written),
            // The daemon closed the connection first.
            (Err(e), Err(sent)) if e.kind() == io::ErrorKind::BrokenPipe => {
                Err(Box::pin(self.blame("copy files", &sent, self.host(true))).await)
            }
            (Err(e), _) => Err(fault(e)),
            (Ok(_), Err(sent)) => Err(Box::pin(self.blame("copy files", &sent, self.host(true))).await),
        }
    }

    /// The kind of file at a path, following links, and the resolved path.
    async fn stat(&self, container: &str, path: &str) -> Result<(String, PathState), DockerBuildStop> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let options = ContainerArchiveInfoOptionsBuilder::new().path(&path).build();
            let found = self.engine.api.get_container_archive_info(container, Some(options)).await;
            let found = match found {
                Ok(found) => found,
                Err(e) if matches!(status_of(&e), Some(400..=500)) => return Ok((path, PathState::Nothing)),
                Err(e) => return Err(ours("inspect a container", &e).into()),
            };
            // Modes of Go: the highest bit is for directories, the fifth for links.
            if found.file_mode & (1 << 31) != 0 {
                return Ok((path, PathState::Dir));
            }
            if found.file_mode & (1 << 27) == 0 || found.link_target.is_empty() {
                return Ok((path, PathState::Other));
            }
            let above = Path::new(&path).parent().unwrap_or(Path::new("/"));
            path = normalize(&above.join(&found.link_target)).display().to_string();
        }
        Err(product(format!("{path}: too many symbolic links")))
    }

    async fn looks(&self, container: &str, put: &CopySpec) -> Result<CopiedAttributes, DockerBuildStop> {
        let owner = match &put.owner {
            Some(owner) => self.owner(container, owner).await?,
            None => (0, 0),
        };
        Ok(CopiedAttributes { owner, mode: put.mode })
    }

    /// The ids of `USER` or `USER:GROUP`, from the files of the image.
    async fn owner(&self, container: &str, text: &str) -> Result<(u64, u64), DockerBuildStop> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let user = match user.parse::<u32>() {
            Ok(number) => (u64::from(number), u64::from(number)),
            Err(_) => self.listed(container, "/etc/passwd", user).await?,
        };
        let group = match group.map(|group| (group, group.parse::<u32>())) {
            None => user.1,
            Some((_, Ok(number))) => u64::from(number),
            Some((name, Err(_))) => self.listed(container, "/etc/group", name).await?.0,
        };
        Ok((user.0, group))
    }

    /// The third and fourth field of the line of `name`.
    async fn listed(&self, container: &str, list: &str, name: &str) -> Result<(u64, u64), DockerBuildStop> {
        let (path, there) = self.stat(container, list).await?;
        let missing = || product(format!("the image has no `{name}` in {list}"));
        if there != PathState::Other {
            return Err(missing());
        }
        let options = DownloadFromContainerOptionsBuilder::new().path(&path).build();
        let inlet = Inlet::of(self.engine.api.download_from_container(container, Some(options)));
        let text = blocking(move |_| {
            let mut text = Vec::new();
            for entry in tar::Archive::new(inlet).entries()?.take(1) {
                io::copy(&mut io::Read::take(entry?, USERS as u64), &mut text)?;
            }
            Ok(String::from_utf8_lossy(&text).into_owned())
        });
        let text = text.await.map_err(|e| Failure::transient(format!("cannot read {list}: {e}")))?;
        let number = |field: Option<&&str>| field.and_then(|field| field.parse().ok());
        let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = lines.find(|fields| fields.first() == Some(&name)).ok_or_else(missing)?;
        let first = number(fields.get(2)).ok_or_else(missing)?;
        Ok((first, number(fields.get(3)).unwrap_or_default()))
    }
}

/// Who is at fault if packing fails: the packed files, unless the machine has a problem.
fn fault(e: io::Error) -> DockerBuildStop {
    if crate::rooted_fs::is_machine_fault(&e) {
        return DockerBuildStop::Ours(Failure::transient(format!("cannot pack files: {e}")));
    }
    match e.downcast::<Failure>() {
        Ok(failure) => DockerBuildStop::Ours(failure),
        Err(e) => product(e.to_string()),
    }
}

fn pack_tree(
    context: &Arc<BuildContext>,
    put: &CopySpec,
    (into_dir, there): (bool, PathState),
    packer: &mut Packer<impl io::Write>,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let to = Path::new(&put.to);
    let files = context.choose(&put.sources, to, into_dir, cancel)?.map_err(io::Error::other)?;
    // The daemon creates parent directories; those with an owner are created here.
    let mut made = std::collections::BTreeSet::new();
    for file in &files {
        let above = file.to.ancestors().skip(1).take_while(|dir| dir.starts_with(to));
        let new = above.filter(|dir| there == PathState::Nothing || *dir != to);
        let new: Vec<&Path> = if put.owner.is_some() { new.collect() } else { Vec::new() };
        for dir in new.into_iter().rev().filter(|dir| made.insert(dir.to_path_buf())) {
            packer.dir(dir)?;
        }
        let bytes =
            context.blobs.get(&file.file.blob.digest).map_err(|e| io::Error::other(Failure::from(e)))?;
        match if put.unpacks { archive(&bytes)? } else { None } {
            Some(read) => {
                let place = &mut |path: &Path, _| Some(to.join(path.strip_prefix("/").unwrap_or(path)));
                packer.take(read, place).map(drop)?;
            }
            None => packer.file(&file.to, &bytes, file.file.executable)?,
        }
    }
    Ok(())
}

/// Predicate for paths.
type Fits = Box<dyn Fn(&str) -> bool + Send>;

/// A source in an image: a path, or the matches of a pattern below one.
struct ImageSource {
    root: String,
    /// Name of a single file, even if it is a link.
    name: String,
    fits: Option<Fits>,
}

impl ImageSource {
    fn of(source: &str) -> Result<Self, String> {
        let path = normalize(&Path::new("/").join(source)).display().to_string();
        let has_pattern = |part: &&str| part.contains(['*', '?', '[']);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let Some(at) = parts.iter().position(has_pattern) else {
            let name = parts.last().copied().unwrap_or_default().to_owned();
            return Ok(Self { root: path, name, fits: None });
        };
        let fits = pattern(&parts[at..].join("/"))?;
        let root = format!("/{}", parts[..at].join("/"));
        Ok(Self { root, name: String::new(), fits: Some(Box::new(fits)) })
    }
}

/// Mapping of archive entries of an image to target paths.
struct Placing {
    chosen: ImageSource,
    /// Whether the archive is of `/`, whose entries have no prefix.
    is_root: bool,
    is_dir: bool,
    into_dir: bool,
    to: PathBuf,
}

impl Placing {
    fn place(&self, path: &Path, is_entry_dir: bool) -> Option<PathBuf> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let mut parts = path.components();
        let name = if self.is_root { None } else { parts.next() };
        let rest = parts.as_path();
        let Some(fits) = &self.chosen.fits else {
            return Some(match (self.is_dir, self.into_dir, name) {
                (false, true, Some(_)) => self.to.join(&self.chosen.name),
                (false, ..) => self.to.clone(),
                // The target itself stays unchanged, or is created as a parent.
                (true, ..) if rest.as_os_str().is_empty() => return None,
                (true, ..) => self.to.join(rest),
            });
        };
        let around: Vec<&Path> = rest.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
        let fitting = around.into_iter().rev().find(|part| part.to_str().is_some_and(fits))?;
        let below = rest.strip_prefix(fitting).unwrap_or(rest);
        match (below.as_os_str().is_empty(), is_entry_dir, self.into_dir) {
            (true, true, _) => None,
            (true, false, true) => Some(self.to.join(fitting.file_name()?)),
            (true, false, false) => Some(self.to.clone()),
            (false, ..) => Some(self.to.join(below)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(source: &str, (is_dir, into_dir): (bool, bool), paths: &[&str]) -> Vec<String> {
        let chosen = ImageSource::of(source).unwrap();
        let placing = Placing { is_root: chosen.root == "/", chosen, is_dir, into_dir, to: "/to".into() };
        let place = |path: &&str| placing.place(Path::new(path), path.ends_with('/'));
        paths.iter().filter_map(place).map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn files_of_an_image_go_where_a_copy_says() {
        assert_eq!(placed("/x/f", (false, false), &["f"]), ["/to"]);
        assert_eq!(placed("x/f", (false, true), &["f"]), ["/to/f"]);
        assert_eq!(
            placed("/x/d", (true, false), &["d/", "d/a", "d/b/", "d/b/c"]),
            ["/to/a", "/to/b", "/to/b/c"]
        );
        assert_eq!(placed("/", (true, false), &["/", "bin/", "bin/x"]), ["/to/bin", "/to/bin/x"]);
        let paths = ["x/", "x/a.jar", "x/b.txt", "x/d.jar/", "x/d.jar/in", "x/y/c.jar"];
        assert_eq!(placed("/x/*.jar", (true, true), &paths), ["/to/a.jar", "/to/in"]);
        assert!(mode("888").is_err() && mode("77777").is_err());
        assert!(matches!(mode("0755"), Ok(0o755)));
    }
}
